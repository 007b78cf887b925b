import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '@weft/model/identity';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import type { ResourceKind, ResourceByKind, ResourceView } from '@weft/xds/resource';
import {
  authorizationOf,
  peerAuthenticationOf,
  podOf,
  serviceOf,
  snapshotOf,
} from '../../../test/support/mesh-objects.ts';
import type { ProxyRef } from '../serve/view-source.ts';
import { createMeshViews, type MeshViews } from './mesh-views.ts';

function trustDomain(text: string) {
  const parsed = parseTrustDomain(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

function idOf(text: string): SpiffeId {
  const parsed = parseSpiffeId(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

const pemOf = (body: string): string =>
  `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;

/** A source, a bundle and a clock that tests turn by hand. */
class Bench implements Disposable {
  readonly views: MeshViews;
  revisions = 0;
  #snapshot: Snapshot;
  #bundle = { pem: pemOf('one'), version: '1' };
  #onSource: () => void = () => undefined;
  #onBundle: () => void = () => undefined;
  #due: (() => void)[] = [];

  constructor(objects: readonly RegistryObject[]) {
    this.#snapshot = snapshotOf(objects);
    const stateOf = () => ({ snapshot: this.#snapshot, problems: [] });
    const onSource = (listener: () => void): void => void (this.#onSource = listener);
    this.views = createMeshViews({
      source: {
        get state() {
          return stateOf();
        },
        subscribe(listener) {
          onSource(listener);
          return { [Symbol.dispose]: () => undefined };
        },
      },
      trustDomain: trustDomain('cluster.local'),
      rootNamespace: 'weft-system',
      bundle: () => this.#bundle,
      onBundleChange: (listener) => {
        this.#onBundle = listener;
        return { [Symbol.dispose]: () => undefined };
      },
      clock: {
        now: () => 0,
        setTimeout: (run) => {
          this.#due.push(run);
          return { [Symbol.dispose]: () => (this.#due = this.#due.filter((one) => one !== run)) };
        },
      },
    });
    this.views.subscribe(() => this.revisions++);
  }

  change(objects: readonly RegistryObject[]): void {
    this.#snapshot = snapshotOf(objects, this.#snapshot.revision + 1);
    this.#onSource();
  }

  rotate(): void {
    this.#bundle = { pem: pemOf('two'), version: '2' };
    this.#onBundle();
  }

  elapse(): void {
    for (const run of this.#due.splice(0)) run();
  }

  proxy(id: string, serviceAccount: string): ProxyRef {
    const namespace = id.slice(id.lastIndexOf('.') + 1);
    const identity = idOf(`spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`);
    const claim = { id, cluster: '', metadata: new Map(), userAgent: '' };
    const resolved = this.views.resolve(claim, identity);
    assert.ok(resolved.ok, JSON.stringify(resolved));
    return resolved.proxy;
  }

  [Symbol.dispose](): void {
    this.views[Symbol.dispose]();
  }
}

function decoded<K extends ResourceKind>(
  view: ResourceView,
  kind: K,
  name: string,
): ResourceByKind[K] {
  const resource = view.get(kind, name);
  assert.ok(resource !== undefined, `${kind} ${name} is absent`);
  const read = decodeResource(kind, resource.bytes);
  assert.ok(read.ok, JSON.stringify(read));
  return read.value;
}

const WEB = podOf('web', { ips: ['10.0.0.1'] });
const CART = podOf('cart', { ips: ['10.0.0.2'] });
const SHOP: readonly RegistryObject[] = [
  WEB,
  CART,
  serviceOf('web'),
  serviceOf('cart', { clusterIps: ['10.96.0.2'] }),
];
const allowWeb = authorizationOf(
  {
    selector: { matchLabels: { app: 'cart' } },
    action: 'ALLOW',
    rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] }],
  },
  'allow-web',
);

test('viewFor() gives a workload its inbound listener with the rules that select it', () => {
  using bench = new Bench([...SHOP, allowWeb, peerAuthenticationOf('STRICT')]);
  const cart = decoded(
    bench.views.viewFor(bench.proxy('cart-1.shop', 'cart')),
    'listener',
    'inbound',
  );
  const [chain, ...more] = cart.filterChains;
  assert.equal(more.length, 0);
  assert.equal(chain?.name, '8080-mesh-http');
  assert.deepEqual(chain?.tls?.peerUris, [
    { kind: 'prefix', value: 'spiffe://cluster.local/', ignoreCase: false },
  ]);
  const [filter] = chain?.filters ?? [];
  assert.ok(filter?.kind === 'http');
  assert.deepEqual(
    filter.http.filters.map((one) => (one.kind === 'rbac' ? one.rules.action : one.kind)),
    ['ALLOW', 'router'],
  );
  assert.equal(filter.http.forwardClientCert, 'sanitizeSet');
  const web = decoded(bench.views.viewFor(bench.proxy('web-1.shop', 'web')), 'listener', 'inbound');
  const [webFilter] = web.filterChains[0]?.filters ?? [];
  assert.ok(webFilter?.kind === 'http');
  assert.deepEqual(
    webFilter.http.filters.map(({ kind }) => kind),
    ['router'],
  );
});

test('viewFor() gives a destination by name and by address', () => {
  using bench = new Bench(SHOP);
  const view = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
  const name = 'outbound|80||cart.shop.svc.cluster.local';
  assert.equal(decoded(view, 'listener', name).name, name);
  assert.deepEqual(decoded(view, 'listener', '10.96.0.2_80').address, {
    address: '10.96.0.2',
    port: 80,
  });
  const cluster = decoded(view, 'cluster', name);
  assert.equal(cluster.meshTls?.sni, 'outbound_.80_._.cart.shop.svc.cluster.local');
  assert.deepEqual(cluster.meshTls?.peerUris, ['spiffe://cluster.local/ns/shop/sa/cart']);
  assert.deepEqual(decoded(view, 'endpoints', name).endpoints, [
    {
      address: '10.0.0.2',
      port: 8080,
      health: 'healthy',
      weight: 1,
      tlsMode: 'mesh',
      identity: 'spiffe://cluster.local/ns/shop/sa/cart',
      workload: 'cart-1',
      namespace: 'shop',
    },
  ]);
  assert.deepEqual(decoded(view, 'route', name).virtualHosts[0]?.domains.slice(-3), [
    '10.96.0.2',
    '10.96.0.2:80',
    '*',
  ]);
  assert.equal(decoded(view, 'listener', '10.0.0.2_8080').address.port, 8080);
  assert.deepEqual(decoded(view, 'cluster', 'endpoint|8080||10.0.0.2').meshTls?.peerUris, [
    'spiffe://cluster.local/ns/shop/sa/cart',
  ]);
  assert.equal(decoded(view, 'secret', 'ROOTCA').trustedCaPem, pemOf('one'));
});

test('viewFor() knows nothing of names that nobody has', () => {
  using bench = new Bench(SHOP);
  const view = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
  for (const [kind, name] of [
    ['listener', '10.9.9.9_80'],
    ['listener', '10.0.0.2_9999'],
    ['listener', ''],
    ['listener', '_'],
    ['cluster', 'endpoint|08080||10.0.0.2'],
    ['cluster', 'inbound|9999||'],
    ['cluster', '__proto__'],
    ['secret', 'default'],
  ] as const) {
    assert.equal(view.get(kind, name), undefined, `${kind} ${name}`);
  }
});

test('every listed resource can be decoded, and is the one that its name gives', () => {
  using bench = new Bench([...SHOP, allowWeb]);
  const view = bench.views.viewFor(bench.proxy('cart-1.shop', 'cart'));
  for (const kind of ['cluster', 'endpoints', 'listener', 'route', 'secret'] as const) {
    const listed = [...view.list(kind)];
    assert.ok(listed.length > 0, kind);
    for (const resource of listed) {
      decoded(view, kind, resource.name);
      assert.equal(view.get(kind, resource.name), resource);
    }
  }
});

/** Everything that two proxies would have asked for. */
function fetchAll(bench: Bench): void {
  for (const [id, account] of [
    ['web-1.shop', 'web'],
    ['cart-1.shop', 'cart'],
  ] as const) {
    const view = bench.views.viewFor(bench.proxy(id, account));
    for (const kind of ['cluster', 'endpoints', 'listener', 'route', 'secret'] as const)
      for (const { name } of view.list(kind)) view.get(kind, name);
  }
}

/** How many resources a change encodes anew. */
function encodesOf(bench: Bench, change: () => void): number {
  fetchAll(bench);
  const before = bench.views.encodes;
  change();
  bench.elapse();
  fetchAll(bench);
  return bench.views.encodes - before;
}

const changes: readonly {
  readonly name: string;
  readonly encodes: number;
  readonly objects: readonly RegistryObject[];
}[] = [
  {
    name: 'a policy: the inbound listener that it selects',
    encodes: 1,
    objects: [...SHOP, allowWeb],
  },
  {
    name: 'an endpoint that drains: its load assignment',
    encodes: 1,
    objects: [WEB, podOf('cart', { ips: ['10.0.0.2'], isDeleting: true }), ...SHOP.slice(2)],
  },
  {
    name: 'equal objects read again: nothing',
    encodes: 0,
    objects: SHOP.map((one) => structuredClone(one)),
  },
  {
    name: 'a Pod that nobody asks about: nothing',
    encodes: 0,
    objects: [...SHOP, podOf('lone', { ips: ['10.0.0.9'] })],
  },
  {
    name: 'a Service: cluster, endpoints, route and listener by address',
    encodes: 4,
    objects: [...SHOP, serviceOf('other', { clusterIps: ['10.96.0.9'] })],
  },
];
for (const { name, encodes, objects } of changes) {
  test(`a change re-encodes only what it changes: ${name}`, () => {
    using bench = new Bench(SHOP);
    assert.equal(
      encodesOf(bench, () => bench.change(objects)),
      encodes,
    );
  });
}

test('a new bundle re-encodes the secret alone, and is a new revision', () => {
  using bench = new Bench(SHOP);
  assert.equal(
    encodesOf(bench, () => bench.rotate()),
    1,
  );
  assert.equal(bench.views.revision, 2);
  const view = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
  assert.equal(decoded(view, 'secret', 'ROOTCA').trustedCaPem, pemOf('two'));
});

test('changes in one burst are one revision', () => {
  using bench = new Bench(SHOP);
  bench.change([...SHOP, allowWeb]);
  bench.change(SHOP.slice(1));
  bench.rotate();
  assert.equal(bench.revisions, 0);
  bench.elapse();
  assert.equal(bench.revisions, 1);
  assert.equal(bench.views.revision, 2);
});

test('a view stays as it was at its revision', () => {
  using bench = new Bench(SHOP);
  const proxy = bench.proxy('cart-1.shop', 'cart');
  const before = bench.views.viewFor(proxy);
  const version = before.get('listener', 'inbound')?.version;
  bench.change([...SHOP, allowWeb]);
  bench.elapse();
  assert.equal(before.get('listener', 'inbound')?.version, version);
  assert.notEqual(bench.views.viewFor(proxy).get('listener', 'inbound')?.version, version);
});

test('resolve() refuses who is not the workload it names', () => {
  using bench = new Bench(SHOP);
  const refusals = [
    ['web-1.shop', 'spiffe://cluster.local/ns/shop/sa/cart', 'identity-mismatch'],
    ['web-1.shop', 'spiffe://other.domain/ns/shop/sa/web', 'identity-mismatch'],
    ['web-2.shop', 'spiffe://cluster.local/ns/shop/sa/web', 'unknown-workload'],
    ['web-1.other', 'spiffe://cluster.local/ns/shop/sa/web', 'unknown-workload'],
    ['web-1', 'spiffe://cluster.local/ns/shop/sa/web', 'bad-claim'],
    ['.shop', 'spiffe://cluster.local/ns/shop/sa/web', 'bad-claim'],
    ['web-1.', 'spiffe://cluster.local/ns/shop/sa/web', 'bad-claim'],
  ] as const;
  for (const [id, identity, code] of refusals) {
    const claim = { id, cluster: '', metadata: new Map<string, string>(), userAgent: '' };
    const resolved = bench.views.resolve(claim, idOf(identity));
    assert.equal(resolved.ok ? 'ok' : resolved.code, code, `${id} as ${identity}`);
  }
});

test('viewFor() gives nothing inbound to an identity that the workload no longer has (CVE-2021-34824)', () => {
  using bench = new Bench(SHOP);
  const proxy = bench.proxy('cart-1.shop', 'cart');
  assert.ok(bench.views.viewFor(proxy).get('listener', 'inbound'));
  bench.change([
    WEB,
    podOf('cart', { ips: ['10.0.0.2'], serviceAccount: 'other' }),
    ...SHOP.slice(2),
  ]);
  bench.elapse();
  const asOther = bench.proxy('cart-1.shop', 'other');
  assert.ok(bench.views.viewFor(asOther).get('listener', 'inbound'));
  assert.equal(bench.views.viewFor(proxy).get('listener', 'inbound'), undefined);
  assert.equal(bench.views.viewFor(proxy).get('cluster', 'inbound|8080||'), undefined);
});

test('policies() names the proxies that a policy selects, and the version that carries it there', () => {
  using bench = new Bench([...SHOP, allowWeb, peerAuthenticationOf('STRICT')]);
  const version = (id: string, account: string): string | undefined =>
    bench.views.viewFor(bench.proxy(id, account)).get('listener', 'inbound')?.version;
  const cart = { proxyId: 'cart-1.shop', listenerVersion: version('cart-1.shop', 'cart') };
  const web = { proxyId: 'web-1.shop', listenerVersion: version('web-1.shop', 'web') };
  assert.deepEqual(bench.views.policies(), [
    {
      kind: 'AuthorizationPolicy',
      namespace: 'shop',
      name: 'allow-web',
      action: 'ALLOW',
      workloads: [cart],
    },
    { kind: 'PeerAuthentication', namespace: 'shop', name: 'default', workloads: [cart, web] },
  ]);
});

test('workloads that let in the same share one encoded listener; two identities never do (CVE-2021-34824)', () => {
  const copies = ['a', 'b'].map((name, index) => ({
    ...podOf('web', { ips: [`10.0.1.${index}`] }),
    meta: { ...podOf('web').meta, name },
  }));
  const twin = podOf('web', { ips: ['10.0.1.9'], serviceAccount: 'twin' });
  using bench = new Bench([...copies, { ...twin, meta: { ...twin.meta, name: 'c' } }]);
  const inbound = (id: string, account: string) =>
    bench.views.viewFor(bench.proxy(id, account)).get('listener', 'inbound');
  assert.equal(inbound('a.shop', 'web'), inbound('b.shop', 'web'));
  assert.notEqual(inbound('a.shop', 'web'), inbound('c.shop', 'twin'));
});

test('a policy that has no meaning on the wire leaves out the listeners that need it, and says so', () => {
  const broken = structuredClone(allowWeb);
  const source = [[{ field: 'ipBlocks' as const, values: ['not-an-ip'], notValues: [] }]];
  const bad = {
    ...broken,
    policy: { ...broken.policy, rules: [{ from: source, to: undefined, when: [] }] },
  };
  using bench = new Bench([...SHOP, bad]);
  const cart = bench.views.viewFor(bench.proxy('cart-1.shop', 'cart'));
  const web = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
  assert.equal(cart.get('listener', 'inbound'), undefined);
  assert.ok(web.get('listener', 'inbound'));
  assert.deepEqual(
    bench.views.problems().flatMap(({ code }) => (code === 'cannot-encode' ? [code] : [])),
    ['cannot-encode'],
  );
});
