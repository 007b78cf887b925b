// Tells from two meshes which resources may be others by now, so that nobody else has to look.
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import { differences } from '../registry/persistent-map.ts';
import { endpointClusterName } from '../resources/cluster-names.ts';
import { deliveredNames } from '../resources/termination-secrets.ts';
import { egressNamesOf } from '../resources/egress-view.ts';
import { clientListenerOf } from '../resources/grpc/grpc-names.ts';
import type { ViewChange } from '../serve/view-source.ts';
import { isSame } from './structural-sharing.ts';

export const EVERYTHING: ViewChange = { isAll: true, proxies: new Set(), names: new Set() };

/** Of two versions of one mesh it takes time by what differs. What is named is at least what has changed. */
export function viewChangeOf(before: Mesh, after: Mesh): ViewChange {
  if (before.settings !== after.settings) return EVERYTHING;
  const proxies = new Set<string>();
  const names = new Set<string>();
  for (const { key, before: old, after: now } of differences(before.workloads, after.workloads)) {
    if (old?.inbound !== now?.inbound || old?.identity !== now?.identity) proxies.add(key);
    if (isCalledAsBefore(old, now)) continue;
    for (const name of [...directNames(old), ...directNames(now)]) names.add(name);
  }
  if (before.egress !== after.egress) {
    for (const name of [...egressNamesOf(before), ...egressNamesOf(after)]) names.add(name);
  } else if (before.data !== after.data) {
    // Certificates and roots of hosts outside.
    for (const name of egressNamesOf(after)) names.add(name);
  }
  for (const { key, before: old, after: now } of differences(
    before.destinations,
    after.destinations,
  )) {
    names.add(key);
    if (old?.target !== now?.target) names.add(clientListenerOf(key));
  }
  for (const { key, before: old, after: now } of differences(
    before.destinationsByAddress,
    after.destinationsByAddress,
  )) {
    if (old?.target !== now?.target) names.add(key);
  }
  const secrets = differences(before.secrets ?? NO_SECRETS, after.secrets ?? NO_SECRETS);
  for (const { key } of secrets) for (const name of deliveredNames(key)) names.add(name);
  return { isAll: false, proxies, names };
}

const NO_SECRETS: NonNullable<Mesh['secrets']> = new Map();

/** By its address, and by whom. */
function isCalledAsBefore(before: Workload | undefined, after: Workload | undefined): boolean {
  return (
    before !== undefined &&
    after !== undefined &&
    before.identity === after.identity &&
    before.isInMesh === after.isInMesh &&
    before.inbound.ports === after.inbound.ports &&
    before.inbound.mode === after.inbound.mode &&
    isSame(before.directPorts, after.directPorts) &&
    isSame(before.ips, after.ips)
  );
}

/** Of the listeners and clusters by which a Pod is called at its own addresses. */
const directNames = (workload: Workload | undefined): readonly string[] =>
  (workload?.ips ?? []).flatMap((ip) =>
    (workload?.inbound.ports ?? []).flatMap(({ port }) => [
      `${ip}_${port}`,
      endpointClusterName(port, ip),
    ]),
  );
