// The key of somebody's API: curl speaks plain HTTP and knows nothing of it, the host outside is told it over TLS, and nobody else is.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/lab-wait.ts';
import { openLab } from '../support/lab.ts';
import { curl, missingTools, OutsideCa, textOf } from '../support/tls-clients.ts';

const MEMORY = '/dev/shm';
const skip = missingTools() ?? (existsSync(MEMORY) ? false : `${MEMORY} is not there`);

const manifest = (apiVersion: string, kind: string, name: string, body: object): string =>
  `${JSON.stringify({ apiVersion, kind, metadata: { name, namespace: 'shop' }, ...body })}\n`;

const hostAt = (host: string, port: number, more: object = {}): string =>
  manifest('mesh.weft.dev/v1', 'ExternalService', host.replaceAll('.', '-'), {
    spec: {
      hosts: [host],
      ports: [{ number: 80, protocol: 'HTTP', targetPort: port }],
      resolution: 'STATIC',
      addresses: ['127.0.0.1'],
      ...more,
    },
  });

const BINDING = manifest('security.weft.dev/v1', 'CredentialBinding', 'web', {
  spec: {
    serviceAccounts: ['web'],
    credentials: [
      {
        name: 'pay',
        source: { from: 'local', path: 'pay' },
        ways: ['inject'],
        inject: [{ hosts: ['*.pay.example'], header: { name: 'X-Api-Key', key: 'key' } }],
      },
    ],
  },
});

/** Says which key it was told. */
const tellKey: http.RequestListener = ({ headers }, response) =>
  response.end(String(headers['x-api-key'] ?? 'none'));

async function listening(server: http.Server | https.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('an API outside is told its key over TLS alone, by the identity that is granted it alone', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  const memory = await mkdtemp(join(MEMORY, 'weft-outside-'));
  owned.defer(() => rm(memory, { recursive: true }));
  await mkdir(join(memory, 'source', 'pay'), { recursive: true });
  const put = async (key: string): Promise<void> => {
    await writeFile(join(memory, 'new'), `${key}\n`);
    await rename(join(memory, 'new'), join(memory, 'source', 'pay', 'key'));
  };
  await put('s3cret-1');
  const ca = owned.use(new OutsideCa());
  const leaf = ca.issue({ altNames: 'DNS:api.pay.example' });
  const secure = https.createServer(
    { cert: textOf(leaf.certificate), key: textOf(leaf.key) },
    tellKey,
  );
  const clear = http.createServer(tellKey);
  for (const server of [secure, clear]) {
    owned.defer(() => {
      server.closeAllConnections();
      server.close();
    });
  }
  const lab = owned.use(await openLab());
  const sources = join(lab.root, 'sources.yaml');
  const source = { name: 'local', namespaces: ['shop'], layout: 'shared' };
  const folder = { path: join(memory, 'source') };
  await writeFile(sources, JSON.stringify({ sources: [{ ...source, folder }] }));
  await lab.startControlPlane({ args: ['--credential-sources', sources] });
  await lab.write(
    'outside.yaml',
    manifest('v1', 'ConfigMap', 'outside-ca', { data: { 'ca.crt': textOf(ca.certificate) } }),
    hostAt('api.pay.example', await listening(secure), {
      tls: { ca: { configMap: { name: 'outside-ca' } } },
    }),
    hostAt('old.pay.example', await listening(clear)),
    BINDING,
  );
  const [web, cart] = await Promise.all(
    ['web-0', 'cart-0'].map((pod) => lab.startSidecar({ pod, outboundHttp: true })),
  );
  assert.ok(web && cart);
  const ask = (proxy: string, host: string, ...more: readonly string[]) =>
    curl(['-x', `http://${proxy}`, ...more, `http://${host}/`]);
  const told = (proxy: string, host: string, body: string, withinMs = 10_000) =>
    eventually(async () => (await ask(proxy, host)).body === body, {
      what: `${body} at ${host}`,
      withinMs,
    });
  await told(web.http, 'api.pay.example', 's3cret-1');
  const own = await ask(web.http, 'api.pay.example', '-H', 'X-API-Key: own');
  assert.equal(own.body, 's3cret-1');
  await told(cart.http, 'api.pay.example', 'none');
  await told(web.http, 'old.pay.example', 'credential-needs-tls\n');
  await put('s3cret-2');
  await told(web.http, 'api.pay.example', 's3cret-2', 5_000);
  await lab.remove('outside.yaml');
  const gone = await eventually(
    async () => {
      const answer = await ask(web.http, 'api.pay.example');
      return answer.status !== 200 && answer;
    },
    { what: 'the end of the host' },
  );
  assert.equal(gone.status, 502);
  for (const { stdout, stderr } of [web.daemon, cart.daemon, lab.controlPlane]) {
    assert.doesNotMatch(stdout + stderr, /s3cret/);
  }
});
