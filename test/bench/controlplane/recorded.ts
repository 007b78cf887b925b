// What Weft's control plane gives to the proxies of each workload, recorded from its streams, to be served by its peer as well.
import { TYPE_URLS, type ResourceKind, RESOURCE_ORDER } from '@weft/xds/resource';
import { messageField, textField } from '@weft/xds/protocol/envelope';
import type { SpiffeId } from '@weft/model/identity';
import { splitAddress } from '../../support/lab-clients.ts';
import type { Credential } from '../identities.ts';
import { FleetProxy } from '../propagation/fleet-proxy.ts';
import type { Wanted } from '../propagation/messages.ts';
import { type BenchMesh, groupOf } from './mesh.ts';

export interface RecordedResource {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly value: Buffer;
  /** The workloads whose proxies are given it. */
  readonly groups: readonly string[];
}

export interface Recorded {
  readonly resources: readonly RecordedResource[];
  /** What proxies of each workload ask for. */
  readonly wantedByGroup: ReadonlyMap<string, Wanted>;
}

const AT_ONCE = 10;
const RECORD_MS = 60_000;

interface Source {
  readonly xds: string;
  readonly bundlePem: string;
  readonly controlPlaneId: SpiffeId;
  readonly credentialOf: (group: string) => Credential;
}

export async function recordMesh(mesh: BenchMesh, source: Source): Promise<Recorded> {
  const found = new Map<string, { resource: RecordedResource; groups: string[] }>();
  const wantedByGroup = new Map<string, Wanted>();
  const services = Array.from({ length: mesh.workloads }, (_, service) => service);
  const recordNext = async (): Promise<void> => {
    for (let service = services.pop(); service !== undefined; service = services.pop()) {
      const group = groupOf(service);
      const given = await recordWorkload(mesh, service, source);
      wantedByGroup.set(group, wantedOf(given));
      for (const resource of given) {
        const key = `${resource.kind} ${resource.name} ${resource.value.toString('latin1')}`;
        const known = found.get(key);
        if (known === undefined) found.set(key, { resource, groups: [group] });
        else known.groups.push(group);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, recordNext));
  const resources = [...found.values()].map(({ resource, groups }) => ({ ...resource, groups }));
  return { resources, wantedByGroup };
}

type Given = Omit<RecordedResource, 'groups'>;

async function recordWorkload(
  mesh: BenchMesh,
  service: number,
  source: Source,
): Promise<readonly RecordedResource[]> {
  const given = new Map<string, Given>();
  const node = mesh.proxies.find((proxy) => proxy.service === service)?.node;
  if (node === undefined) throw new RangeError(`Cannot record s-${service}: it has no proxy`);
  const cluster = groupOf(service);
  const { keyPem, chainPem } = source.credentialOf(cluster);
  const lost = Promise.withResolvers<never>();
  const proxy = new FleetProxy({
    ...splitAddress(source.xds),
    bundlePem: source.bundlePem,
    controlPlaneId: source.controlPlaneId,
    member: { node, cluster, keyPem, chainPem, wanted: mesh.callsOf(service), isFollowing: true },
    variant: 'delta',
    onAcknowledged: (_, { typeUrl, resources }) => {
      const kind = RESOURCE_ORDER.find((one) => TYPE_URLS[one] === typeUrl);
      if (kind === undefined) return;
      for (const { name, value } of resources) {
        given.set(`${kind} ${name}`, { kind, name, value: Buffer.from(value) });
      }
    },
    onLost: (reason) => lost.reject(new Error(`Cannot record ${node}: ${reason}`)),
  });
  const late = AbortSignal.timeout(RECORD_MS);
  late.addEventListener('abort', () => lost.reject(late.reason));
  try {
    await Promise.race([proxy.configured, lost.promise]);
    // The last response's resources are noted right after it made the proxy configured.
    await new Promise(setImmediate);
  } finally {
    await proxy.close();
  }
  return [...given.values()].map((one) => ({ ...one, groups: [] }));
}

function wantedOf(given: readonly RecordedResource[]): Wanted {
  const wanted: { [K in ResourceKind]?: string[] } = {};
  for (const { kind, name } of given) (wanted[kind] ??= []).push(name);
  return wanted;
}

/** A change as the Go server reads it: a DeltaDiscoveryResponse whose resources name their groups as aliases. */
export function encodeChange(version: string, resources: readonly RecordedResource[]): Uint8Array {
  const parts = [textField(1, version)];
  for (const { kind, name, value, groups } of resources) {
    const any = Buffer.concat([textField(1, TYPE_URLS[kind]), messageField(2, value)]);
    const aliases = groups.map((group) => textField(4, group));
    const resource = [textField(1, version), messageField(2, any), textField(3, name), ...aliases];
    parts.push(messageField(2, Buffer.concat(resource)));
  }
  return Buffer.concat(parts);
}

/** The resources that hold a text, with another of the same length in its place. */
export function replaceMarker(
  resources: readonly RecordedResource[],
  from: string,
  to: string,
): readonly RecordedResource[] {
  if (from.length !== to.length) throw new RangeError(`Cannot put ${to} in place of ${from}`);
  return resources
    .filter(({ value }) => value.includes(from))
    .map((resource) => {
      const value = Buffer.from(resource.value);
      for (let at = value.indexOf(from); at !== -1; at = value.indexOf(from, at)) {
        at += value.write(to, at, 'latin1');
      }
      return { ...resource, value };
    });
}
