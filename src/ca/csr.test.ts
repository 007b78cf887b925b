import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../test/support/runs.ts';
import { MAX_CSR_BYTES, readCsr } from './csr.ts';
import { POINT_BYTES } from './template.ts';
import { opensslCsr, opensslRequest } from './testing/requests.ts';

const good = opensslRequest();

test('readCsr() takes the public key of a request that openssl made', () => {
  const reading = readCsr(good.csrDer);
  assert.ok(reading.ok);
  const spki = createPublicKey(good.keyPem).export({ format: 'der', type: 'spki' });
  assert.deepEqual(reading.point, spki.subarray(spki.length - POINT_BYTES));
  assert.deepEqual(reading.uriSans, []);
});

test('readCsr() tells which identities a request names (CVE-2022-40716)', () => {
  const names = 'DNS:a.test,URI:spiffe://a/b,IP:10.0.0.1,URI:spiffe://c/d';
  const reading = readCsr(opensslCsr({ names, subject: '/CN=x' }));
  assert.deepEqual(reading.ok && reading.uriSans, ['spiffe://a/b', 'spiffe://c/d']);
});

test('readCsr() refuses what is not a request on P-256 signed by its own key', () => {
  const curve = (name: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${name}`];
  const explicit = [...curve('P-256'), '-pkeyopt', 'ec_param_enc:explicit'];
  const otherSignature = Buffer.from(good.csrDer);
  otherSignature[otherSignature.length - 1]! ^= 0x55;
  const otherPoint = Buffer.from(good.csrDer);
  const reading = readCsr(good.csrDer);
  assert.ok(reading.ok);
  otherPoint[otherPoint.indexOf(reading.point) + 10]! ^= 1;
  for (const [csr, reasonCode] of [
    [opensslCsr({ newKey: ['rsa:2048'] }), 'csr-key-not-p256'],
    [opensslCsr({ newKey: curve('P-384') }), 'csr-key-not-p256'],
    [opensslCsr({ newKey: curve('secp256k1') }), 'csr-key-not-p256'],
    [opensslCsr({ newKey: explicit }), 'csr-key-not-p256'],
    [opensslCsr({ newKey: ['ed25519'] }), 'csr-key-not-p256'],
    [opensslCsr({ digest: 'sha384' }), 'csr-bad-signature'],
    [otherSignature, 'csr-bad-signature'],
    [otherPoint, 'csr-key-not-p256'],
    [Buffer.concat([good.csrDer, Buffer.of(0)]), 'csr-malformed'],
    [good.csrDer.subarray(0, -1), 'csr-malformed'],
    [Buffer.alloc(0), 'csr-malformed'],
    [Buffer.alloc(MAX_CSR_BYTES + 1), 'csr-too-large'],
    [Buffer.from('-----BEGIN CERTIFICATE REQUEST-----\n'), 'csr-malformed'],
  ] as const) {
    const refusal = readCsr(csr);
    assert.ok(!refusal.ok && refusal.reasonCode === reasonCode, JSON.stringify(refusal));
  }
});

test('readCsr() never throws, and no changed byte is accepted', () => {
  const { csrDer } = good;
  const change = fc.tuple(fc.nat(csrDer.length - 1), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(change, ([at, flip]) => {
      const changed = Buffer.from(csrDer);
      changed[at]! ^= flip;
      return !readCsr(changed).ok;
    }),
    { numRuns: runs(500) },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => !readCsr(bytes).ok));
});
