// Endpoints on the wire: addresses, health, and who must answer there.
import type { Locality } from '@weft/model/mesh/locality';
import type { PlainMessage } from '../registry.ts';
import type { ClusterLoadAssignment, Endpoint } from '../resources/endpoint.ts';
import { encodeAddress, readAddress } from './address.ts';
import {
  choose,
  type Fields,
  isSet,
  message,
  messageMap,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
} from './fields.ts';
import { encodeTexts, encodeUint, nonEmpty, readTexts, requiredUint } from './well-known.ts';

/** Envoy's own namespace for choosing a transport socket by endpoint. */
export const SOCKET_MATCH = 'envoy.transport_socket_match';
/** Weft's own namespace. */
export const WEFT_METADATA = 'weft.dev';
/** The one value of `tlsMode`: a sidecar answers with mutual TLS. */
const MESH_TLS_MODE = 'weft';

/** What an endpoint's metadata has to be for a cluster to speak mutual TLS to it. */
export const MESH_TLS_MATCH: PlainMessage = encodeTexts({ tlsMode: MESH_TLS_MODE });
export const MESH_ENDPOINT_METADATA: PlainMessage = {
  filter_metadata: { [SOCKET_MATCH]: MESH_TLS_MATCH },
};

const HEALTH = { healthy: 'HEALTHY', draining: 'DRAINING', unhealthy: 'UNHEALTHY' } as const;

export function encodeClusterLoadAssignment(assignment: ClusterLoadAssignment): PlainMessage {
  const sorted = [...assignment.endpoints].sort(byPlace);
  const groups: { readonly of: Locality | undefined; readonly endpoints: Endpoint[] }[] = [];
  for (const endpoint of sorted) {
    const last = groups.at(-1);
    if (last !== undefined && byLocality(last.of, endpoint.locality) === 0) {
      last.endpoints.push(endpoint);
    } else groups.push({ of: endpoint.locality, endpoints: [endpoint] });
  }
  return {
    cluster_name: assignment.clusterName,
    endpoints: groups.map(({ of, endpoints }) => ({
      locality: of && { region: nonEmpty(of.region), zone: nonEmpty(of.zone) },
      lb_endpoints: endpoints.map(encodeEndpoint),
    })),
  };
}

const byPlace = (a: Endpoint, b: Endpoint): number =>
  byLocality(a.locality, b.locality) || byAddress(a, b);

/** None first. */
const byLocality = (a: Locality | undefined, b: Locality | undefined): number =>
  compare(a?.region ?? '', b?.region ?? '') || compare(a?.zone ?? '', b?.zone ?? '');

/** By address, then port; by identity where a reused address is there twice. */
function byAddress(a: Endpoint, b: Endpoint): number {
  return (
    compare(a.address, b.address) ||
    a.port - b.port ||
    compare(a.identity ?? '', b.identity ?? '') ||
    compare(a.workload ?? '', b.workload ?? '')
  );
}

const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

function encodeEndpoint(endpoint: Endpoint): PlainMessage {
  const { identity, namespace, workload } = endpoint;
  const isPlain = identity === undefined && namespace === undefined && workload === undefined;
  const metadata = {
    ...(endpoint.tlsMode === 'mesh' && { [SOCKET_MATCH]: MESH_TLS_MATCH }),
    ...(!isPlain && { [WEFT_METADATA]: encodeTexts({ identity, namespace, workload }) }),
  };
  return {
    endpoint: { address: encodeAddress(endpoint) },
    health_status: HEALTH[endpoint.health],
    metadata: Object.keys(metadata).length === 0 ? undefined : { filter_metadata: metadata },
    load_balancing_weight: encodeUint(endpoint.weight),
  };
}

export const readClusterLoadAssignment: Read<ClusterLoadAssignment> = (fields) => ({
  clusterName: requiredText(fields, 'cluster_name'),
  endpoints: messages(fields, 'endpoints', readGroup).flat(),
});

const readGroup: Read<readonly Endpoint[]> = (fields) => {
  const locality = message(fields, 'locality', readLocality);
  const endpoints = messages(fields, 'lb_endpoints', readEndpoint);
  return locality === undefined
    ? endpoints
    : endpoints.map((endpoint) => ({ ...endpoint, locality }));
};

const readLocality: Read<Locality> = (fields) => {
  const region = text(fields, 'region');
  const zone = text(fields, 'zone');
  if (region === '' && zone === '') report(fields, '', 'missing', 'says neither region nor zone');
  return { region, zone };
};

const readEndpoint: Read<Endpoint> = (fields) => {
  const health = choose(fields, 'health_status', {
    '': 'healthy',
    UNKNOWN: 'healthy',
    HEALTHY: 'healthy',
    DRAINING: 'draining',
    UNHEALTHY: 'unhealthy',
  } as const);
  const hasWeight = isSet(fields, 'load_balancing_weight');
  const weight = requiredUint(fields, 'load_balancing_weight');
  if (hasWeight && weight === 0) report(fields, 'load_balancing_weight', 'out-of-range', 'is 0');
  const metadata = message(fields, 'metadata', readMetadata);
  const tlsMode = readTlsMode(fields, metadata?.get(SOCKET_MATCH));
  const about = readAbout(fields, metadata?.get(WEFT_METADATA));
  for (const name of metadata?.keys() ?? []) {
    if (name !== SOCKET_MATCH && name !== WEFT_METADATA) unknownMetadata(fields, name);
  }
  oneOf(fields, 'host_identifier');
  const address = requiredMessage(fields, 'endpoint', (host) =>
    requiredMessage(host, 'address', readAddress),
  );
  if (address === undefined || health === undefined) return undefined;
  return { ...address, health, weight, tlsMode, ...about };
};

const unknownMetadata = (fields: Fields, name: string): undefined =>
  report(fields, `metadata.filter_metadata[${shown(name)}]`, 'not-supported', 'is not known here');

/** Metadata whose values are all texts, by namespace. */
export const readMetadata: Read<ReadonlyMap<string, ReadonlyMap<string, string>>> = (fields) =>
  messageMap(fields, 'filter_metadata', readTexts);

/** Whether a match, or the metadata it is compared with, is the one for mutual TLS. */
export const isMeshMatch = (match: ReadonlyMap<string, string> | undefined): boolean =>
  match?.size === 1 && match.get('tlsMode') === MESH_TLS_MODE;

/** Read too loosely, this would send plaintext to where mutual TLS was meant. */
function readTlsMode(
  fields: Fields,
  match: ReadonlyMap<string, string> | undefined,
): Endpoint['tlsMode'] {
  if (match === undefined) return 'disabled';
  if (!isMeshMatch(match)) unknownMetadata(fields, SOCKET_MATCH);
  return 'mesh';
}

function readAbout(
  fields: Fields,
  texts: ReadonlyMap<string, string> | undefined,
): Pick<Endpoint, 'identity' | 'namespace' | 'workload'> {
  const about: { identity?: string; namespace?: string; workload?: string } = {};
  for (const [key, value] of texts ?? []) {
    if (key === 'identity' || key === 'namespace' || key === 'workload') about[key] = value;
    else unknownMetadata(fields, WEFT_METADATA);
  }
  return about;
}
