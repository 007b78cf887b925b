// Checks that what is measured is the same work: both control planes give resources of one meaning, and every proxy holds all of them.
import { createHash, hash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { TYPE_URLS } from '@weft/xds/resource';
import { type BenchMesh, endpointMarker, groupOf, policyMarker } from './mesh.ts';
import { type Recorded, type RecordedResource, replaceMarker } from './recorded.ts';

const keyOf = ({ kind, name, groups }: RecordedResource): string =>
  `${kind} ${name} of ${groups.toSorted().join(' ')}`;

/**
 * Bytes may differ: a library that decodes and encodes again has its own order of fields.
 * @throws Error with the first resource that is another one
 */
export function checkSameMeaning(ours: Recorded, theirs: Recorded): void {
  const byKey = new Map(theirs.resources.map((resource) => [keyOf(resource), resource]));
  for (const resource of ours.resources) {
    const other = byKey.get(keyOf(resource));
    const read = decodeResource(resource.kind, resource.value);
    const readOther = other && decodeResource(other.kind, other.value);
    if (read.ok && isDeepStrictEqual(read, readOther)) continue;
    throw new Error(`Cannot compare: the peer does not serve the same ${keyOf(resource)}`);
  }
  if (ours.resources.length === theirs.resources.length) return;
  throw new Error(
    `Cannot compare: ${ours.resources.length} and ${theirs.resources.length} resources are served`,
  );
}

export interface InForce {
  readonly policy: number;
  /** By changing Service. */
  readonly endpoints: readonly number[];
}

export interface Holding {
  readonly digest: string;
  readonly resources: number;
}

/** What the fleet must say that it holds when everything that was changed has arrived everywhere. */
export function expectedHolding(mesh: BenchMesh, recorded: Recorded, inForce: InForce): Holding {
  const linesByGroup = new Map<string, string[]>();
  for (const { kind, name, value, groups } of resourcesInForce(recorded.resources, inForce)) {
    const line = `${TYPE_URLS[kind]} ${name} ${hash('md5', value)}`;
    for (const group of groups) {
      const lines = linesByGroup.get(group) ?? [];
      linesByGroup.set(group, lines);
      lines.push(line);
    }
  }
  for (const lines of linesByGroup.values()) lines.sort();
  let resources = 0;
  const digest = createHash('sha256');
  const byNode = mesh.proxies.toSorted((a, b) => (a.node < b.node ? -1 : 1));
  for (const { node, service } of byNode) {
    const lines = linesByGroup.get(groupOf(service)) ?? [];
    resources += lines.length;
    digest.update(`${node}\n${lines.join('\n')}\n`);
  }
  return { digest: digest.digest('hex'), resources };
}

function resourcesInForce(
  resources: readonly RecordedResource[],
  { policy, endpoints }: InForce,
): readonly RecordedResource[] {
  const changes = [
    [policyMarker(0), policyMarker(policy)] as const,
    ...endpoints.map(
      (version, at) =>
        [endpointMarker({ at, version: 0 }), endpointMarker({ at, version })] as const,
    ),
  ];
  return resources.map((resource) => {
    let current = resource;
    for (const [from, to] of changes) current = replaceMarker([current], from, to)[0] ?? current;
    return current;
  });
}
