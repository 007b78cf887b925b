// A sidecar's outbound side without redirection: connections are accepted on real ports as if they had been going elsewhere.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { LocalOrigin } from '@weft/cli/static/local-origin';
import { createExternalOptions } from '@weft/dataplane/egress/external-options';
import { EdgeCounts } from '@weft/dataplane/report/edge-counts';
import { addressName, createOutbound, FALLBACK_LISTENER } from '@weft/dataplane/serve/outbound';
import { outsideOf } from '@weft/dataplane/serve/service-host';
import { FlowCache, type Traffic } from '@weft/dataplane/serve/traffic';
import { ConfigStore } from '@weft/dataplane/state/config-store';
import { OpenConnections } from '@weft/dataplane/state/open-connections';
import type { AccessRecord } from '@weft/dataplane/telemetry/access-log';
import { MetricsRegistry } from '@weft/dataplane/telemetry/metrics';
import { createProxyMetrics } from '@weft/dataplane/telemetry/proxy-metrics';
import { ClusterRuntime } from '@weft/dataplane/upstream/cluster';
import { systemClock } from '@weft/model/clock';
import type { RegistryObject } from '@weft/model/mesh/objects';
import pino from 'pino';
import { idOf, MeshBench } from './mesh-bench.ts';

export interface OutsideRig extends AsyncDisposable {
  readonly bench: MeshBench;
  readonly records: readonly AccessRecord[];
  readonly edges: EdgeCounts;
  /** A port whose connections were going there. */
  towards(destination: { readonly address: string; readonly port: number }): Promise<number>;
}

/** @param objects a mesh with a Pod `web-1.shop` */
export function createOutsideRig(
  objects: readonly RegistryObject[],
  dnsServers?: readonly string[],
): OutsideRig {
  const bench = new MeshBench(objects);
  const log = pino({ level: 'silent' });
  const records: AccessRecord[] = [];
  const registry = new MetricsRegistry();
  const metrics = createProxyMetrics(registry);
  const edges = new EdgeCounts();
  const open = new OpenConnections({ onCut: () => undefined });
  const clock = systemClock;
  const external = createExternalOptions(
    { clock, log, ...(dnsServers && { dnsServers }) },
    metrics,
    (name) => store.secret(name),
  );
  const origin = new LocalOrigin(
    { views: bench.views, proxyId: 'web-1.shop', log },
    {
      apply: (update) => {
        const errors = store.apply(update);
        if (update.kind === 'listener') open.rejudgeAll();
        return errors;
      },
      onIdentity: () => undefined,
      onReasons: () => undefined,
      onState: () => undefined,
      onResponse: () => undefined,
      onCredentials: () => undefined,
      inbound: () => store.inbound(),
      edges,
      metrics: registry,
    },
  );
  const store: ConfigStore<ClusterRuntime> = new ConfigStore<ClusterRuntime>({
    clock,
    subscriptions: origin,
    createCluster: (cluster) =>
      new ClusterRuntime(cluster, {
        clock,
        random: Math.random,
        contexts: () => undefined,
        appAddress: (address) => address,
        onEjected: () => undefined,
        onOverflow: () => undefined,
        onRetry: () => undefined,
        external,
      }),
    onInboundChange: () => undefined,
    onBundle: () => undefined,
  });
  const traffic: Traffic = {
    store,
    metrics,
    workload: () => ({
      spiffeId: idOf('spiffe://cluster.local/ns/shop/sa/web'),
      namespace: 'shop',
      name: 'web-1',
    }),
    log: (record) => void records.push(record),
    isLogOff: false,
    flows: new FlowCache(metrics),
    edges,
  };
  const isOutside = outsideOf('cluster.local');
  const accept = createOutbound({ traffic, open, now: () => Date.now(), isOutside });
  const servers: net.Server[] = [];
  const sockets = new Set<net.Socket>();
  void origin.start();
  return {
    bench,
    records,
    edges,
    async towards(destination) {
      const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        sockets.add(socket);
        accept(socket, addressName(destination), destination, FALLBACK_LISTENER);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      servers.push(server);
      return (server.address() as AddressInfo).port;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await open.drain(0);
      for (const cluster of store.handles().values()) cluster[Symbol.dispose]();
      origin[Symbol.dispose]();
      bench[Symbol.dispose]();
      for (const server of servers) server.close();
    },
  };
}
