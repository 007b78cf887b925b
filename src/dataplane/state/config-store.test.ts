// What is subscribed to because of what, when a destination can be used, and what outlives a withdrawal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import type { ResourceByKind, ResourceKind } from '@weft/xds/resource';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import type { FilterChain, Listener } from '@weft/xds/resources/listener';
import type { RouteConfiguration } from '@weft/xds/resources/route';
import { type ClusterHandle, ConfigStore, type ResourceUpdate } from './config-store.ts';

class FakeCluster implements ClusterHandle {
  definition: Cluster;
  endpoints: readonly Endpoint[] | undefined;
  isDisposed = false;

  constructor(definition: Cluster) {
    this.definition = definition;
  }
  update(definition: Cluster): void {
    this.definition = definition;
  }
  setEndpoints(endpoints: readonly Endpoint[]): void {
    this.endpoints = endpoints;
  }
  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}

function createRig() {
  const clock = createTurnableClock(0);
  /** In order: `+kind name`, `-kind name`. */
  const calls: string[] = [];
  const wanted = new Set<string>();
  const rig = {
    clock,
    calls,
    wanted,
    inboundChanges: 0,
    secretError: undefined as string | undefined,
    made: [] as FakeCluster[],
  };
  const store = new ConfigStore<FakeCluster>({
    clock,
    subscriptions: {
      subscribe: (kind, name) => {
        assert.ok(!wanted.has(`${kind} ${name}`), `${kind} ${name} is asked for twice`);
        wanted.add(`${kind} ${name}`);
        calls.push(`+${kind} ${name}`);
      },
      unsubscribe: (kind, name) => {
        assert.ok(wanted.delete(`${kind} ${name}`), `${kind} ${name} was not asked for`);
        calls.push(`-${kind} ${name}`);
      },
    },
    createCluster: (cluster) => {
      const made = new FakeCluster(cluster);
      rig.made.push(made);
      return made;
    },
    onInboundChange: () => {
      rig.inboundChanges++;
    },
    onBundle: () => rig.secretError,
  });
  const put = <K extends ResourceKind>(
    kind: K,
    changed: readonly ResourceByKind[K][],
    removed: readonly string[] = [],
  ): readonly string[] => {
    const named = changed.map((value): [string, ResourceByKind[K]] => [nameOf(value), value]);
    return store.apply({
      kind,
      changed: new Map(named),
      removed: new Set(removed),
    } as ResourceUpdate);
  };
  return Object.assign(rig, { store, put });
}

const nameOf = (value: ResourceByKind[ResourceKind]): string =>
  'clusterName' in value ? value.clusterName : value.name;

const tcpTo = (cluster: string, more: Partial<FilterChain> = {}): FilterChain => ({
  name: `to ${cluster}`,
  match: { destinationRanges: [], applicationProtocols: [], serverNames: [] },
  filters: [{ kind: 'tcpProxy', statPrefix: 'x', cluster }],
  ...more,
});

const httpBy = (route: string): FilterChain => ({
  ...tcpTo(''),
  name: `by ${route}`,
  filters: [
    {
      kind: 'http',
      http: {
        statPrefix: 'x',
        routes: { kind: 'rds', name: route },
        filters: [{ kind: 'router' }],
        forwardClientCert: 'sanitize',
        trustedHops: 0,
        pathNormalization: 'BASE',
        upgrades: [],
        requestHeadersTimeoutMs: 0,
        streamIdleTimeoutMs: 0,
      },
    },
  ],
});

const listenerOf = (name: string, ...filterChains: readonly FilterChain[]): Listener => ({
  name,
  address: { address: '0.0.0.0', port: 0 },
  direction: name === 'inbound' ? 'inbound' : 'outbound',
  bindToPort: false,
  inspectors: [],
  inspectTimeoutMs: 100,
  filterChains,
});

const MESH_TLS = {
  alpn: [],
  certificateSecret: 'default',
  validationSecret: 'ROOTCA',
  peerUris: [],
} as const;

const clusterOf = (name: string, more: Partial<Cluster> = {}): Cluster => ({
  name,
  discovery: { kind: 'eds', serviceName: `${name}-eds` },
  connectTimeoutMs: 1_000,
  balancing: 'leastRequest',
  protocol: 'useDownstream',
  ...more,
});

const routeTo = (name: string, ...clusters: readonly string[]): RouteConfiguration => ({
  name,
  virtualHosts: [
    {
      name: 'all',
      domains: ['*'],
      routes: clusters.map((cluster) => ({
        match: { kind: 'prefix', value: '/' },
        cluster,
        timeoutMs: 0,
        connectRetries: 0,
      })),
    },
  ],
});

const endpointAt = (port: number): Endpoint => ({
  address: '10.0.0.1',
  port,
  health: 'healthy',
  weight: 1,
  tlsMode: 'mesh',
});
const assignment = (name: string, ...ports: readonly number[]) => ({
  clusterName: `${name}-eds`,
  endpoints: ports.map(endpointAt),
});
const ROOTCA = { name: 'ROOTCA', trustedCaPem: 'pem' };

