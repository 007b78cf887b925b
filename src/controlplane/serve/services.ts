// The discovery services: their names, methods, and which of them serves which kind in which variant.
import type { MethodDefinition } from '@grpc/grpc-js';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { ResourceKind } from '@weft/xds/resource';
import type { Variant } from '@weft/xds/protocol/subscription';

/** Requests are read from their bytes; responses are bytes already. */
export type StreamMethod = MethodDefinition<PlainMessage, Uint8Array>;

export interface DiscoveryMethod {
  readonly variant: Variant;
  /** Absent where all kinds share the stream. */
  readonly kind: ResourceKind | undefined;
}

export interface DiscoveryService {
  readonly definition: Readonly<Record<string, StreamMethod>>;
  readonly methods: ReadonlyMap<string, DiscoveryMethod>;
}

const SERVICES: readonly {
  readonly name: string;
  readonly suffix: string;
  readonly kind: ResourceKind | undefined;
}[] = [
  {
    name: 'envoy.service.discovery.v3.AggregatedDiscoveryService',
    suffix: 'AggregatedResources',
    kind: undefined,
  },
  {
    name: 'envoy.service.cluster.v3.ClusterDiscoveryService',
    suffix: 'Clusters',
    kind: 'cluster',
  },
  {
    name: 'envoy.service.endpoint.v3.EndpointDiscoveryService',
    suffix: 'Endpoints',
    kind: 'endpoints',
  },
  {
    name: 'envoy.service.listener.v3.ListenerDiscoveryService',
    suffix: 'Listeners',
    kind: 'listener',
  },
  { name: 'envoy.service.route.v3.RouteDiscoveryService', suffix: 'Routes', kind: 'route' },
  { name: 'envoy.service.secret.v3.SecretDiscoveryService', suffix: 'Secrets', kind: 'secret' },
];

export function discoveryServices(): readonly DiscoveryService[] {
  return SERVICES.map(({ name, suffix, kind }) => {
    const loaded = serviceDefinition(name);
    const definition: Record<string, StreamMethod> = {};
    const methods = new Map<string, DiscoveryMethod>();
    for (const [prefix, variant] of [
      ['Stream', 'sotw'],
      ['Delta', 'delta'],
    ] as const) {
      const method = loaded[prefix + suffix];
      if (method === undefined)
        throw new TypeError(`Cannot serve ${name}: it has no method ${prefix}${suffix}`);
      definition[prefix + suffix] = {
        ...method,
        responseSerialize: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        responseDeserialize: (bytes) => bytes,
      };
      methods.set(prefix + suffix, { variant, kind });
    }
    return { definition, methods };
  });
}
