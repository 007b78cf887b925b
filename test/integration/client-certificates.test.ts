// Which certificates of clients outside the mesh are taken, each refusal with its reason, and who those that are taken are held for.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { eventually } from '../support/lab-wait.ts';
import { startStaticRig, type StaticRig } from '../support/static-sidecar-rig.ts';
import { assertRefused, call, fileOf, headersOf, NAME } from '../support/tls-calls.ts';
import { type Leaf, missingTools, OutsideCa } from '../support/tls-clients.ts';

const skip = missingTools() ?? false;

const CLIENT = { usage: 'clientAuth' } as const;

interface Refusal {
  readonly what: string;
  readonly reason: string;
  readonly constraints?: Readonly<Record<string, unknown>>;
  readonly issue: (ca: OutsideCa) => Leaf;
}

const REFUSALS: readonly Refusal[] = [
  {
    what: 'an expired certificate',
    reason: 'client-certificate-expired',
    issue: (ca) => ca.issue({ ...CLIENT, days: -1 }),
  },
  {
    what: 'a certificate that is not valid yet',
    reason: 'client-certificate-not-yet-valid',
    issue: (ca) => ca.issue({ ...CLIENT, days: 15 }),
  },
  {
    what: 'a certificate for servers',
    reason: 'client-certificate-eku',
    issue: (ca) => ca.issue({ usage: 'serverAuth' }),
  },
  {
    what: 'a certificate for no purpose at all',
    reason: 'client-certificate-eku',
    issue: (ca) => ca.issue(),
  },
  {
    what: 'a certificate without a further purpose',
    reason: 'client-certificate-eku',
    constraints: { extendedKeyUsages: ['smartcardLogon'] },
    issue: (ca) => ca.issue(CLIENT),
  },
  {
    what: 'another issuer',
    reason: 'client-certificate-issuer',
    constraints: { issuers: ['CN=Another CA'] },
    issue: (ca) => ca.issue(CLIENT),
  },
  {
    what: 'another subject',
    reason: 'client-certificate-subject',
    constraints: { subjects: ['CN=*,O=Example'] },
    issue: (ca) => ca.issue({ ...CLIENT, subject: '/O=Evil/CN=a' }),
  },
  {
    what: 'a subject with more in it',
    reason: 'client-certificate-subject',
    constraints: { subjects: ['CN=a,O=Example'] },
    issue: (ca) => ca.issue({ ...CLIENT, subject: '/O=Example/OU=Guests/CN=a' }),
  },
  {
    what: 'another name',
    reason: 'client-certificate-san',
    constraints: { subjectAltNames: [{ type: 'DNS', value: '*.clients.example' }] },
    issue: (ca) =>
      ca.issue({ ...CLIENT, altNames: 'DNS:clients.example,DNS:a.clients.example.evil' }),
  },
  {
    what: 'another kind of key',
    reason: 'client-certificate-key',
    constraints: { keys: [{ type: 'RSA', minBits: 2048 }] },
    issue: (ca) => ca.issue(CLIENT),
  },
  {
    what: 'a short key',
    reason: 'client-certificate-key',
    constraints: { keys: [{ type: 'RSA', minBits: 3072 }] },
    issue: (ca) => ca.issue({ ...CLIENT, newKey: ['rsa:2048'] }),
  },
  {
    what: 'another serial number',
    reason: 'client-certificate-serial',
    constraints: { serials: ['01'] },
    issue: (ca) => ca.issue(CLIENT),
  },
  {
    what: 'another key than the one pinned',
    reason: 'client-certificate-pin',
    constraints: { spkiPins: ['00'.repeat(32)] },
    issue: (ca) => ca.issue(CLIENT),
  },
  {
    what: 'an identity of the mesh',
    reason: 'client-identity-unexpected',
    issue: (ca) =>
      ca.issue({ ...CLIENT, altNames: 'URI:spiffe://cluster.local/ns/default/sa/web' }),
  },
  {
    what: 'an identity of another mesh that nobody named',
    reason: 'client-identity-unexpected',
    constraints: {
      subjectAltNames: [
        { type: 'URI', value: 'spiffe://b.example/*' },
        { type: 'DNS', value: 'x.example' },
      ],
    },
    issue: (ca) => ca.issue({ ...CLIENT, altNames: 'DNS:x.example,URI:spiffe://a.example/x' }),
  },
];

const required = (ca: OutsideCa, more: Readonly<Record<string, unknown>> = {}) => ({
  mode: 'REQUIRED',
  trust: { file: { ca: ca.certificate } },
  ...more,
});

for (const { what, reason, constraints, issue } of REFUSALS) {
  test(`a client with ${what} is refused as ${reason}`, { skip }, async () => {
    using ca = new OutsideCa();
    const leaf = ca.issue({ altNames: `DNS:${NAME}` });
    const clientCertificates = required(ca, constraints && { constraints });
    await using rig = await startStaticRig({
      tls: { certificates: [fileOf(leaf)], clientCertificates },
    });
    await assertRefused(rig, await call(rig, ca, { client: issue(ca) }), reason);
  });
}

