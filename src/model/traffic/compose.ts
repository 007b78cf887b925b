// Says which parts of which TrafficPolicies hold for a workload: of each field the nearest policy's that has it.
import { matchesLabels, type WorkloadRef } from '../policy/select.ts';
import type { Fault, Floods, RequestLimits, Throttle, TrafficPolicy } from './types.ts';

interface From {
  /** Whose it is: short names in its rules are of this namespace. */
  readonly policy: Pick<TrafficPolicy, 'namespace' | 'name'>;
}

/** What holds on the called side. */
export interface WorkloadTraffic {
  readonly faults: readonly (Fault & From)[];
  readonly throttling: readonly (Throttle & From)[];
  readonly floods: Floods | undefined;
  readonly limits: (RequestLimits & From) | undefined;
  /** `NAMESPACE/NAME` of the policies that any of it is from, sorted. */
  readonly sources: readonly string[];
}

/** The labels that Pods behind a Service have; absent: the Service is not there, or selects nothing. */
export type SelectorOf = (
  namespace: string,
  service: string,
) => ReadonlyMap<string, string> | undefined;

/** 2: of the workload itself; 1: of its namespace; 0: of the mesh. */
function levelOf(
  policy: TrafficPolicy,
  workload: WorkloadRef,
  of: { readonly rootNamespace: string; readonly selectorOf: SelectorOf },
): number | undefined {
  const { namespace, selector, targetRefs } = policy;
  const isRoot = namespace === of.rootNamespace;
  if (targetRefs.length > 0) {
    const isBehind = targetRefs.some(({ name }) => {
      const behind = of.selectorOf(namespace, name);
      return behind !== undefined && matchesLabels(behind, workload.labels);
    });
    return isBehind && namespace === workload.namespace ? 2 : undefined;
  }
  if (!isRoot && namespace !== workload.namespace) return undefined;
  if (!matchesLabels(selector, workload.labels)) return undefined;
  return selector !== undefined ? 2 : isRoot ? 0 : 1;
}

/**
 * Nearest first: those for the workload (by Service or selector), for its namespace, for the mesh; of one level the
 * older, then the first by name. `faults`, `throttling` and `floods` hold whole as the nearest policy that has them
 * says; `limits` field by field.
 * @returns `undefined` when nothing holds.
 */
export function composeTraffic(
  policies: readonly TrafficPolicy[],
  workload: WorkloadRef,
  of: { readonly rootNamespace: string; readonly selectorOf: SelectorOf },
): WorkloadTraffic | undefined {
  const nearest = policies
    .flatMap((policy) => {
      const level = levelOf(policy, workload, of);
      return level === undefined ? [] : [{ policy, level }];
    })
    .sort((a, b) => b.level - a.level || byAge(a.policy, b.policy))
    .map(({ policy }) => policy);
  const sources = new Set<TrafficPolicy>();
  const whole = (section: 'faults' | 'throttling' | 'floods'): TrafficPolicy | undefined => {
    const found = nearest.find((policy) => policy[section] !== undefined);
    if (found !== undefined) sources.add(found);
    return found;
  };
  const faulty = whole('faults');
  const throttled = whole('throttling');
  const flooded = whole('floods');
  const limits = composeLimits(nearest, sources);
  if (sources.size === 0) return undefined;
  return {
    faults: (faulty?.faults ?? []).map((fault) => ({ ...fault, policy: nameOf(faulty) })),
    throttling: (throttled?.throttling ?? []).map((one) => ({ ...one, policy: nameOf(throttled) })),
    floods: flooded?.floods,
    limits,
    sources: [...sources].map(({ namespace, name }) => `${namespace}/${name}`).sort(),
  };
}

function composeLimits(
  nearest: readonly TrafficPolicy[],
  sources: Set<TrafficPolicy>,
): WorkloadTraffic['limits'] {
  let composed: (RequestLimits & From) | undefined;
  for (const policy of nearest) {
    const { limits } = policy;
    if (limits === undefined) continue;
    const known: Readonly<Record<string, unknown>> = { ...composed };
    if (Object.keys(limits).some((field) => !(field in known))) sources.add(policy);
    composed = { policy: nameOf(policy), ...limits, ...composed };
  }
  return composed;
}

const nameOf = (policy: TrafficPolicy | undefined): From['policy'] => ({
  namespace: policy?.namespace ?? '',
  name: policy?.name ?? '',
});

const byAge = (a: TrafficPolicy, b: TrafficPolicy): number =>
  a.createdAtMs - b.createdAtMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
