// What an Envoy with an agent beside it is told instead: its own certificate comes from that agent, all else is the same.
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import type { EncodedResource, ResourceView } from '@weft/xds/resource';
import type { FilterChain, Listener } from '@weft/xds/resources/listener';

/** In the metadata of the node of such an Envoy, with the value `agent`. */
export const SECRETS_METADATA = 'WEFT_SDS';

/** Made once of each resource, for as long as that lives. */
const made = new WeakMap<EncodedResource, EncodedResource>();

export function withAgentSecrets(view: ResourceView): ResourceView {
  return {
    ...view,
    get: (kind, name) => {
      const found = view.get(kind, name);
      return found && withAgent(found);
    },
    list: function* (kind) {
      for (const one of view.list(kind)) yield withAgent(one);
    },
  };
}

/**
 * The version stays that of the content, which is the same wherever the certificate comes from: what is in force is
 * known by it, and a proxy's certificate comes from one place for its whole life.
 */
function withAgent(resource: EncodedResource): EncodedResource {
  const { kind, version } = resource;
  if (kind !== 'listener' && kind !== 'cluster') return resource;
  const known = made.get(resource);
  if (known !== undefined) return known;
  const other = kind === 'listener' ? listenerOf(resource) : clusterOf(resource);
  const result = other === undefined ? resource : { ...other, version };
  made.set(resource, result);
  return result;
}

/** @returns `undefined` for what is no mutual TLS of the mesh's. */
function listenerOf({ name, bytes }: EncodedResource): EncodedResource | undefined {
  const read = decodeResource('listener', bytes);
  if (!read.ok) throw new TypeError(`Cannot read listener ${name}, which was written here`);
  const { filterChains, defaultFilterChain, ...rest } = read.value;
  const chains = defaultFilterChain === undefined ? [] : [defaultFilterChain];
  if (![...filterChains, ...chains].some(({ tls }) => tls !== undefined)) return undefined;
  const listener: Listener = {
    ...rest,
    filterChains: filterChains.map(chainOf),
    ...(defaultFilterChain && { defaultFilterChain: chainOf(defaultFilterChain) }),
  };
  return encodeResource('listener', listener);
}

const chainOf = (chain: FilterChain): FilterChain =>
  chain.tls === undefined ? chain : { ...chain, tls: { ...chain.tls, certificateFrom: 'agent' } };

function clusterOf({ name, bytes }: EncodedResource): EncodedResource | undefined {
  const read = decodeResource('cluster', bytes);
  if (!read.ok) throw new TypeError(`Cannot read cluster ${name}, which was written here`);
  const { meshTls } = read.value;
  if (meshTls === undefined) return undefined;
  return encodeResource('cluster', {
    ...read.value,
    meshTls: { ...meshTls, certificateFrom: 'agent' },
  });
}
