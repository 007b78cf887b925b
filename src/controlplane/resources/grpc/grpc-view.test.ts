// What must hold: a gRPC library is given resources that it takes, judged here by the reader of @grpc/grpc-js-xds itself.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { register } from '@grpc/grpc-js-xds';
import type { ProxyRef } from '@weft/controlplane/serve/view-source';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { decodeMessage, type PlainMessage } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import { typeNameOf } from '@weft/xds/codec/resource-codec';
import { allowWeb, idOf, MeshBench, SHOP, WEB } from '../../../../test/support/mesh-bench.ts';
import { authorizationOf, podOf, serviceOf } from '../../../../test/support/mesh-objects.ts';
import { grpcLibraryOf } from './grpc-library.ts';
import { clientListenerOf, destinationOf, listeningAddressOf } from './grpc-names.ts';

type Kind = 'cluster' | 'endpoints' | 'listener' | 'route';
// Its filters are known to it only then.
register();
const CART = 'outbound|80||cart.shop.svc.cluster.local';
const SERVER = 'grpc/server?xds.resource.listening_address=0.0.0.0:8080';
const AGENTS = { go: 'gRPC Go/1.84.0', other: 'gRPC Node Pure JS/1.14.1' } as const;

function proxyOf(bench: MeshBench, app: string, library: keyof typeof AGENTS = 'go'): ProxyRef {
  const identity = idOf(`spiffe://cluster.local/ns/shop/sa/${app}`);
  const claim = {
    id: `${app}-1.shop`,
    cluster: '',
    metadata: new Map<string, string>(),
    userAgent: AGENTS[library],
  };
  const resolved = bench.views.resolve(claim, identity);
  assert.ok(resolved.ok);
  return resolved.proxy;
}

function bytesOf(bench: MeshBench, proxy: ProxyRef, kind: Kind, name: string): Uint8Array {
  const found = bench.views.viewFor(proxy).get(kind, name);
  assert.ok(found !== undefined, `${kind} ${name} is absent`);
  assert.equal(found.name, name);
  return found.bytes;
}

const readOf = (bench: MeshBench, proxy: ProxyRef, kind: Kind, name: string): PlainMessage =>
  decodeMessage(typeNameOf(kind), bytesOf(bench, proxy, kind, name));

/** The reader of a type in the library: it throws, or says `{error}`, for what it refuses. */
function judge(kind: Kind, bytes: Uint8Array): unknown {
  const require = createRequire(import.meta.url);
  const folder = '@grpc/grpc-js-xds/build/src/xds-resource-type';
  const file = {
    cluster: 'cluster',
    endpoints: 'endpoint',
    listener: 'listener',
    route: 'route-config',
  };
  const types: Record<string, { get(): { decode(context: object, any: object): object } }> =
    require(`${folder}/${file[kind]}-resource-type.js`);
  const type = Object.values(types).find((one) => typeof one.get === 'function');
  assert.ok(type !== undefined);
  const context = { bootstrap: { certificateProviders: { weft: {} } }, server: {} };
  return type.get().decode(context, { type_url: TYPE_URLS[kind], value: bytes });
}

const KINDS: readonly (readonly [Kind, string])[] = [
  ['listener', 'cart.shop.svc.cluster.local:80'],
  ['route', CART],
  ['cluster', CART],
  ['endpoints', CART],
];
for (const [kind, name] of KINDS) {
  test(`the ${kind} of a destination is one that @grpc/grpc-js-xds takes`, () => {
    using bench = new MeshBench(SHOP);
    const read = judge(kind, bytesOf(bench, proxyOf(bench, 'web', 'other'), kind, name));
    assert.equal(Reflect.get(Object(read), 'error'), undefined, JSON.stringify(read));
    assert.ok(Reflect.get(Object(read), 'value') !== undefined);
  });
}

for (const kind of ['cluster', 'endpoints'] as const) {
  test(`a call that leads nowhere has a ${kind} of nobody, so that no other call waits for it`, () => {
    using bench = new MeshBench(SHOP);
    const bytes = bytesOf(bench, proxyOf(bench, 'web', 'other'), kind, 'unresolved');
    const read = judge(kind, bytes);
    assert.equal(Reflect.get(Object(read), 'error'), undefined, JSON.stringify(read));
  });
}