test('clients without a certificate, or with one of a stranger, are refused where one is required', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  using stranger = new OutsideCa('Stranger');
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  await using rig = await startStaticRig({
    tls: { certificates: [fileOf(leaf)], clientCertificates: required(ca) },
  });
  await assertRefused(rig, await call(rig, ca), 'client-certificate-missing');
  const client = stranger.issue(CLIENT);
  await assertRefused(rig, await call(rig, ca, { client }), 'client-certificate-untrusted');
  const good = await call(rig, ca, { client: ca.issue(CLIENT) });
  assert.equal(good.status, 200);
});

test('a client that fits is told to the application and to rules, and never as one of the mesh', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  await using rig = await startStaticRig({
    tls: {
      certificates: [fileOf(leaf)],
      clientCertificates: {
        mode: 'OPTIONAL',
        trust: { file: { ca: ca.certificate } },
        constraints: {
          issuers: ['CN=Outside CA'],
          subjects: ['CN=*,O=Example'],
          subjectAltNames: [{ type: 'DNS', value: '*.clients.example' }],
          keys: [{ type: 'EC', curves: ['P-256'] }],
        },
      },
    },
    authorization: [
      {
        action: 'ALLOW',
        rules: [
          { when: [{ key: 'connection.clientCertificate[subject]', values: ['CN=alice*'] }] },
          { from: [{ source: { principals: ['*'] } }] },
        ],
      },
      {
        action: 'DENY',
        rules: [
          { when: [{ key: 'connection.clientCertificate[dns]', values: ['bad.clients.example'] }] },
        ],
      },
    ],
  });
  const issue = (name: string, host: string): Leaf =>
    ca.issue({ ...CLIENT, subject: `/O=Example/CN=${name}`, altNames: `DNS:${host}` });
  const alice = await call(rig, ca, { client: issue('alice";URI=x', 'a.clients.example') });
  assert.equal(alice.status, 200);
  const xfcc = headersOf(alice)['x-forwarded-client-cert'];
  assert.match(
    xfcc ?? '',
    /^Hash=[0-9a-f]{64};Subject="CN=alice\\22\\;URI\\=x,O=Example";DNS=a\.clients\.example$/,
  );
  const bob = await call(rig, ca, { client: issue('bob', 'b.clients.example') });
  assert.equal(bob.status, 403, 'principals: ["*"] is for the mesh alone');
  const bad = await call(rig, ca, { client: issue('alice', 'bad.clients.example') });
  assert.equal(bad.status, 403);
  const nobody = await call(rig, ca);
  assert.equal(nobody.status, 403);
});

test('a revoked client is refused, its open connection cut, and a list that is too old refuses everybody', {
  skip,
}, async (t) => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME}` });
  const client = ca.issue(CLIENT);
  const other = ca.issue(CLIENT);
  const crl = ca.writeCrl();
  const tls = (more: object = {}) => ({
    certificates: [fileOf(leaf)],
    clientCertificates: required(ca, { trust: { file: { ca: ca.certificate, crl } }, ...more }),
  });
  await using rig = await startStaticRig({ tls: tls() });
  assert.equal((await call(rig, ca, { client })).status, 200);
  const held = holdOpen(t, rig, ca, client);
  await held.isOpen;
  ca.revoke(client);
  ca.writeCrl();
  await held.hasEnded;
  assert.match(
    await rig.metrics(),
    /weft_connections_cut_total\{reason="client-certificate-revoked"\} 1/,
  );
  await assertRefused(rig, await call(rig, ca, { client }), 'client-certificate-revoked');
  assert.equal((await call(rig, ca, { client: other })).status, 200, 'others go on');
  ca.writeCrl(3);
  rig.write({ tls: tls({ crl: { required: true, maxAgeHours: 24 } }) });
  await eventually(async () => (await call(rig, ca, { client: other })).exitCode !== 0, {
    what: 'a list of three days ago to be too old',
  });
  await assertRefused(rig, await call(rig, ca, { client: other }), 'client-crl-stale');
});

/** An idle connection of openssl s_client, after its handshake. */
function holdOpen(t: TestContext, rig: StaticRig, ca: OutsideCa, client: Leaf) {
  const args = ['s_client', '-connect', `127.0.0.1:${rig.port}`, '-servername', NAME];
  const files = ['-CAfile', ca.certificate, '-cert', client.certificate, '-key', client.key];
  const child = spawn('openssl', [...args, ...files], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => child.kill());
  const opened = Promise.withResolvers<void>();
  let text = '';
  child.stdout.on('data', (part: Buffer) => {
    text += part.toString();
    if (text.includes('Verify return code')) opened.resolve();
  });
  const hasEnded = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return { isOpen: opened.promise, hasEnded };
}
