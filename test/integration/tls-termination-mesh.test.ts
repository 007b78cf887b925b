// A workload of the mesh takes TLS of clients outside it at a port where it also takes that of the mesh: each is told from the other, and only the workload gets the key.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { call, splitAddress, startHttpApp } from '../support/lab-clients.ts';
import { modeYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { startLab } from '../support/lab.ts';
import { curl, type Leaf, missingTools, OutsideCa } from '../support/tls-clients.ts';

const skip = missingTools() ?? false;
const NAME = 'www.example.com';
const SERVICE = [{ name: 'http', port: 80, targetPort: 8080 }];

const secretYaml = (name: string, leaf: Leaf, ca: OutsideCa): string =>
  stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: { name, namespace: 'shop' },
    stringData: {
      'tls.crt': readFileSync(leaf.certificate, 'utf8'),
      'tls.key': readFileSync(leaf.key, 'utf8'),
      'ca.crt': readFileSync(ca.certificate, 'utf8'),
    },
  });

const terminationYaml = (spec: Readonly<Record<string, unknown>> = {}): string =>
  stringify({
    apiVersion: 'security.weft.dev/v1',
    kind: 'TlsTermination',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      ports: [8080],
      certificates: [{ secret: 'web-tls' }],
      ...spec,
    },
  });

function outside(address: string, ca: OutsideCa, client?: Leaf) {
  const { host, port } = splitAddress(address);
  const shown = client === undefined ? [] : ['--cert', client.certificate, '--key', client.key];
  return curl([
    '--cacert',
    ca.certificate,
    ...shown,
    '--resolve',
    `${NAME}:${port}:${host}`,
    `https://${NAME}:${port}/outside`,
  ]);
}

test('the mesh and clients outside it call the same port; STRICT keeps these out, and so does a Secret that is gone', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('tls.yaml', terminationYaml({ hsts: { maxAgeSeconds: 60 } }));
  await lab.write('secret.yaml', secretYaml('web-tls', leaf, ca));
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service: SERVICE }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const front = web.front(8080);
  await eventually(async () => (await outside(front, ca)).status === 200, {
    what: 'a client outside the mesh to be served',
  });
  assert.match((await outside(front, ca)).headers, /strict-transport-security: max-age=60/i);
  await lab.enforced('web');
  const mesh = async (): Promise<string> => {
    const { status, body } = await call(client.via('web.shop:80'), '/mesh');
    return `${status} ${body.includes('sa/client')}`;
  };
  assert.equal(await mesh(), '200 true');
  await assert.rejects(call(front, '/plain'), 'plaintext is refused');
  await web.access((line) => line['reasonCode'] === 'plaintext-refused', 'the refusal');
  await lab.write('mode.yaml', modeYaml('STRICT'));
  await eventually(async () => (await outside(front, ca)).exitCode !== 0, { what: 'STRICT' });
  await lab.problem('mutual TLS of the mesh is demanded');
  assert.equal(await mesh(), '200 true');
  await lab.write('mode.yaml', modeYaml('PERMISSIVE'));
  await eventually(async () => (await outside(front, ca)).status === 200, { what: 'PERMISSIVE' });
  await lab.write(
    'secret.yaml',
    stringify({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'nothing', namespace: 'shop' },
    }),
  );
  await eventually(async () => (await outside(front, ca)).exitCode !== 0, {
    what: 'no certificate',
  });
  await web.access((line) => line['reasonCode'] === 'no-certificate', 'the refusal');
  await lab.problem('Secret web-tls is not there');
  assert.equal(await mesh(), '200 true');
});

test('a client with a certificate of an outside authority that names an identity of the mesh is nobody of it (principals, XFCC)', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  await using lab = await startLab();
  await using app = await startHttpApp();
  const trust = { secret: 'web-tls' };
  await lab.write('secret.yaml', secretYaml('web-tls', leaf, ca));
  await lab.write('tls.yaml', terminationYaml({ clientCertificates: { mode: 'OPTIONAL', trust } }));
  await lab.write(
    'policy.yaml',
    stringify({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'clients', namespace: 'shop' },
      spec: {
        action: 'ALLOW',
        rules: [
          { from: [{ source: { principals: ['*'] } }] },
          { when: [{ key: 'connection.clientCertificate[subject]', values: ['CN=alice'] }] },
        ],
      },
    }),
  );
  const web = await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address } });
  const front = web.front(8080);
  const usage = 'clientAuth';
  const alice = ca.issue({ subject: '/CN=alice', usage });
  const bob = ca.issue({ subject: '/CN=bob', usage });
  const forged = ca.issue({
    subject: '/CN=alice',
    usage,
    altNames: 'URI:spiffe://cluster.local/ns/shop/sa/client',
  });
  await eventually(async () => (await outside(front, ca, alice)).status === 200, { what: 'alice' });
  assert.match((await outside(front, ca, alice)).body, /Subject=\\?"CN=alice/);
  assert.equal((await outside(front, ca, bob)).status, 403);
  assert.equal((await outside(front, ca)).status, 403);
  assert.notEqual((await outside(front, ca, forged)).exitCode, 0);
  await web.access((line) => line['reasonCode'] === 'client-identity-unexpected', 'the refusal');
});
