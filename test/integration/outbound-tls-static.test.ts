// One sidecar without a mesh originates TLS: the application calls a local port in plain text, the host outside sees mutual TLS.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import { eventually } from '../support/lab-wait.ts';
import { startStaticRig } from '../support/static-sidecar-rig.ts';
import { curl, type Leaf, missingTools, OutsideCa, textOf } from '../support/tls-clients.ts';

const skip = missingTools() ?? false;
const HOST = 'api.pay.example';

test('curl calls a local port in plain text, the host outside sees its own name and a certificate, and a rotated one soon after', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  await using stack = new AsyncDisposableStack();
  const leaf = ca.issue({ altNames: `DNS:${HOST}` });
  const server = https.createServer(
    {
      cert: textOf(leaf.certificate),
      key: textOf(leaf.key),
      ca: textOf(ca.certificate),
      requestCert: true,
    },
    (request, response) => {
      const subject = (request.socket as TLSSocket).getPeerX509Certificate()?.subject;
      response.end(`${request.headers.host} ${subject}`);
    },
  );
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const local = await freeEndpoint();
  const client = (name: string): Leaf => ca.issue({ subject: `/CN=${name}`, usage: 'clientAuth' });
  const files = { certificate: join(ca.directory, 'now.pem'), key: join(ca.directory, 'now.key') };
  const show = (shown: Leaf): void => {
    copyFileSync(shown.certificate, files.certificate);
    copyFileSync(shown.key, files.key);
  };
  show(client('first'));
  const rig = stack.use(
    await startStaticRig({
      outbound: [
        {
          listen: `127.0.0.1:${local.port}`,
          host: HOST,
          port,
          addresses: ['127.0.0.1'],
          tls: {
            mode: 'MUTUAL',
            ca: { file: ca.certificate },
            clientCertificate: { files },
          },
        },
      ],
    }),
  );
  const ask = () => curl([`http://127.0.0.1:${local.port}/`]);
  const first = await ask();
  assert.equal(first.status, 200);
  assert.equal(first.body, `${HOST}:${port} CN=first`);
  show(client('second'));
  await eventually(async () => (await ask()).body.endsWith('CN=second') || undefined, {
    what: 'the second certificate',
    withinMs: 10_000,
  });
  const dump = await rig.configDump();
  assert.ok(!dump.includes('PRIVATE KEY') && !rig.log.join('').includes('PRIVATE KEY'));
});
