// Says what callers of a Service follow: of each field what the nearest TrafficPolicy that has it says.
import { CALL_SECTIONS, type CallSections } from './call-types.ts';
import type { TrafficPolicy } from './types.ts';

export interface CallTraffic extends CallSections {
  /** `NAMESPACE/NAME` of the policies that any of it is from, sorted. */
  readonly sources: readonly string[];
}

interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** 2: for the Service; 1: for its namespace; 0: for the mesh. One for some Pods says nothing to callers of a Service. */
function levelOf(
  { namespace, selector, targetRefs }: TrafficPolicy,
  service: ServiceName,
  rootNamespace: string,
): number | undefined {
  if (selector !== undefined) return undefined;
  if (targetRefs.length > 0) {
    const isMeant = targetRefs.some(({ name }) => name === service.name);
    return isMeant && namespace === service.namespace ? 2 : undefined;
  }
  if (namespace === service.namespace && namespace !== rootNamespace) return 1;
  return namespace === rootNamespace ? 0 : undefined;
}

export const hasCallSections = (policy: CallSections): boolean =>
  CALL_SECTIONS.some((section) => policy[section] !== undefined);

/**
 * Nearest first: those for the Service, for its namespace, for the mesh; of one level the older, then the first by
 * name. `loadBalancing` holds whole, the other sections field by field. @returns `undefined` when nothing holds.
 */
export function composeCalls(
  policies: readonly TrafficPolicy[],
  service: ServiceName,
  rootNamespace: string,
): CallTraffic | undefined {
  const farthestFirst = policies
    .flatMap((policy) => {
      const level = hasCallSections(policy) ? levelOf(policy, service, rootNamespace) : undefined;
      return level === undefined ? [] : [{ policy, level }];
    })
    .sort((a, b) => a.level - b.level || byAge(b.policy, a.policy))
    .map(({ policy }) => policy);
  if (farthestFirst.length === 0) return undefined;
  const composed = farthestFirst.reduce<CallSections>(overlay, {});
  const sources = farthestFirst.map(({ namespace, name }) => `${namespace}/${name}`).sort();
  return { ...composed, sources };
}

function overlay(far: CallSections, near: CallSections): CallSections {
  const timeouts = merge(far.timeouts, near.timeouts);
  const retries = merge(far.retries, near.retries);
  const circuitBreaking = merge(far.circuitBreaking, near.circuitBreaking);
  const outlierDetection = merge(far.outlierDetection, near.outlierDetection);
  const loadBalancing = near.loadBalancing ?? far.loadBalancing;
  return {
    ...(timeouts && { timeouts }),
    ...(retries && { retries }),
    ...(circuitBreaking && { circuitBreaking }),
    ...(outlierDetection && { outlierDetection }),
    ...(loadBalancing && { loadBalancing }),
  };
}

const merge = <T extends object>(far: T | undefined, near: T | undefined): T | undefined =>
  far === undefined || near === undefined ? (near ?? far) : { ...far, ...near };

const byAge = (a: TrafficPolicy, b: TrafficPolicy): number =>
  a.createdAtMs - b.createdAtMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
