// TLS of clients outside the mesh, in force in a real Envoy by Weft's own listener: what it says Envoy does, and what it cannot say closes.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { BLACKHOLE, buildInboundCluster } from '@weft/controlplane/resources/clusters';
import { buildInboundListener } from '@weft/controlplane/resources/inbound-listener';
import { parseTrustDomain } from '@weft/model/identity';
import { parseTlsTermination } from '@weft/model/tls/parse-tls-termination';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { encodeMessage } from '@weft/xds/registry';
import { type EncodedResource, type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { freeEndpoint, startEnvoy } from '../bench/peers/envoy.ts';
import { call, splitAddress, startHttpApp } from '../support/lab-clients.ts';
import {
  authorizationOf,
  peerAuthenticationOf,
  podOf,
  snapshotOf,
} from '../support/mesh-objects.ts';
import { curl, type Leaf, OutsideCa } from '../support/tls-clients.ts';

const found = await findEnvoy();
const skip = found.ok ? false : `no Envoy: ${found.reason}`;
const NAME = 'www.example.com';
const USAGE = 'clientAuth';

/** The listener of a workload as the control plane builds it, in an Envoy before the application. */
async function startServer(ca: OutsideCa, spec: Readonly<Record<string, unknown>>, rules?: object) {
  assert.ok(found.ok);
  await using stack = new AsyncDisposableStack();
  const app = stack.use(await startHttpApp());
  const folder = await mkdtemp(join(tmpdir(), 'weft-tls-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const [at, admin] = [await freeEndpoint(), await freeEndpoint()];
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  const parsed = parseTlsTermination({
    apiVersion: 'security.weft.dev/v1',
    kind: 'TlsTermination',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { certificates: [{ file: { certificate: leaf.certificate, key: leaf.key } }], ...spec },
  });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const mesh = compileMesh(
    snapshotOf([
      podOf('web', { ports: [{ name: 'http', port: at.port }] }),
      peerAuthenticationOf('DISABLE'),
      { kind: 'TlsTermination', policy: parsed.value },
      ...(rules === undefined ? [] : [authorizationOf(rules)]),
    ]),
    { trustDomain, rootNamespace: 'weft-system' },
  );
  const inbound = mesh.workloads.get('web-1.shop')?.inbound;
  const [port] = inbound?.ports ?? [];
  assert.ok(inbound !== undefined && port !== undefined);
  const { defaultFilterChain: _, ...built } = buildInboundListener(inbound);
  const listener = {
    ...built,
    address: { address: at.host, port: at.port },
    inspectors: ['tls' as const],
  };
  const { host, port: appPort } = splitAddress(app.address);
  const cluster = {
    ...buildInboundCluster(port),
    discovery: { kind: 'static' as const, endpoints: [{ address: host, port: appPort }] },
  };
  const write = async (kind: ResourceKind, all: readonly EncodedResource[]): Promise<object> => {
    const resources = all.map(({ bytes: value }) => ({ type_url: TYPE_URLS[kind], value }));
    const response = { version_info: '1', resources, type_url: TYPE_URLS[kind] };
    const file = join(folder, `${kind}.pb`);
    await writeFile(file, encodeMessage('envoy.service.discovery.v3.DiscoveryResponse', response));
    return { path_config_source: { path: file }, resource_api_version: 'V3' };
  };
  const clusters = [encodeResource('cluster', cluster), encodeResource('cluster', BLACKHOLE)];
  const config = JSON.stringify({
    node: { id: 'web-1.shop', cluster: 'shop' },
    admin: { address: { socket_address: { address: admin.host, port_value: admin.port } } },
    dynamic_resources: {
      lds_config: await write('listener', [encodeResource('listener', listener)]),
      cds_config: await write('cluster', clusters),
    },
  });
  stack.use(await startEnvoy({ binary: found.path, name: 'tls', folder, config, admin }));
  const owned = stack.move();
  return {
    port: at.port,
    ask: (client?: Leaf, name = NAME) => {
      const shown = client === undefined ? [] : ['--cert', client.certificate, '--key', client.key];
      const to = ['--resolve', `${name}:${at.port}:127.0.0.1`, `https://${name}:${at.port}/x`];
      return curl(['-k', ...shown, ...to]);
    },
    stats: async (filter: string): Promise<string> =>
      (await call(`${admin.host}:${admin.port}`, `/stats?filter=${filter}`)).body,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('an Envoy serves by TLS, says HSTS, redirects plaintext and refuses names that are not served', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  await using server = await startServer(ca, {
    serverNames: [NAME],
    hsts: { maxAgeSeconds: 60 },
    plaintext: { mode: 'REDIRECT', status: 308, port: 8443 },
  });
  const answer = await server.ask();
  assert.equal(answer.status, 200);
  assert.match(answer.headers, /strict-transport-security: max-age=60/i);
  assert.notEqual((await server.ask(undefined, 'evil.example.com')).exitCode, 0);
  const plain = await curl(['-H', `Host: ${NAME}`, `http://127.0.0.1:${server.port}/a?b=c`]);
  assert.equal(plain.status, 308);
  assert.match(plain.headers, /location: https:\/\/www\.example\.com:8443\/a\?b=c/i);
});

test('an Envoy takes only clients whose names fit and who are not revoked, and tells the application who they are', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const issue = (altNames: string): Leaf =>
    ca.issue({ subject: '/CN=alice', usage: USAGE, altNames });
  const good = issue('DNS:a.clients.example');
  const revoked = issue('DNS:b.clients.example');
  ca.revoke(revoked);
  await using server = await startServer(ca, {
    clientCertificates: {
      mode: 'REQUIRED',
      trust: { file: { ca: ca.certificate, crl: ca.writeCrl() } },
      constraints: { subjectAltNames: [{ type: 'DNS', value: '*.clients.example' }] },
    },
  });
  const answer = await server.ask(good);
  assert.equal(answer.status, 200);
  assert.match(answer.body, /CN=alice.*DNS=a\.clients\.example/s);
  for (const client of [undefined, revoked, issue('DNS:clients.evil')]) {
    assert.equal((await server.ask(client)).status, 0);
  }
});

test('principals are for the mesh in an Envoy too: no certificate of another authority is one (XFCC shows no URI of it)', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const trust = { file: { ca: ca.certificate } };
  const rules = { action: 'ALLOW', rules: [{ from: [{ source: { principals: ['*'] } }] }] };
  const spec = { clientCertificates: { mode: 'OPTIONAL', trust } };
  const forged = ca.issue({ usage: USAGE, altNames: 'URI:spiffe://cluster.local/ns/shop/sa/web' });
  {
    await using server = await startServer(ca, spec, rules);
    assert.equal((await server.ask(forged)).status, 403);
  }
  await using server = await startServer(ca, spec);
  const answer = await server.ask(forged);
  assert.equal(answer.status, 200);
  assert.ok(!answer.body.includes('spiffe://'), answer.body);
});

for (const [what, constraints, rules] of [
  ['an issuer', { issuers: ['CN=Outside CA'] }, undefined],
  ['a serial number', { serials: ['01'] }, undefined],
  ['a kind of key', { keys: [{ type: 'EC' }] }, undefined],
  [
    'nothing, where a rule reads the certificate',
    {},
    {
      action: 'DENY',
      rules: [{ when: [{ key: 'connection.clientCertificate[subject]', values: ['CN=x'] }] }],
    },
  ],
] as const) {
  test(`an Envoy refuses a listener that asks for ${what}, and opens nothing`, {
    skip,
  }, async () => {
    using ca = new OutsideCa();
    const trust = { file: { ca: ca.certificate } };
    const spec = { clientCertificates: { mode: 'OPTIONAL', trust, constraints } };
    await using server = await startServer(ca, spec, rules);
    const client = ca.issue({ usage: USAGE });
    assert.notEqual((await server.ask(client)).exitCode, 0);
    assert.match(await server.stats('lds.update_rejected'), /update_rejected: [1-9]/);
  });
}
