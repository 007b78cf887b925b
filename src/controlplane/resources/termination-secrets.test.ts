// Keys of ports that take TLS from outside the mesh: sent to the workload whose ports they are, and to nobody else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DataObject, RegistryObject } from '@weft/model/mesh/objects';
import { SecretText } from '@weft/model/secret-text';
import { parseTlsTermination } from '@weft/model/tls/parse-tls-termination';
import { MeshBench, pemOf } from '../../../test/support/mesh-bench.ts';
import { metaOf, podOf } from '../../../test/support/mesh-objects.ts';

function termination(spec: object = {}, namespace = 'shop', name = 'web'): RegistryObject {
  const parsed = parseTlsTermination({
    apiVersion: 'security.weft.dev/v1',
    kind: 'TlsTermination',
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      ports: [8080],
      certificates: [{ secret: 'web-tls' }],
      ...spec,
    },
  });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return { kind: 'TlsTermination', policy: parsed.value };
}

const secretOf = (values: Readonly<Record<string, string>>, namespace = 'shop'): DataObject => ({
  kind: 'Data',
  of: 'Secret',
  meta: metaOf('web-tls', namespace),
  values: new Map(Object.entries(values).map(([key, text]) => [key, new SecretText(text)])),
});

const KEY = '-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n';
const PAIR = { 'tls.crt': pemOf('web'), 'tls.key': KEY };
const CRL = '-----BEGIN X509 CRL-----\nx\n-----END X509 CRL-----\n';
const PODS = [
  podOf('web', { ips: ['10.0.0.1'] }),
  podOf('cart', { ips: ['10.0.0.2'] }),
  podOf('web', { ips: ['10.0.0.3'], namespace: 'pay' }),
];

test('a key goes to the workload that its TlsTermination selects, and to no other (CVE-2021-34824)', () => {
  using bench = new MeshBench([...PODS, termination(), secretOf(PAIR), secretOf(PAIR, 'pay')]);
  const { views } = bench;
  const web = views.viewFor(bench.proxy('web-1.shop', 'web'));
  assert.ok(web.get('secret', 'tls/shop/web-tls'));
  assert.equal(web.get('secret', 'tls/pay/web-tls'), undefined, 'of another namespace');
  assert.deepEqual(
    [...web.list('secret')].map(({ name }) => name),
    ['tls/shop/web-tls', 'ROOTCA'],
  );
  for (const [id, account] of [
    ['cart-1.shop', 'cart'],
    ['web-1.pay', 'web'],
  ] as const) {
    const other = views.viewFor(bench.proxy(id, account));
    assert.equal(other.get('secret', 'tls/shop/web-tls'), undefined, id);
    assert.deepEqual(
      [...other.list('secret')].map(({ name }) => name),
      ['ROOTCA'],
    );
  }
});

test('a key that changes, or goes, is news to whoever asked for it', () => {
  using bench = new MeshBench([...PODS, termination(), secretOf(PAIR)]);
  const told: ReadonlySet<string>[] = [];
  bench.views.subscribe(({ names }) => told.push(names));
  const version = (): string | undefined =>
    bench.views.viewFor(bench.proxy('web-1.shop', 'web')).get('secret', 'tls/shop/web-tls')
      ?.version;
  const first = version();
  bench.change([...PODS, termination(), secretOf({ ...PAIR, 'tls.crt': pemOf('other') })]);
  bench.elapse();
  assert.ok(told.at(-1)?.has('tls/shop/web-tls'));
  assert.ok(version() !== undefined && version() !== first);
  bench.change([...PODS, termination()]);
  bench.elapse();
  assert.ok(told.at(-1)?.has('tls/shop/web-tls'));
  assert.equal(version(), undefined);
});

test('authorities without a list of revoked certificates are withheld where one is required', () => {
  const clients = (required: boolean) =>
    termination({
      clientCertificates: { mode: 'REQUIRED', trust: { secret: 'web-tls' }, crl: { required } },
    });
  const found = (
    isRequired: boolean,
    values: Readonly<Record<string, string>>,
  ): readonly string[] => {
    using bench = new MeshBench([...PODS, clients(isRequired), secretOf(values)]);
    const view = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
    return [...view.list('secret')].map(({ name }) => name).filter((name) => name !== 'ROOTCA');
  };
  const all = { ...PAIR, 'ca.crt': pemOf('ca') };
  assert.deepEqual(found(false, all), ['tls/shop/web-tls', 'clients/shop/web-tls']);
  assert.deepEqual(found(true, all), ['tls/shop/web-tls']);
  assert.deepEqual(found(true, { ...all, 'ca.crl': CRL }), [
    'tls/shop/web-tls',
    'checked-clients/shop/web-tls',
  ]);
});

test('what keeps a TlsTermination from holding is told: no Secret, two for a port, the mesh’s own identities', () => {
  const codes = (objects: readonly RegistryObject[]): readonly string[] => {
    using bench = new MeshBench(objects);
    return bench.views.problems().map(({ code }) => code);
  };
  assert.deepEqual(codes([...PODS, termination(), secretOf(PAIR)]), []);
  assert.deepEqual(codes([...PODS, termination()]), ['missing-secret']);
  const two = [...PODS, termination(), termination({}, 'shop', 'too'), secretOf(PAIR)];
  assert.deepEqual(codes(two), ['several-terminations', 'several-terminations']);
  const subjectAltNames = [{ type: 'URI', value: 'spiffe://cluster.local/ns/*' }];
  const own = termination({
    clientCertificates: {
      mode: 'REQUIRED',
      trust: { secret: 'web-tls' },
      constraints: { subjectAltNames },
    },
  });
  const all = secretOf({ ...PAIR, 'ca.crt': pemOf('ca') });
  assert.deepEqual(codes([...PODS, own, all]), ['identity-of-mesh']);
});

test('no key shows in what is told of a mesh or kept in a snapshot', () => {
  using bench = new MeshBench([...PODS, termination(), secretOf(PAIR)]);
  const { snapshot, secrets, workloads } = {
    snapshot: bench.views.snapshot(),
    ...bench.views.mesh(),
  };
  const shown = JSON.stringify([
    [...snapshot.objects],
    [...(secrets ?? [])].map(([place, { values }]) => [place, [...values]]),
    [...workloads],
    bench.views.problems(),
  ]);
  assert.ok(!shown.includes('PRIVATE KEY'));
});