test('a cluster names the exact SPIFFE ids of who may answer, where gRPC looks for them', () => {
  using bench = new MeshBench(SHOP);
  const text = JSON.stringify(
    judge('cluster', bytesOf(bench, proxyOf(bench, 'web', 'other'), 'cluster', CART)),
  );
  assert.match(
    text,
    /"subjectAltNameMatchers":\[\{[^\]]*"exact":"spiffe:\/\/cluster.local\/ns\/shop\/sa\/cart"/,
  );
  assert.match(text, /"caCertificateProviderInstance":"weft"/);
  assert.match(text, /"identityCertificateProviderInstance":"weft"/);
});

test('grpc-go balances by least requests, the others in turn', () => {
  using bench = new MeshBench(SHOP);
  const policyOf = (library: 'go' | 'other'): unknown =>
    readOf(bench, proxyOf(bench, 'web', library), 'cluster', CART)['lb_policy'];
  assert.equal(policyOf('go'), 'LEAST_REQUEST');
  assert.equal(policyOf('other') ?? 'ROUND_ROBIN', 'ROUND_ROBIN');
});

test('endpoints have a locality and weights that are not 0, and only those of the mesh where there are any', () => {
  const outsider = podOf('cart', {
    ips: ['10.0.0.7'],
    meta: {
      ...WEB.meta,
      name: 'cart-2',
      labels: new Map([
        ['app', 'cart'],
        ['weft.dev/inject', 'false'],
      ]),
    },
  });
  using bench = new MeshBench([...SHOP, outsider]);
  const { endpoints } = readOf(bench, proxyOf(bench, 'web'), 'endpoints', CART);
  assert.ok(Array.isArray(endpoints));
  assert.equal(endpoints.length, 1);
  const [group]: unknown[] = endpoints;
  assert.deepEqual(Reflect.get(Object(group), 'locality'), {});
  assert.deepEqual(Reflect.get(Object(group), 'load_balancing_weight'), { value: 1 });
});

test('a server is given its own listener under the address that it says, and nobody else that one', () => {
  using bench = new MeshBench([...SHOP, allowWeb]);
  const cart = readOf(bench, proxyOf(bench, 'cart'), 'listener', SERVER);
  const text = JSON.stringify(cart);
  assert.match(text, /"address":"0.0.0.0","port_value":8080/);
  assert.notEqual(text, JSON.stringify(readOf(bench, proxyOf(bench, 'web'), 'listener', SERVER)));
  const judged = judge('listener', bytesOf(bench, proxyOf(bench, 'cart'), 'listener', SERVER));
  assert.ok(judged !== undefined);
});

const withPolicy = (spec: object): readonly RegistryObject[] => [
  ...SHOP,
  authorizationOf(spec, 'p'),
];

test('a policy that changes is a change for the server that it selects', () => {
  using bench = new MeshBench(SHOP);
  const before = bytesOf(bench, proxyOf(bench, 'cart'), 'listener', SERVER);
  const changed: boolean[] = [];
  bench.views.subscribe(({ isAll, proxies }) => changed.push(isAll || proxies.has('cart-1.shop')));
  bench.change(withPolicy({ action: 'DENY', rules: [{}] }));
  bench.elapse();
  assert.deepEqual(changed, [true]);
  assert.notDeepEqual(bytesOf(bench, proxyOf(bench, 'cart'), 'listener', SERVER), before);
});

test('a Service that appears is a change of the name by which gRPC asks for it', () => {
  using bench = new MeshBench(SHOP);
  const named: string[] = [];
  bench.views.subscribe(({ names }) => named.push(...names));
  bench.change([...SHOP, serviceOf('new')]);
  bench.elapse();
  assert.ok(named.includes('new.shop.svc.cluster.local:80'), named.join(' '));
});

test('nothing is listed, no secret is given, and a proxy of the same Pod sees what proxies see', () => {
  using bench = new MeshBench(SHOP);
  const view = bench.views.viewFor(proxyOf(bench, 'cart'));
  for (const kind of ['cluster', 'endpoints', 'listener', 'route', 'secret'] as const)
    assert.deepEqual([...view.list(kind)], []);
  assert.equal(view.get('secret', 'ROOTCA'), undefined);
  const proxy = bench.views.viewFor(bench.proxy('cart-1.shop', 'cart'));
  assert.ok(proxy.get('listener', 'inbound') !== undefined);
  assert.equal(proxy.get('listener', SERVER), undefined);
});

test('grpcLibraryOf() knows the libraries by their own words, and no proxy', () => {
  const of = (userAgent: string) => grpcLibraryOf({ userAgent });
  assert.equal(of('gRPC Go/1.84.0'), 'go');
  assert.equal(of('gRPC Node Pure JS/1.14.1'), 'other');
  assert.equal(of('gRPC C-core linux 50.0.0 C-core 50.0.0/'), 'core');
  for (const agent of ['', 'envoy/1.40', 'weft/0.1.0', 'grpc']) assert.equal(of(agent), undefined);
});

test('listeningAddressOf() takes addresses with a port and nothing else', () => {
  const at = (text: string) =>
    listeningAddressOf(`grpc/server?xds.resource.listening_address=${text}`);
  assert.deepEqual(at('0.0.0.0:50051'), { address: '0.0.0.0', port: 50_051 });
  assert.deepEqual(at('[::]:50051'), { address: '::', port: 50_051 });
  for (const text of [
    '',
    ':1',
    '1.2.3.4',
    '1.2.3.4:',
    '1.2.3.4:0',
    '1.2.3.4:65536',
    '1.2.3.4:08',
    'web:80',
    '1.2.3.4:1e3',
  ])
    assert.equal(at(text), undefined, text);
  assert.equal(listeningAddressOf('inbound'), undefined);
});

test('destinationOf() is the way back of clientListenerOf()', () => {
  assert.equal(clientListenerOf(CART), 'cart.shop.svc.cluster.local:80');
  assert.equal(destinationOf('cart.shop.svc.cluster.local:80'), CART);
});
