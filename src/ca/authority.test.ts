import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import { openAuthority } from './authority.ts';
import { createMemoryStore } from './store/memory.ts';
import { opensslCsr } from './testing/requests.ts';
import { createTurnableClock } from './testing/turnable-clock.ts';
import { ISSUING_LIFE_MS, ISSUING_RENEWAL_MS } from './generation.ts';
import type { ConnectedProxy } from './rotation.ts';
import type { CaStore } from './store/store.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const shop = { namespace: 'shop', serviceAccount: 'web' };

test('issue() gives a certificate that openssl and Node verify, with one URI SAN and both purposes', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weft-ca-'));
  t.after(() => rm(directory, { recursive: true }));
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain });
  const issuance = authority.issue(opensslCsr({ subject: '/CN=ignored' }), shop, 'test', 'peer');
  assert.ok(issuance.ok);
  const { svid } = issuance;
  assert.equal(svid.spiffeId, 'spiffe://mesh.test/ns/shop/sa/web');

  const [leaf, issuing] = svid.chainDer.map((der) => new X509Certificate(der));
  const root = new X509Certificate(authority.bundle().rootsDer[0]!);
  assert.ok(leaf!.checkIssued(issuing!) && leaf!.verify(issuing!.publicKey));
  assert.ok(issuing!.checkIssued(root) && issuing!.verify(root.publicKey));
  const identity = peerIdentity(svid.chainDer[0]!);
  assert.ok(identity.ok && identity.clientAuth && identity.serverAuth);
  assert.equal(identity.spiffeId, svid.spiffeId);
  assert.equal(identity.facts.authorityKeyIdHex, authority.issuerKeyId);
  assert.equal(identity.facts.otherSanCount, 0);
  assert.equal(identity.facts.notAfterUnixSeconds * 1000, svid.notAfter.getTime());
  assert.equal(identity.facts.notBeforeUnixSeconds * 1000, svid.notBefore.getTime());

  await writeFile(join(directory, 'root.pem'), authority.bundle().pem);
  await writeFile(join(directory, 'issuing.pem'), issuing!.toString());
  await writeFile(join(directory, 'leaf.pem'), leaf!.toString());
  for (const purpose of ['sslclient', 'sslserver']) {
    const said = execFileSync(
      'openssl',
      [
        'verify',
        '-x509_strict',
        '-purpose',
        purpose,
        '-CAfile',
        'root.pem',
        '-untrusted',
        'issuing.pem',
        'leaf.pem',
      ],
      { cwd: directory, encoding: 'utf8' },
    );
    assert.match(said, /leaf\.pem: OK/);
  }
  const text = execFileSync('openssl', ['x509', '-in', 'leaf.pem', '-noout', '-text'], {
    cwd: directory,
    encoding: 'utf8',
  });
  assert.match(
    text,
    /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/mesh\.test\/ns\/shop\/sa\/web\n/,
  );
  assert.match(text, /X509v3 Basic Constraints: critical\s+CA:FALSE/);
  assert.match(text, /X509v3 Key Usage: critical\s+Digital Signature\n/);
  assert.match(text, /Subject: \n/);
});

test('issue() never outlives its issuer, and refuses when that has expired', async () => {
  const clock = createTurnableClock();
  const kept = createMemoryStore();
  let isFull = false;
  const store: CaStore = {
    ...kept,
    save: async (state) =>
      isFull
        ? { ok: false, reasonCode: 'store-failed', reason: 'full' }
        : kept.save(state, undefined),
  };
  await using authority = await openAuthority({ store, trustDomain, clock });
  const csr = opensslCsr();
  isFull = true;
  clock.turn(ISSUING_LIFE_MS - 60_000);
  const last = authority.issue(csr, shop, 'test', 'peer');
  assert.ok(last.ok && last.svid.notAfter.getTime() <= clock.now() + 60_000);
  clock.turn(60_000);
  const late = authority.issue(csr, shop, 'test', 'peer');
  assert.ok(!late.ok && late.reasonCode === 'issuer-expired');
});

test('the issuing CA is made anew at half of its life, under the same root', async () => {
  const clock = createTurnableClock();
  const store = createMemoryStore();
  await using authority = await openAuthority({ store, trustDomain, clock });
  const before = { keyId: authority.issuerKeyId, version: authority.bundle().version };
  clock.turn(ISSUING_LIFE_MS - ISSUING_RENEWAL_MS + 1);
  // Changes happen one after the other: this one is answered after the renewal.
  await authority.advance(() => []);
  assert.notEqual(authority.issuerKeyId, before.keyId);
  assert.equal(authority.bundle().version, before.version);
  const issuance = authority.issue(opensslCsr(), shop, 'test', 'peer');
  assert.ok(issuance.ok);
  const [leaf, issuing] = issuance.svid.chainDer.map((der) => new X509Certificate(der));
  assert.ok(leaf!.checkIssued(issuing!) && leaf!.verify(issuing!.publicKey));
  assert.ok(issuing!.checkIssued(new X509Certificate(authority.bundle().rootsDer[0]!)));
});

test('two rotations asked for at once are one', async () => {
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain });
  const outcomes = await Promise.all([authority.startRotation(), authority.startRotation()]);
  assert.deepEqual(
    outcomes.map(({ ok }) => ok),
    [true, false],
  );
  assert.equal(authority.bundle().rootsDer.length, 2);
});

test('openAuthority() refuses lives of SVIDs that are no good', async () => {
  for (const svidTtlMs of [0, 9_999, 86_400_001, Number.NaN]) {
    const store = createMemoryStore();
    await assert.rejects(openAuthority({ store, trustDomain, svidTtlMs }), RangeError);
  }
});

test('status() shows fingerprints and expiry, and no key', async () => {
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain });
  await authority.startRotation();
  authority.issue(Buffer.of(0), shop, 'test', 'peer');
  const status = authority.status();
  assert.equal(status.roots.length, 2);
  assert.deepEqual(
    status.issuers.map(({ isActive }) => isActive),
    [true, false],
  );
  assert.equal(status.rotation.phase, 'distribute');
  assert.equal(status.refused, 1);
  assert.ok(!JSON.stringify(status).includes('PRIVATE'));
});

test('advance() gives requests in flight their time before the former root is retired', async () => {
  const clock = createTurnableClock();
  await using authority = await openAuthority({
    store: createMemoryStore(),
    trustDomain,
    clock,
    rotationGraceMs: 10_000,
  });
  await authority.startRotation();
  const late = (): readonly ConnectedProxy[] => [
    { proxyId: 'late', hasBundle: () => true, issuerKeyId: undefined },
  ];
  const ready = (): readonly ConnectedProxy[] => [
    { ...late()[0]!, issuerKeyId: authority.issuerKeyId },
  ];
  const phaseAfter = async (connected: typeof late) => {
    const outcome = await authority.advance(connected);
    return outcome.ok ? outcome.phase : outcome.reason;
  };
  assert.equal(await phaseAfter(late), 'sign');
  assert.equal(await phaseAfter(ready), 'sign');
  clock.turn(9_999);
  assert.equal(await phaseAfter(ready), 'sign');
  assert.equal(await phaseAfter(late), 'sign', 'somebody is late again: the time begins anew');
  clock.turn(1);
  assert.equal(await phaseAfter(ready), 'sign');
  clock.turn(10_000);
  assert.equal(await phaseAfter(ready), 'retire');
});
