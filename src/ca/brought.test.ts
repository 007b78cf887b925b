import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import { type Authority, openAuthority } from './authority.ts';
import { type BroughtPem, broughtState, readBroughtCa, towardsBrought } from './brought.ts';
import { createState } from './generation.ts';
import { Listeners } from '@weft/model/listeners';
import { toPem } from './sign.ts';
import { createMemoryStore } from './store/memory.ts';
import type { IssuingMaterial } from './store/store.ts';
import { broughtPem, CA_EXTENSIONS, opensslCa } from './testing/openssl-ca.ts';
import { opensslCsr } from './testing/requests.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const shop = { namespace: 'shop', serviceAccount: 'web' };
const nowMs = Date.now();
const RSA = ['rsa:2048'];
const P384 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'];
const root = opensslCa({ subject: '/CN=root' });
const issuing = opensslCa({ subject: '/CN=issuing' }, root);

function materialOf(pem: BroughtPem): IssuingMaterial {
  const reading = readBroughtCa(pem, nowMs);
  assert.ok(reading.ok, reading.ok ? '' : reading.problems.join('; '));
  return reading.material;
}

/** A CA that a test brings, and changes. */
function bringing(first: IssuingMaterial) {
  const listeners = new Listeners<IssuingMaterial>();
  let now = first;
  return {
    name: 'Secret test/ca',
    load: async () => now,
    subscribe(listener: (material: IssuingMaterial) => void) {
      listener(now);
      return listeners.add(listener);
    },
    change(next: IssuingMaterial) {
      now = next;
      listeners.tell(next);
    },
  };
}

/** Changes happen one after the other: this is answered after those that are under way. */
const phaseOf = async (authority: Authority) => {
  await authority.rollback();
  return authority.status().rotation.phase;
};

async function verifyWithOpenssl(t: TestContext, authority: Authority): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-brought-'));
  t.after(() => rm(directory, { recursive: true }));
  const issuance = authority.issue(opensslCsr(), shop, 'test', 'peer');
  assert.ok(issuance.ok);
  const [leaf, ...rest] = issuance.svid.chainDer.map(toPem);
  await writeFile(join(directory, 'root.pem'), authority.bundle().pem);
  await writeFile(join(directory, 'rest.pem'), rest.join(''));
  await writeFile(join(directory, 'leaf.pem'), leaf!);
  const untrusted = rest.length > 0 ? ['-untrusted', 'rest.pem'] : [];
  for (const purpose of ['sslclient', 'sslserver']) {
    const said = execFileSync(
      'openssl',
      ['verify', '-purpose', purpose, '-CAfile', 'root.pem', ...untrusted, 'leaf.pem'],
      { cwd: directory, encoding: 'utf8' },
    );
    assert.match(said, /leaf\.pem: OK/);
  }
}

test('certificates under brought CAs of every kind are what openssl verifies', async (t) => {
  const rsaRoot = opensslCa({ subject: '/CN=rsa root', newKey: RSA });
  const middle = opensslCa({ subject: '/CN=middle', newKey: P384 }, rsaRoot);
  const cases = [
    broughtPem(issuing, root),
    broughtPem(root),
    broughtPem(opensslCa({ subject: '/CN=below', newKey: RSA }, middle), middle, rsaRoot),
    broughtPem(opensslCa({ subject: '/CN=p384', newKey: P384, digest: 'sha384' }, root), root),
    broughtPem(
      opensslCa({ subject: '/CN=no key id', extensions: CA_EXTENSIONS.slice(0, 2) }, root),
      root,
    ),
  ];
  for (const pem of cases) {
    const brought = bringing(materialOf(pem));
    await using authority = await openAuthority({
      store: createMemoryStore(),
      trustDomain,
      brought,
    });
    await verifyWithOpenssl(t, authority);
    assert.equal(authority.bundle().pem, toPem(new X509Certificate(pem.root).raw));
  }
});