test('at first the own listener alone is asked for; what it names follows, step by step', () => {
  const { wanted, put, calls } = createRig();
  assert.deepEqual([...wanted], ['listener inbound']);
  put('listener', [listenerOf('inbound', tcpTo('a', { tls: MESH_TLS }), httpBy('r'))]);
  assert.deepEqual([...wanted].sort(), [
    'cluster a',
    'listener inbound',
    'route r',
    'secret ROOTCA',
  ]);
  put('route', [routeTo('r', 'b')]);
  assert.ok(wanted.has('cluster b'));
  put('cluster', [clusterOf('b')]);
  assert.ok(wanted.has('endpoints b-eds'));
  assert.ok(!calls.some((call) => call.startsWith('-')));
});

test('what nothing names any more is dropped, and its cluster with it', () => {
  const { wanted, put, store, made } = createRig();
  put('listener', [listenerOf('inbound', httpBy('r'))]);
  put('route', [routeTo('r', 'a')]);
  put('cluster', [clusterOf('a')]);
  put('endpoints', [assignment('a', 1)]);
  assert.equal(store.cluster('a'), made[0]);
  put('route', [routeTo('r', 'b')]);
  put('cluster', [clusterOf('b')]);
  put('endpoints', [assignment('b', 1)]);
  assert.deepEqual([...wanted].sort(), [
    'cluster b',
    'endpoints b-eds',
    'listener inbound',
    'route r',
  ]);
  assert.equal(made[0]?.isDisposed, true);
  assert.equal(store.cluster('a'), undefined);
});

test('what was not asked for is not taken', () => {
  const { put, store } = createRig();
  put('cluster', [clusterOf('stray')]);
  put('listener', [listenerOf('stray', tcpTo('stray'))]);
  assert.equal(store.cluster('stray'), undefined);
  assert.deepEqual(store.dump()['listeners'], []);
});

test('demand() answers ready once listener, routes, clusters and endpoints are all there', async () => {
  const { put, store } = createRig();
  const seen: string[] = [];
  const done = store.demand('d', new AbortController().signal).then((state) => seen.push(state));
  const steps: readonly (() => void)[] = [
    () => put('listener', [listenerOf('d', httpBy('r'))]),
    () => put('route', [routeTo('r', 'a')]),
    () => put('cluster', [clusterOf('a')]),
  ];
  for (const step of steps) {
    step();
    await Promise.resolve();
    assert.deepEqual(seen, []);
    assert.equal(store.destination('d'), undefined);
  }
  put('endpoints', [assignment('a', 1)]);
  await done;
  assert.deepEqual(seen, ['ready']);
  assert.equal(store.destination('d')?.listener.name, 'd');
});

test('demand() answers absent when the control plane says that there is none', async () => {
  const { put, store } = createRig();
  const state = store.demand('d', new AbortController().signal);
  put('listener', [], ['d']);
  assert.equal(await state, 'absent');
  assert.equal(await store.demand('d', new AbortController().signal), 'absent');
  put('listener', [listenerOf('d')]);
  assert.equal(await store.demand('d', new AbortController().signal), 'ready', 'it has come since');
});

test('demand() answers pending when the signal is aborted, and leaves nobody waiting', async () => {
  const { put, store } = createRig();
  const controller = new AbortController();
  const state = store.demand('d', controller.signal);
  controller.abort();
  assert.equal(await state, 'pending');
  assert.equal(await store.demand('d', controller.signal), 'pending');
  put('listener', [], ['d']);
});

test('demand() is ready for a destination whose cluster has no endpoints, so that its callers are told', async () => {
  const { put, store } = createRig();
  const state = store.demand('d', new AbortController().signal);
  put('listener', [listenerOf('d', tcpTo('a'))]);
  put('cluster', [clusterOf('a')]);
  put('endpoints', [], ['a-eds']);
  assert.equal(await state, 'ready');
  assert.deepEqual(store.cluster('a')?.endpoints, []);
});

test('sweep() drops destinations that nobody has called for a quarter of an hour, and no others', () => {
  const { clock, put, store, wanted } = createRig();
  store.destination('a');
  store.destination('b');
  put('listener', [listenerOf('a', tcpTo('x')), listenerOf('b', tcpTo('y'))]);
  put('cluster', [
    clusterOf('x', { discovery: { kind: 'originalDst' } }),
    clusterOf('y', { discovery: { kind: 'originalDst' } }),
  ]);
  clock.turn(14 * 60_000);
  assert.notEqual(store.destination('a'), undefined);
  store.sweep();
  assert.ok(wanted.has('listener b'));
  clock.turn(60_000);
  store.sweep();
  assert.deepEqual([...wanted].sort(), ['cluster x', 'listener a', 'listener inbound']);
  clock.turn(14 * 60_000);
  store.sweep();
  assert.deepEqual([...wanted], ['listener inbound']);
});

