// Who is told of which host outside the mesh, whose word stands first, and what a caller that may not is given instead.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExternalService } from '@weft/model/egress/external-service';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { SecretText } from '@weft/model/secret-text';
import type { ResourceKind, ResourceView } from '@weft/xds/resource';
import { meshConfigOf, podOf } from '../../../../test/support/mesh-objects.ts';
import { decoded, MeshBench, pemOf } from '../../../../test/support/mesh-bench.ts';

const service = (more: Partial<ExternalService> = {}): RegistryObject => ({
  kind: 'ExternalService',
  service: {
    namespace: 'shop',
    name: 'pay',
    createdAtMs: 0,
    hosts: ['api.pay.example'],
    ports: [{ port: 80, protocol: 'http1', targetPort: 443 }],
    resolution: { kind: 'dns', minTtlSeconds: 5, maxTtlSeconds: 300 },
    allowedNetworks: [],
    tls: undefined,
    exportTo: undefined,
    allowedCallers: undefined,
    isClosed: false,
    ...more,
  },
});
const closed = meshConfigOf({
  outboundTrafficPolicyByNamespace: new Map([['shop', 'REGISTRY_ONLY']]),
});
const NAME = 'outbound|80||api.pay.example';
const web = podOf('web');
const cart = podOf('cart', { ips: ['10.0.0.8'] });

function viewsOf(...objects: readonly RegistryObject[]) {
  const bench = new MeshBench([web, cart, ...objects]);
  const view = (pod: 'web' | 'cart'): ResourceView =>
    bench.views.viewFor(bench.proxy(`${pod}-1.shop`, pod));
  return { bench, view };
}

const has = (view: ResourceView, kind: ResourceKind, name: string): boolean =>
  view.get(kind, name) !== undefined;
const only = (serviceAccount: string) => ({
  principals: [`cluster.local/ns/shop/sa/${serviceAccount}`],
  namespaces: [],
});
/** Where the one outbound port sends requests for the host. */
function leadsTo(view: ResourceView, host: string): string | undefined {
  const route = decoded(view, 'route', 'egress|80');
  return route.virtualHosts.find(({ domains }) => domains.includes(host))?.routes[0]?.cluster;
}

test('a host outside is told to callers of its namespace, by name and at the one outbound port', () => {
  const { bench, view } = viewsOf(service());
  using _ = bench;
  const cluster = decoded(view('web'), 'cluster', NAME);
  assert.deepEqual(cluster.discovery, {
    kind: 'dns',
    host: 'api.pay.example',
    port: 443,
    minTtlMs: 5_000,
    maxTtlMs: 300_000,
    allowedNetworks: [],
  });
  assert.equal(decoded(view('web'), 'listener', NAME).name, NAME);
  assert.equal(leadsTo(view('web'), 'api.pay.example:80'), NAME);
  assert.equal(leadsTo(view('web'), '*'), 'passthrough');
  const [chain] = decoded(view('web'), 'listener', 'virtualOutbound').filterChains;
  assert.equal(chain?.match.destinationPort, 80);
});

test('allowedCallers: one who is not among them is told of no cluster, no listener and no secret, and is led nowhere', () => {
  const tls = {
    ca: { kind: 'configMap', name: 'roots', key: 'ca.crt' },
    sni: undefined,
    subjectAltNames: undefined,
    client: { kind: 'secret', name: 'client' },
    minVersion: 'TLSv1.2',
  } as const;
  const data = (of: 'Secret' | 'ConfigMap', name: string, values: Record<string, string>) => ({
    kind: 'Data' as const,
    of,
    meta: { namespace: 'shop', name, labels: new Map(), annotations: new Map() },
    values: new Map(Object.entries(values).map(([key, text]) => [key, new SecretText(text)])),
  });
  const { bench, view } = viewsOf(
    service({ tls, allowedCallers: only('web') }),
    data('ConfigMap', 'roots', { 'ca.crt': pemOf('roots') }),
    data('Secret', 'client', { 'tls.crt': pemOf('leaf'), 'tls.key': 'PRIVATE KEY-----' }),
  );
  using _ = bench;
  const secrets = ['egress/ConfigMap/shop/roots/ca.crt', 'egress/Secret/shop/client'];
  for (const name of secrets) {
    assert.equal(has(view('web'), 'secret', name), true);
    assert.equal(has(view('cart'), 'secret', name), false, 'CVE-2021-34824: it is nobody else’s');
  }
  const { originatedTls } = decoded(view('web'), 'cluster', NAME);
  assert.deepEqual(originatedTls?.names, [{ kind: 'dns', value: 'api.pay.example' }]);
  assert.deepEqual(originatedTls.certificate, { kind: 'secret', name: secrets[1] });
  for (const kind of ['cluster', 'route'] as const) {
    assert.equal(has(view('web'), kind, NAME), true);
    assert.equal(has(view('cart'), kind, NAME), false);
  }
  assert.ok(
    !JSON.stringify(decoded(view('cart'), 'listener', NAME)).includes('"cluster":"outbound'),
  );
  assert.equal(leadsTo(view('cart'), 'api.pay.example'), 'forbidden');
  assert.equal(has(view('web'), 'secret', 'egress/Secret/shop/other'), false);
});

