import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  allowWeb,
  decoded,
  idOf,
  MeshBench,
  pemOf,
  SHOP,
  WEB,
} from '../../../test/support/mesh-bench.ts';
import { peerAuthenticationOf, podOf } from '../../../test/support/mesh-objects.ts';

test('viewFor() gives a workload its inbound listener with the rules that select it', () => {
  using bench = new MeshBench([...SHOP, allowWeb, peerAuthenticationOf('STRICT')]);
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
  using bench = new MeshBench(SHOP);
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
  const trusted = decoded(view, 'secret', 'ROOTCA');
  assert.equal('trustedCaPem' in trusted && trusted.trustedCaPem, pemOf('one'));
});

test('viewFor() knows nothing of names that nobody has', () => {
  using bench = new MeshBench(SHOP);
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
  using bench = new MeshBench([...SHOP, allowWeb]);
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

test('changes in one burst are one revision', () => {
  using bench = new MeshBench(SHOP);
  bench.change([...SHOP, allowWeb]);
  bench.change(SHOP.slice(1));
  bench.rotate();
  assert.equal(bench.revisions, 0);
  bench.elapse();
  assert.equal(bench.revisions, 1);
  assert.equal(bench.views.revision, 2);
});

test('a view stays as it was at its revision', () => {
  using bench = new MeshBench(SHOP);
  const proxy = bench.proxy('cart-1.shop', 'cart');
  const before = bench.views.viewFor(proxy);
  const version = before.get('listener', 'inbound')?.version;
  bench.change([...SHOP, allowWeb]);
  bench.elapse();
  assert.equal(before.get('listener', 'inbound')?.version, version);
  assert.notEqual(bench.views.viewFor(proxy).get('listener', 'inbound')?.version, version);
});

test('resolve() refuses who is not the workload it names', () => {
  using bench = new MeshBench(SHOP);
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
  using bench = new MeshBench(SHOP);
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
  using bench = new MeshBench([...SHOP, allowWeb, peerAuthenticationOf('STRICT')]);
  const version = (id: string, account: string): string | undefined =>
    bench.views.viewFor(bench.proxy(id, account)).get('listener', 'inbound')?.version;
  const cart = { proxyId: 'cart-1.shop', listenerVersion: version('cart-1.shop', 'cart') };
  const web = { proxyId: 'web-1.shop', listenerVersion: version('web-1.shop', 'web') };
  const placements = bench.views.policies().map((placement) => ({
    ...placement,
    workloads: placement.workloads.map(({ proxyId, listenerVersion }) => ({
      proxyId,
      listenerVersion,
    })),
  }));
  assert.deepEqual(placements, [
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
  using bench = new MeshBench([...copies, { ...twin, meta: { ...twin.meta, name: 'c' } }]);
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
  using bench = new MeshBench([...SHOP, bad]);
  const cart = bench.views.viewFor(bench.proxy('cart-1.shop', 'cart'));
  const web = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
  assert.equal(cart.get('listener', 'inbound'), undefined);
  assert.ok(web.get('listener', 'inbound'));
  assert.deepEqual(
    bench.views
      .problems()
      .flatMap(({ code, message }) => (code === 'cannot-encode' ? [message] : [])),
    ['left out the listener inbound of shop/cart: Cannot compile policy: not-an-ip is no CIDR'],
  );
});

test('a snapshot that cannot be compiled leaves the last mesh in force, and says so until there is a better one', () => {
  using bench = new MeshBench([...SHOP, allowWeb]);
  const proxy = bench.proxy('cart-1.shop', 'cart');
  const version = bench.views.viewFor(proxy).get('listener', 'inbound')?.version;
  const cursed = {
    ...podOf('cursed'),
    get serviceAccount(): string {
      throw new Error('no such field');
    },
  };
  const isFailing = (): boolean =>
    bench.views
      .problems()
      .some(({ code, severity }) => code === 'cannot-compile' && severity === 'error');
  bench.change([...SHOP, cursed]);
  bench.elapse();
  assert.ok(isFailing());
  assert.equal(bench.revisions, 0);
  assert.equal(bench.views.viewFor(proxy).get('listener', 'inbound')?.version, version);
  bench.change(SHOP);
  bench.elapse();
  assert.ok(!isFailing());
  assert.notEqual(bench.views.viewFor(proxy).get('listener', 'inbound')?.version, version);
});

test("a view lists its own inbound resources and no other workload's (CVE-2021-34824)", () => {
  using bench = new MeshBench([
    ...SHOP,
    podOf('db', { ips: ['10.0.0.3'], ports: [{ name: 'tcp', port: 5432 }] }),
    allowWeb,
  ]);
  const inboundOf = (id: string, account: string): readonly string[] => {
    const view = bench.views.viewFor(bench.proxy(id, account));
    const clusters = [...view.list('cluster')].map(({ name }) => name);
    const [listener] = view.list('listener');
    assert.equal(listener, view.get('listener', 'inbound'));
    return clusters.filter((name) => name.startsWith('inbound|'));
  };
  assert.deepEqual(inboundOf('web-1.shop', 'web'), ['inbound|8080||']);
  assert.deepEqual(inboundOf('db-1.shop', 'db'), ['inbound|5432||']);
  assert.deepEqual(inboundOf('web-1.shop', 'web'), ['inbound|8080||']);
});
