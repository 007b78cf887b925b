// Reads a ReferenceGrant as far as it lets routes of other namespaces send requests to Services.
import { parseEnvelope } from '../policy/parse-metadata.ts';
import { Reader, type PlainObject } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { entries, readNamespace } from './parse-values.ts';
import { ROUTE_KINDS, type RouteGrant } from './types.ts';

const API_VERSIONS: readonly string[] = [
  'gateway.networking.k8s.io/v1',
  'gateway.networking.k8s.io/v1beta1',
];
const GROUP = 'gateway.networking.k8s.io';

/** What it grants to others than routes, and of others than Services, is passed over. */
export function parseGrant(object: PlainObject): Result<RouteGrant> {
  const reader = new Reader();
  const { namespace, name } = parseEnvelope(reader, object, 'ReferenceGrant', API_VERSIONS);
  const spec = reader.object(object['spec'] ?? {}, 'spec', ['from', 'to']) ?? {};
  const from = entries(reader, spec['from'], 'spec.from').flatMap(([entry, field]) => {
    reader.object(entry, field, ['group', 'kind', 'namespace']);
    const whom = readNamespace(reader, entry['namespace'], `${field}.namespace`);
    const kind = ROUTE_KINDS.find((one) => one === entry['kind']);
    const isRoute = kind !== undefined && entry['group'] === GROUP;
    return isRoute && whom !== undefined ? [{ kind, namespace: whom }] : [];
  });
  const named = new Set<string>();
  let isAll = false;
  for (const [entry, field] of entries(reader, spec['to'], 'spec.to')) {
    reader.object(entry, field, ['group', 'kind', 'name']);
    const { group, kind } = entry;
    if (kind !== 'Service' || (group !== '' && group !== undefined && group !== null)) continue;
    const service = reader.string(entry['name'] ?? undefined, `${field}.name`);
    if (service === undefined || service === '') isAll = true;
    else named.add(service);
  }
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const value: RouteGrant = { namespace, name, from, services: isAll ? undefined : named };
  return { ok: true, value, problems: [] };
}
