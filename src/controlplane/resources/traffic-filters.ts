// Builds the filters that a workload's TrafficPolicies ask for: limits before its rules, throttles and faults behind them.
import type { InboundSpec } from '@weft/model/mesh/mesh';
import { compileMatch } from '@weft/model/policy/compile';
import type { CompileOptions } from '@weft/model/policy/compile-parts';
import type { WorkloadTraffic } from '@weft/model/traffic/compose';
import type { HttpFilter } from '@weft/xds/resources/listener';
import { type FaultConfig, PARTS, type ThrottleConfig } from '@weft/xds/resources/traffic';

export interface TrafficFilters {
  readonly before: readonly HttpFilter[];
  readonly behind: readonly HttpFilter[];
}

const NONE: TrafficFilters = { before: [], behind: [] };

export function buildTrafficFilters(
  { traffic }: InboundSpec,
  options: CompileOptions,
): TrafficFilters {
  if (traffic === undefined) return NONE;
  const { faults, throttling, limits } = traffic;
  const control = {
    throttles: throttling.map((one) => throttleOf(one, options)),
    faults: faults.map((one) => faultOf(one, options)),
  };
  const isControlled = control.throttles.length + control.faults.length > 0;
  return {
    before: limits === undefined ? [] : [limitsOf(limits)],
    behind: isControlled ? [{ kind: 'traffic', traffic: control }] : [],
  };
}

function limitsOf(composed: NonNullable<WorkloadTraffic['limits']>): HttpFilter {
  const { policy, ...limits } = composed;
  const name = `${policy.namespace}/${policy.name}`;
  return { kind: 'requestLimits', limits: { name, limits } };
}

function throttleOf(
  throttle: WorkloadTraffic['throttling'][number],
  options: CompileOptions,
): ThrottleConfig {
  const { policy, name, rules, ...rest } = throttle;
  return {
    ...rest,
    name: `${policy.namespace}/${policy.name}/${name}`,
    ...(rules && { rules: compileMatch(policy, rules, 'DENY', options) }),
  };
}

const partsOf = (percent: number): number => Math.round((percent * PARTS) / 100);

function faultOf(fault: WorkloadTraffic['faults'][number], options: CompileOptions): FaultConfig {
  const { policy, name, rules, delay, abort, untilMs } = fault;
  return {
    name: `${policy.namespace}/${policy.name}/${name}`,
    ...(rules && { rules: compileMatch(policy, rules, 'ALLOW', options) }),
    ...(delay && {
      delay: { partsPerMillion: partsOf(delay.percent), durationMs: delay.durationMs },
    }),
    ...(abort && { abort: { partsPerMillion: partsOf(abort.percent), status: abort.status } }),
    ...(untilMs !== undefined && { untilMs }),
  };
}
