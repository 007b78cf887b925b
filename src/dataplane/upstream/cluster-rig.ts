// One cluster and the short ways to ask it for connections, for the tests of this directory.
import type { Clock } from '@weft/model/clock';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import type { UpstreamConnection } from '../http/http1-proxy.ts';
import type { PickWant } from '../http2/http2-contract.ts';
import type { UpstreamSessions } from '../http2/upstream-sessions.ts';
import type { MeshContexts } from '../tls/credentials.ts';
import { type Address, ClusterRuntime } from './cluster.ts';

export interface ClusterRig extends Disposable {
  readonly cluster: ClusterRuntime;
  readonly ejected: readonly string[];
  readonly overflows: readonly string[];
  contexts: MeshContexts | undefined;
  nowMs: number;
}

export const clusterOf = (more: Partial<Cluster> = {}): Cluster => ({
  name: 'outbound|80||prices.shop.svc.cluster.local',
  discovery: { kind: 'eds', serviceName: 'prices' },
  connectTimeoutMs: 2_000,
  balancing: 'leastRequest',
  protocol: 'useDownstream',
  ...more,
});

export const meshClusterOf = (peerUris: readonly string[], more: Partial<Cluster> = {}): Cluster =>
  clusterOf({
    meshTls: {
      sni: 'prices',
      alpn: [],
      certificateSecret: 'default',
      validationSecret: 'ROOTCA',
      peerUris,
    },
    ...more,
  });

export const endpointOf = (port: number, more: Partial<Endpoint> = {}): Endpoint => ({
  address: '127.0.0.1',
  port,
  health: 'healthy',
  weight: 1,
  tlsMode: 'disabled',
  ...more,
});

export function createRig(
  definition: Cluster,
  endpoints: readonly Endpoint[],
  appAddress: (address: Address) => Address = (address) => address,
): ClusterRig {
  const ejected: string[] = [];
  const overflows: string[] = [];
  const clock: Clock = {
    now: () => rig.nowMs,
    setTimeout: () => ({ [Symbol.dispose]: () => undefined }),
  };
  const cluster = new ClusterRuntime(definition, {
    clock,
    random: () => 0,
    contexts: () => rig.contexts,
    appAddress,
    onEjected: (_cluster, endpoint) => ejected.push(endpoint),
    onOverflow: (_cluster, limit) => overflows.push(limit),
    onRetry: () => undefined,
  });
  const rig: ClusterRig = {
    cluster,
    ejected,
    overflows,
    contexts: undefined,
    nowMs: 0,
    [Symbol.dispose]: () => cluster[Symbol.dispose](),
  };
  if (definition.discovery.kind === 'eds') cluster.setEndpoints(endpoints);
  return rig;
}

/** Why no connection was had. */
export class Refusal extends Error {
  readonly address: string | undefined;

  constructor(reasonCode: string, address: string | undefined) {
    super(reasonCode);
    this.address = address;
  }
}

/** A connection for one HTTP/1 exchange. @throws Refusal */
export function acquire(
  { cluster }: ClusterRig,
  want: {
    readonly tried?: readonly string[];
    readonly mustBeFresh?: boolean;
    readonly mayRepeat?: boolean;
    readonly hash?: bigint;
  } = {},
): Promise<UpstreamConnection> {
  const { tried = [], mustBeFresh = false, mayRepeat = false, hash } = want;
  return new Promise((resolve, reject) => {
    cluster.http1.acquire(
      { tried: new Set(tried), mustBeFresh, mayRepeat, hash },
      {
        onConnection: resolve,
        onFailure: (reasonCode, address) => reject(new Refusal(reasonCode, address)),
      },
    );
  });
}

export function openTcp(
  { cluster }: ClusterRig,
  destination: Address = { address: '', port: 0 },
): Promise<Parameters<Parameters<ClusterRuntime['openTcp']>[1]['onConnection']>[0]> {
  return new Promise((resolve, reject) => {
    cluster.openTcp(destination, {
      onConnection: resolve,
      onFailure: (reasonCode, address) => reject(new Refusal(reasonCode, address)),
    });
  });
}

/** For HTTP/2. */
export const pickOf = (...tried: readonly UpstreamSessions[]): PickWant => ({
  tried: new Set(tried),
  mayRepeat: false,
  hash: undefined,
});