test('readBroughtCa() refuses what proxies would not accept certificates of, with the cure', () => {
  const good = broughtPem(issuing, root);
  const other = opensslCa({ subject: '/CN=other' });
  const withExtensions = (extensions: readonly string[]) =>
    broughtPem(opensslCa({ subject: '/CN=odd', extensions }, root), root);
  const shortRoot = opensslCa({
    subject: '/CN=short',
    extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', 'subjectKeyIdentifier=hash'],
  });
  const cases: readonly [RegExp, BroughtPem, number?][] = [
    [/tls\.crt has 0 certificates/, { ...good, chain: '' }],
    [/tls\.crt has 5 certificates/, { ...good, chain: root.certificatePem.repeat(5) }],
    [/tls\.crt cannot be read/, { ...good, chain: good.chain.replace('MII', 'XXX') }],
    [/tls\.crt has more than/, { ...good, chain: 'x'.repeat(70_000) }],
    [/ca\.crt has 0 certificates/, { ...good, root: 'garbage' }],
    [/tls\.key is empty/, { ...good, key: '' }],
    [/tls\.key is no private key/, { ...good, key: 'garbage' }],
    [/not the key of the first/, { ...good, key: other.keyPem }],
    [/ca\.crt has no self-signed root/, { ...good, root: other.certificatePem }],
    [/ca\.crt has no self-signed root/, { ...good, root: issuing.certificatePem }],
    [/did not issue the one before/, broughtPem(issuing, other, root)],
    [/may not issue certificates/, withExtensions(['basicConstraints=CA:FALSE'])],
    [
      /may not issue certificates/,
      withExtensions(['basicConstraints=CA:TRUE', 'keyUsage=cRLSign']),
    ],
    [
      /not for clients and servers/,
      withExtensions([...CA_EXTENSIONS, 'extendedKeyUsage=serverAuth']),
    ],
    [
      /name constraints/,
      withExtensions([...CA_EXTENSIONS, 'nameConstraints=permitted;DNS:example.org']),
    ],
    [
      /allows 0 CAs below it, and there are 1/,
      broughtPem(opensslCa({ subject: '/CN=below short' }, shortRoot), shortRoot),
    ],
    [/ends at .*renew it/, good, nowMs + 365 * 86_400_000],
    [/is valid from .*clock/, good, nowMs - 86_400_000],
    [
      /neither RSA of 2048 bits/,
      broughtPem(opensslCa({ subject: '/CN=weak', newKey: ['rsa:1024'] }, root), root),
    ],
    [/neither RSA/, broughtPem(opensslCa({ subject: '/CN=ed', newKey: ['ed25519'] }, root), root)],
    [
      /signed with .*sha1/i,
      broughtPem(opensslCa({ subject: '/CN=sha1', digest: 'sha1' }, root), root),
    ],
  ];
  for (const [expected, pem, atMs = nowMs] of cases) {
    const reading = readBroughtCa(pem, atMs);
    assert.ok(!reading.ok, String(expected));
    assert.match(reading.problems.join('\n'), expected);
    assert.ok(!reading.problems.join().includes('PRIVATE'));
  }
});

test('a new issuing CA under the same root is taken over at once, and changes nothing else', async () => {
  const brought = bringing(materialOf(broughtPem(issuing, root)));
  const store = createMemoryStore();
  await using authority = await openAuthority({ store, trustDomain, brought });
  const { version } = authority.bundle();
  const before = authority.issuerKeyId;
  brought.change(materialOf(broughtPem(opensslCa({ subject: '/CN=next' }, root), root)));
  assert.equal(await phaseOf(authority), 'stable');
  assert.equal(authority.bundle().version, version);
  assert.notEqual(authority.issuerKeyId, before);
});

test('another root goes through all phases, and the former one that is put back ends that', async () => {
  const first = materialOf(broughtPem(issuing, root));
  const brought = bringing(first);
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain, brought });
  const { version } = authority.bundle();
  const otherRoot = opensslCa({ subject: '/CN=root' });
  const second = materialOf(
    broughtPem(opensslCa({ subject: '/CN=issuing' }, otherRoot), otherRoot),
  );
  brought.change(second);
  assert.equal(await phaseOf(authority), 'distribute');
  assert.equal(authority.bundle().rootsDer.length, 2);
  brought.change(first);
  assert.equal(await phaseOf(authority), 'stable');
  assert.equal(authority.bundle().version, version);
  brought.change(second);
  const before = authority.issuerKeyId;
  assert.equal(await phaseOf(authority), 'distribute');
  await authority.advance(() => []);
  assert.equal(authority.status().rotation.phase, 'sign');
  assert.notEqual(authority.issuerKeyId, before);
  brought.change(first);
  assert.equal(await phaseOf(authority), 'sign');
  assert.equal(authority.issuerKeyId, before, 'signed back');
});

test('a mesh with a CA of its own goes over to one that is brought, and keeps that after a restart', async () => {
  const store = createMemoryStore();
  {
    await using _ = await openAuthority({ store, trustDomain });
  }
  const brought = bringing(materialOf(broughtPem(issuing, root)));
  {
    await using authority = await openAuthority({ store, trustDomain, brought });
    assert.equal(await phaseOf(authority), 'distribute');
    await authority.advance(() => []);
  }
  await using authority = await openAuthority({ store, trustDomain, brought });
  assert.equal(authority.status().rotation.phase, 'sign');
  assert.match(
    authority
      .status()
      .issuers.map(({ subject }) => subject)
      .join(),
    /CN=issuing/,
  );
});

test('who brings a CA rotates it there: asking here is refused with that answer', async () => {
  const brought = bringing(materialOf(broughtPem(issuing, root)));
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain, brought });
  for (const outcome of [await authority.startRotation(), await authority.rollback()]) {
    assert.ok(!outcome.ok && outcome.reasonCode === 'root-brought');
    assert.match(outcome.reason, /Secret test\/ca: put another one there/);
  }
});

test('towardsBrought() waits while a rotation to a third root is under way', () => {
  const material = materialOf(broughtPem(issuing, root));
  const other = opensslCa({ subject: '/CN=other' });
  const own = createState(trustDomain, nowMs);
  const started = towardsBrought(own, material, 1_000)!;
  assert.equal(started.rotation.phase, 'distribute');
  assert.equal(towardsBrought(started, material, 1_000), undefined);
  assert.equal(towardsBrought(started, materialOf(broughtPem(other)), 1_000), undefined);
  const first = broughtState(trustDomain, material);
  assert.equal(towardsBrought(first, material, 1_000), undefined);
});
