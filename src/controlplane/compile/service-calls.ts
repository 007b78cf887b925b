// Says what callers of a Service follow, and which Services a changed TrafficPolicy concerns.
import type { ServiceObject } from '@weft/model/mesh/objects';
import { type CallTraffic, composeCalls, hasCallSections } from '@weft/model/traffic/compose-calls';
import type { Difference } from '../registry/persistent-map.ts';
import type { ObjectIndex, Place } from './object-index.ts';
import type { PolicyObject, PolicyTable } from './policy-table.ts';

export type CallsOf = (service: ServiceObject) => CallTraffic | undefined;

export const callsByPolicies =
  (policies: PolicyTable, rootNamespace: string): CallsOf =>
  ({ meta: { namespace, name } }) => {
    const { traffic } = policies.scope(namespace);
    return traffic.length === 0
      ? undefined
      : composeCalls(traffic, { namespace, name }, rootNamespace);
  };

/** @returns at least those whose callers are told something else. */
export function* servicesUnder(
  changes: readonly Difference<PolicyObject>[],
  index: ObjectIndex,
  rootNamespace: string,
): Iterable<Place> {
  const namespaces = new Set<string>();
  for (const { before, after } of changes) {
    for (const object of [before, after]) {
      if (object?.kind !== 'TrafficPolicy' || !hasCallSections(object.policy)) continue;
      namespaces.add(object.policy.namespace);
    }
  }
  if (namespaces.size === 0) return;
  const isAll = namespaces.has(rootNamespace);
  for (const [place, { meta }] of index.services) {
    if (isAll || namespaces.has(meta.namespace)) yield place;
  }
}