test('REGISTRY_ONLY of a namespace closes what is not known for its callers alone', () => {
  const { bench, view } = viewsOf(closed, podOf('x', { namespace: 'free', ips: ['10.0.0.9'] }));
  using _ = bench;
  const rest = (one: ResourceView): string | undefined =>
    decoded(one, 'listener', 'virtualOutbound').defaultFilterChain?.name;
  assert.equal(rest(view('web')), 'blackhole');
  assert.equal(rest(bench.views.viewFor(bench.proxy('x-1.free', 'x'))), 'passthrough');
});

test('a namespace cannot put a host in the place of a Service, nor one of its own before others’ callers (ISTIO-SECURITY-2026-002)', () => {
  const { bench, view } = viewsOf(
    service({ namespace: 'evil', exportTo: ['*'] }),
    service({ hosts: ['web.shop.svc.cluster.local'], name: 'hijack' }),
  );
  using _ = bench;
  assert.equal(has(view('web'), 'cluster', NAME), false);
  assert.equal(has(view('web'), 'cluster', 'outbound|80||web.shop.svc.cluster.local'), false);
  const codes = bench.views.problems().map(({ code }) => code);
  assert.ok(codes.includes('export-not-allowed'));
  assert.ok(codes.includes('host-of-the-mesh'));
});

test('what the root namespace says of a host nobody widens, not even of one name under its star', () => {
  const root = { namespace: 'weft-system', allowedCallers: only('cart') } as const;
  const tls = { ports: [{ port: 443, protocol: 'tls', targetPort: 443 }] } as const;
  const { bench, view } = viewsOf(
    service({ ...root, name: 'root', createdAtMs: 9 }),
    service({ ...root, ...tls, name: 'star', hosts: ['*.pay.example'] }),
    service(),
    service({ ...tls, name: 'one', hosts: ['a.pay.example'] }),
  );
  using _ = bench;
  assert.equal(has(view('web'), 'cluster', NAME), false);
  assert.equal(has(view('cart'), 'cluster', NAME), true);
  assert.equal(has(view('web'), 'cluster', 'outbound|443||a.pay.example'), false);
});

test('a certificate that is not there, or half of one, is told of', () => {
  const tls = {
    ca: undefined,
    sni: undefined,
    subjectAltNames: undefined,
    client: { kind: 'secret', name: 'client' },
    minVersion: 'TLSv1.2',
  } as const;
  const { bench } = viewsOf(service({ tls }));
  using _ = bench;
  const found = (): readonly string[] =>
    bench.views
      .problems()
      .filter(({ code }) => code === 'missing-data')
      .map(({ message }) => message);
  assert.match(found()[0] ?? '', /Secret client is not there/);
  const half: RegistryObject = {
    kind: 'Data',
    of: 'Secret',
    meta: { namespace: 'shop', name: 'client', labels: new Map(), annotations: new Map() },
    values: new Map([['tls.crt', new SecretText(pemOf('leaf'))]]),
  };
  bench.change([web, cart, service({ tls }), half]);
  bench.elapse();
  assert.match(found()[0] ?? '', /has no tls.key/);
});

test('one that is closed lets nobody call its hosts', () => {
  const { bench, view } = viewsOf(service({ isClosed: true }));
  using _ = bench;
  assert.equal(leadsTo(view('web'), 'api.pay.example'), 'forbidden');
});

test('callers that may call the same share what is made for them', () => {
  const { bench, view } = viewsOf(service());
  using _ = bench;
  const before = bench.views.encodes;
  view('web').get('listener', 'virtualOutbound');
  view('cart').get('listener', 'virtualOutbound');
  assert.equal(bench.views.encodes, before + 1);
});

test('a service that comes, changes or goes names what it concerns', () => {
  const { bench, view } = viewsOf();
  using _ = bench;
  const changes: string[][] = [];
  bench.views.subscribe(({ names }) => changes.push([...names]));
  bench.change([web, cart, service()]);
  bench.elapse();
  assert.equal(has(view('web'), 'cluster', NAME), true);
  bench.change([web, cart]);
  bench.elapse();
  assert.equal(has(view('web'), 'cluster', NAME), false);
  for (const names of changes) {
    for (const name of ['virtualOutbound', 'egress|80', NAME])
      assert.ok(names.includes(name), name);
  }
});
