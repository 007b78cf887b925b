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