test('a scan through the sidecar grows it to a bound: the destination idle for longest is dropped', () => {
  const { store, wanted } = createRig();
  for (let count = 0; count < 2_001; count++) {
    store.destination(`d${count}`);
    if (count === 1) store.destination('d0');
  }
  assert.equal(wanted.size, 2_001, 'two thousand, and the own listener');
  assert.ok(wanted.has('listener d0'));
  assert.ok(!wanted.has('listener d1'));
});

test('updates reach a running cluster; one that was never used is made when it is first asked for', () => {
  const { put, store, made } = createRig();
  put('listener', [listenerOf('inbound', tcpTo('a'))]);
  put('cluster', [clusterOf('a')]);
  put('endpoints', [assignment('a', 1)]);
  assert.equal(made.length, 0);
  const cluster = store.cluster('a');
  assert.deepEqual(cluster?.endpoints, [endpointAt(1)]);
  put('endpoints', [assignment('a', 1, 2)]);
  assert.deepEqual(cluster?.endpoints, [endpointAt(1), endpointAt(2)]);
  put('cluster', [clusterOf('a', { connectTimeoutMs: 5 })]);
  assert.equal(cluster?.definition.connectTimeoutMs, 5);
  assert.equal(store.cluster('a'), cluster);
  put('endpoints', [], ['a-eds']);
  assert.deepEqual(cluster?.endpoints, []);
});

test('a running cluster that is pointed at other endpoints is given them, held or not', () => {
  const { put, store } = createRig();
  put('listener', [listenerOf('inbound', tcpTo('a'), tcpTo('b'))]);
  put('cluster', [clusterOf('a'), clusterOf('b')]);
  put('endpoints', [assignment('a', 1), assignment('b', 2)]);
  const cluster = store.cluster('a');
  put('cluster', [clusterOf('a', { discovery: { kind: 'eds', serviceName: 'b-eds' } })]);
  assert.deepEqual(cluster?.endpoints, [endpointAt(2)]);
});

test('a cluster that the control plane withdraws is disposed, and made anew when it returns', () => {
  const { put, store, made } = createRig();
  put('listener', [listenerOf('inbound', tcpTo('a'))]);
  put('cluster', [clusterOf('a')]);
  const first = store.cluster('a');
  put('cluster', [], ['a']);
  assert.equal(first?.isDisposed, true);
  assert.equal(store.cluster('a'), undefined);
  put('cluster', [clusterOf('a')]);
  assert.equal(store.cluster('a'), made[1]);
});

test('a listener that cannot be run is refused by name and the last good one stays', () => {
  const { put, store } = createRig();
  put('listener', [listenerOf('inbound', tcpTo('a'))]);
  const before = store.inbound();
  const errors = put('listener', [listenerOf('inbound', tcpTo('a', { filters: [] }))]);
  assert.equal(errors.length, 1);
  assert.match(errors[0] ?? '', /^inbound: Cannot run filter chain to a/);
  assert.equal(store.inbound(), before);
});

test('open connections are judged again when the own listener changes, and for nothing else', () => {
  const rig = createRig();
  rig.store.destination('d');
  rig.put('listener', [listenerOf('d')]);
  rig.put('cluster', [clusterOf('a')]);
  assert.equal(rig.inboundChanges, 0);
  rig.put('listener', [listenerOf('inbound')]);
  assert.equal(rig.inboundChanges, 1);
  rig.put('listener', [], ['inbound']);
  assert.equal(rig.inboundChanges, 2);
  assert.equal(rig.store.inbound(), undefined);
});

test('a bundle that is withdrawn or cannot be read leaves the one in force: there is no trust without one', () => {
  const rig = createRig();
  rig.put('listener', [listenerOf('inbound', tcpTo('a', { tls: MESH_TLS }))]);
  rig.put('cluster', [clusterOf('a', { discovery: { kind: 'originalDst' } })]);
  rig.put('secret', [ROOTCA]);
  assert.equal(rig.store.isInboundComplete(), true);
  rig.secretError = 'no certificate in it';
  assert.deepEqual(rig.put('secret', [{ ...ROOTCA, trustedCaPem: 'broken' }]), [
    'ROOTCA: no certificate in it',
  ]);
  assert.deepEqual(rig.store.dump()['secrets'], [ROOTCA]);
  rig.put('secret', [], ['ROOTCA']);
  assert.deepEqual(rig.store.dump()['secrets'], [ROOTCA]);
  assert.equal(rig.store.isInboundComplete(), true);
});

test('isInboundComplete() waits for the bundle, for the routes and for their clusters', () => {
  const { put, store } = createRig();
  assert.equal(store.isInboundComplete(), false);
  put('listener', [listenerOf('inbound', { ...httpBy('r'), tls: MESH_TLS })]);
  put('secret', [ROOTCA]);
  put('route', [routeTo('r', 'a')]);
  assert.equal(store.isInboundComplete(), false);
  put('cluster', [clusterOf('a', { discovery: { kind: 'static', endpoints: [] } })]);
  assert.equal(store.isInboundComplete(), true);
});

test('dump() names what the control plane does not have', () => {
  const { put, store } = createRig();
  store.destination('nobody');
  put('listener', [], ['nobody']);
  assert.deepEqual(store.dump()['absent'], ['nobody']);
});
