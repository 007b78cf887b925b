import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenerOfAgent } from '@weft/xds/agent-form';
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import type { EncodedResource, ResourceKind } from '@weft/xds/resource';
import { allowWeb, idOf, MeshBench, SHOP } from '../../../test/support/mesh-bench.ts';
import { peerAuthenticationOf } from '../../../test/support/mesh-objects.ts';
import { withAgentViews } from './agent-views.ts';
import type { NodeClaim, ProxyRef, ViewSource } from './view-source.ts';

const claim = (metadata: Record<string, string>): NodeClaim => ({
  id: 'cart-1.shop',
  cluster: 'shop',
  metadata: new Map(Object.entries(metadata)),
  userAgent: 'envoy/1.40',
});

function proxyOf(views: ViewSource, metadata: Record<string, string>): ProxyRef {
  const resolution = views.resolve(claim(metadata), idOf('spiffe://cluster.local/ns/shop/sa/cart'));
  assert.ok(resolution.ok);
  return resolution.proxy;
}

const isFor = (resource: EncodedResource): { readonly agent: boolean; readonly file: boolean } => {
  const text = Buffer.from(resource.bytes).toString('latin1');
  return { agent: text.includes('weft-agent'), file: text.includes('weft/default.json') };
};

test('an Envoy with an agent is told to have its certificate of it, at the same versions; all others are told what they were', () => {
  using bench = new MeshBench([...SHOP, allowWeb, peerAuthenticationOf('STRICT')]);
  const views = withAgentViews(bench.views);
  const [with_, without] = [{ WEFT_SDS: 'agent' }, { WEFT_SDS: 'file' }].map((metadata) =>
    views.viewFor(proxyOf(views, metadata)),
  );
  assert.ok(with_ && without);
  const plain = bench.views.viewFor(proxyOf(bench.views, {}));
  const all = (kind: ResourceKind) => [...with_.list(kind)];
  assert.deepEqual([...without.list('cluster')], [...plain.list('cluster')]);
  for (const kind of ['listener', 'cluster'] as const) {
    const versions = new Map(all(kind).map(({ name, version }) => [name, version]));
    for (const { name, version } of plain.list(kind)) assert.equal(versions.get(name), version);
    assert.equal(versions.size, all(kind).length);
  }
  for (const kind of ['endpoints', 'route', 'secret'] as const)
    assert.deepEqual(all(kind), [...plain.list(kind)]);
  const inbound = with_.get('listener', 'inbound');
  assert.ok(inbound);
  assert.deepEqual(isFor(inbound), { agent: true, file: false });
  const own = plain.get('listener', 'inbound');
  assert.ok(own);
  assert.deepEqual(isFor(own), { agent: false, file: true });
  const called = with_.get('cluster', 'outbound|80||cart.shop.svc.cluster.local');
  assert.ok(called);
  assert.deepEqual(isFor(called), { agent: true, file: false });
  assert.equal(with_.get('listener', 'inbound'), inbound, 'made once');
});

test('what an Envoy with an agent holds has the digest of the rules that everybody else is given', () => {
  using bench = new MeshBench([...SHOP, allowWeb]);
  const views = withAgentViews(bench.views);
  const inbound = views.viewFor(proxyOf(views, { WEFT_SDS: 'agent' })).get('listener', 'inbound');
  assert.ok(inbound);
  const read = decodeResource('listener', inbound.bytes);
  assert.ok(read.ok);
  const from = read.value.filterChains.flatMap(({ tls }) => tls?.certificateFrom ?? []);
  assert.ok(from.length > 0 && from.every((one) => one === 'agent'));
  assert.notEqual(encodeResource('listener', read.value).version, inbound.version);
  const { version } = encodeResource('listener', listenerOfAgent(read.value));
  assert.equal(version, inbound.version);
});

test('an Envoy with an agent dials its application at the address of the Pod, proves its interception and logs what it is asked to', () => {
  using bench = new MeshBench([...SHOP, allowWeb]);
  const views = withAgentViews(bench.views);
  const metadata = { WEFT_SDS: 'agent', WEFT_POD_IP: '10.0.0.2', WEFT_ACCESS_LOG: 'errors' };
  const view = views.viewFor(proxyOf(views, metadata));
  const cluster = view.get('cluster', 'inbound|8080||');
  assert.ok(cluster);
  const read = decodeResource('cluster', cluster.bytes);
  assert.ok(read.ok);
  const endpoints = [{ address: '10.0.0.2', port: 8080 }];
  assert.deepEqual(read.value.discovery, { kind: 'static', endpoints });
  const inbound = view.get('listener', 'inbound');
  assert.ok(inbound);
  const listener = decodeResource('listener', inbound.bytes);
  assert.ok(listener.ok);
  const ports = listener.value.filterChains.map(({ match }) => match.destinationPort);
  assert.deepEqual(ports.slice(0, 2), [15_998, 15_022]);
  const logs = listener.value.filterChains
    .slice(2)
    .flatMap(({ filters }) => filters)
    .flatMap((filter) => {
      if (filter.kind === 'http') return filter.http.accessLog;
      return filter.kind === 'tcpProxy' ? filter.accessLog : [];
    });
  assert.ok(
    logs.length > 0 && logs.every((log) => log?.what === 'errors' && log.direction === 'inbound'),
  );
});

test('a stranger with an agent is refused as every stranger is', () => {
  using bench = new MeshBench(SHOP);
  const views = withAgentViews(bench.views);
  const resolution = views.resolve(
    claim({ WEFT_SDS: 'agent' }),
    idOf('spiffe://cluster.local/ns/shop/sa/web'),
  );
  assert.equal(resolution.ok, false);
});
