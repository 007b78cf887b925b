// What a sidecar does with the traffic that comes to its workload, besides deciding who may call: throttles, faults, limits, floods.
import type { RbacRules } from '@weft/model/policy/rbac';
import type { Floods, RequestLimits, ThrottleKey } from '@weft/model/traffic/types';

export interface ThrottleConfig {
  /** `NAMESPACE/POLICY/NAME`. */
  readonly name: string;
  /** DENY rules, one of which must match: in doubt a request is counted. Absent: every request. */
  readonly rules?: RbacRules;
  readonly key: readonly ThrottleKey[];
  readonly requests: number;
  readonly intervalMs: number;
  readonly burst: number;
  readonly maxKeys: number;
}

export interface FaultConfig {
  readonly name: string;
  /** ALLOW rules: in doubt nothing happens to a request. */
  readonly rules?: RbacRules;
  readonly delay?: { readonly partsPerMillion: number; readonly durationMs: number };
  readonly abort?: { readonly partsPerMillion: number; readonly status: number };
  readonly untilMs?: number;
}

/** After the rules: a request that may not be made neither takes a token from others nor is it disturbed. */
export interface TrafficControl {
  readonly throttles: readonly ThrottleConfig[];
  readonly faults: readonly FaultConfig[];
}

export interface LimitsConfig {
  /** `NAMESPACE/POLICY`. */
  readonly name: string;
  readonly limits: RequestLimits;
}

export type FloodsConfig = Floods;

export const PARTS = 1_000_000;
