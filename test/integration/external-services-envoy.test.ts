// A real Envoy that takes the control plane's stream calls hosts outside as Weft's sidecar does: TLS, names, certificates, and who may.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { issueIdentities } from '../bench/identities.ts';
import { startConfiguredEnvoy } from '../bench/peers/configured-envoy.ts';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import type { MeshEnvoy } from '../support/envoy.ts';
import { call } from '../support/lab-clients.ts';
import { NAMESPACE, podYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { openLab } from '../support/lab.ts';
import { missingTools, OutsideCa, textOf } from '../support/tls-clients.ts';

const envoy = await findEnvoy();
const skip = missingTools() ?? (envoy.ok ? false : envoy.reason);
const HOST = 'api.pay.example';
const WRONG = 'wrong.pay.example';

const typed = (name: string, fields: object): object => ({
  '@type': `type.googleapis.com/envoy.extensions.filters.${name}`,
  ...fields,
});
/** Its routes, and so its clusters, secrets and TLS, are the control plane's. */
const frontOf = ({ host, port }: { readonly host: string; readonly port: number }): object => ({
  name: 'front',
  address: { socket_address: { address: host, port_value: port } },
  filter_chains: [
    {
      filters: [
        {
          name: 'http',
          typed_config: typed('network.http_connection_manager.v3.HttpConnectionManager', {
            stat_prefix: 'front',
            rds: {
              route_config_name: 'egress|80',
              config_source: { ads: {}, resource_api_version: 'V3' },
            },
            http_filters: [{ name: 'router', typed_config: typed('http.router.v3.Router', {}) }],
          }),
        },
      ],
    },
  ],
});
const documentOf = (apiVersion: string, kind: string, name: string, body: object): string =>
  `${JSON.stringify({ apiVersion, kind, metadata: { name, namespace: NAMESPACE }, ...body })}\n`;

test('an Envoy shows the client certificate, expects the name, refuses others, and is told nothing that is not for it', {
  skip,
}, async () => {
  assert.ok(envoy.ok);
  using ca = new OutsideCa();
  await using stack = new AsyncDisposableStack();
  const serve = async (altNames: string): Promise<number> => {
    const leaf = ca.issue({ altNames });
    const pair = { cert: textOf(leaf.certificate), key: textOf(leaf.key) };
    const server = https.createServer(
      { ...pair, ca: textOf(ca.certificate), requestCert: true, rejectUnauthorized: true },
      (request, response) =>
        response.end((request.socket as TLSSocket).getPeerX509Certificate()?.subject),
    );
    stack.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const client = ca.issue({ subject: '/CN=the client', usage: 'clientAuth' });
  const lab = stack.use(await openLab());
  const accounts = ['web', 'cart'];
  const identities = await issueIdentities({ stateDir: lab.state, namespace: NAMESPACE, accounts });
  const service = (host: string, port: number): string =>
    documentOf('mesh.weft.dev/v1', 'ExternalService', host, {
      spec: {
        hosts: [host],
        ports: [
          { number: 80, protocol: 'HTTP', targetPort: port },
          { number: 443, protocol: 'TLS' },
        ],
        resolution: 'STATIC',
        addresses: ['127.0.0.1'],
        tls: {
          mode: 'MUTUAL',
          ca: { configMap: { name: 'outside-ca' } },
          clientCertificate: { secret: { name: 'client' } },
        },
        allowedCallers: { principals: ['cluster.local/ns/shop/sa/web'] },
      },
    });
  await lab.write(
    'all.yaml',
    ...accounts.map((name, at) =>
      podYaml({ name: `${name}-0`, ip: `127.88.7.${at + 1}`, ports: [] }),
    ),
    documentOf('v1', 'ConfigMap', 'outside-ca', { data: { 'ca.crt': textOf(ca.certificate) } }),
    documentOf('v1', 'Secret', 'client', {
      stringData: { 'tls.crt': textOf(client.certificate), 'tls.key': textOf(client.key) },
    }),
    service(HOST, await serve(`DNS:${HOST}`)),
    service(WRONG, await serve('DNS:evil.example')),
    documentOf('mesh.weft.dev/v1', 'ExternalService', 'named', {
      spec: { hosts: ['localhost.example'], ports: [{ number: 80, protocol: 'HTTP' }] },
    }),
  );
  await lab.startControlPlane();
  const start = async (account: string): Promise<readonly [MeshEnvoy, string]> => {
    const front = await freeEndpoint();
    const half = { lab, identities, binary: envoy.path, withinMs: 60_000 };
    const listener = frontOf(front);
    const started = await startConfiguredEnvoy({ ...half, pod: `${account}-0`, account, listener });
    return [stack.use(started), `127.0.0.1:${front.port}`];
  };
  const [web, address] = await start('web');
  /** Listening begins a moment after it is said. */
  const ask = (at: string, host: string) =>
    eventually(
      async () => {
        try {
          return await call(at, '/', { headers: { host } });
        } catch {
          return undefined;
        }
      },
      { what: `an answer of ${at}`, withinMs: 20_000 },
    );
  const answer = await eventually(
    async () => {
      const got = await ask(address, HOST);
      return got.status === 200 ? got : undefined;
    },
    { what: 'an answer through Envoy', withinMs: 20_000, told: () => web.log.slice(-2_000) },
  );
  assert.equal(answer.body, 'CN=the client');
  const wrong = await ask(address, WRONG);
  assert.equal(wrong.status, 503);
  const failures = [...(await web.stats('fail_verify_san'))].filter(([, count]) => count > 0);
  assert.ok(
    failures.some(([name]) => name.includes(WRONG)),
    'another name is the reason',
  );
  const [cart, other] = await start('cart');
  assert.equal((await ask(other, HOST)).status, 503);
  assert.ok(!JSON.stringify(await cart.configDump()).includes('egress/Secret/shop/client'));
  for (const one of [web, cart]) {
    const rejected = await one.stats('update_rejected');
    assert.deepEqual(
      [...rejected].filter(([, count]) => count > 0),
      [],
      one.log.slice(-2_000),
    );
    assert.ok(!JSON.stringify(await one.configDump()).includes('error_state'));
  }
});
