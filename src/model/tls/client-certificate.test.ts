// Certificates and lists of clients: what their bytes say, whatever the bytes are.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { missingTools, OutsideCa } from '../../../test/support/tls-clients.ts';
import { judgeClientCertificate, readClientCertificate } from './client-certificate.ts';
import { readRevocationLists, staleness } from './crl.ts';
import {
  type DistinguishedName,
  fitsName,
  formatDistinguishedName,
  parseNamePattern,
} from './distinguished-name.ts';
import { NO_CONSTRAINTS } from './types.ts';

const skip = missingTools() ?? false;

const derOf = (path: string): Buffer => new X509Certificate(readFileSync(path)).raw;

test('readClientCertificate() reads names, serial, purposes and key as openssl wrote them', {
  skip,
}, () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({
    subject: '/C=DE/O=Example, Inc./CN=älice',
    altNames: 'DNS:A.example,URI:urn:x:y,email:a@b.example',
    usage: 'clientAuth,emailProtection',
  });
  const reading = readClientCertificate(derOf(leaf.certificate));
  assert.ok(reading.ok, JSON.stringify(reading));
  const { certificate } = reading;
  assert.equal(certificate.issuerText, 'CN=Outside CA');
  assert.match(certificate.subjectText, /^CN=.*lice,O=Example\\, Inc\.,C=DE$/);
  assert.deepEqual(certificate.dnsNames, ['a.example']);
  assert.deepEqual(certificate.uris, ['urn:x:y']);
  assert.deepEqual(certificate.emails, ['a@b.example']);
  assert.deepEqual(certificate.extendedKeyUsages, ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.4']);
  assert.equal(BigInt(`0x${certificate.serialHex}`), BigInt(`0x${leaf.serial}`));
  assert.deepEqual(certificate.key, { type: 'ec', bits: 0, curve: 'prime256v1' });
  assert.equal(judgeClientCertificate(certificate, NO_CONSTRAINTS), undefined);
});

test('neither certificates nor lists of revoked ones make their readers throw, whatever bytes are changed', {
  skip,
}, () => {
  using ca = new OutsideCa();
  const der = derOf(ca.issue({ subject: '/CN=a/O=b', altNames: 'DNS:a.example' }).certificate);
  ca.revoke(ca.issue());
  const list = readFileSync(ca.writeCrl(), 'utf8');
  const [begin = '', ...rest] = list.trim().split('\n');
  const crl = Buffer.from(rest.slice(0, -1).join(''), 'base64');
  const change = fc.record({
    at: fc.nat(),
    byte: fc.nat(255),
    cut: fc.option(fc.nat(), { nil: undefined }),
  });
  const changed = (
    bytes: Buffer,
    { at, byte, cut }: { at: number; byte: number; cut?: number | undefined },
  ): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at % copy.length] = byte;
    return cut === undefined ? copy : copy.subarray(0, cut % copy.length);
  };
  fc.assert(
    fc.property(change, (one) => {
      assert.equal(typeof readClientCertificate(changed(der, one)).ok, 'boolean');
      const text = `${begin}\n${changed(crl, one).toString('base64')}\n-----END X509 CRL-----\n`;
      assert.equal(typeof readRevocationLists(text).ok, 'boolean');
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(typeof readClientCertificate(Buffer.from(bytes)).ok, 'boolean');
    }),
  );
});

test('readRevocationLists() finds who was revoked; staleness() tells lists that were made too long ago', {
  skip,
}, () => {
  using ca = new OutsideCa();
  const leaf = ca.issue();
  ca.revoke(leaf);
  const reading = readRevocationLists(readFileSync(ca.writeCrl(2), 'utf8'));
  assert.ok(reading.ok);
  const [list] = reading.lists;
  assert.equal(list?.revoked.size, 1);
  const [serial = ''] = list.revoked;
  assert.equal(BigInt(`0x${serial}`), BigInt(`0x${leaf.serial}`));
  const day = 86_400_000;
  assert.equal(staleness(reading.lists, Date.now(), undefined), undefined);
  assert.equal(staleness(reading.lists, Date.now(), 3 * day), undefined);
  assert.ok(staleness(reading.lists, Date.now(), day) !== undefined);
  assert.ok(staleness(reading.lists, Date.now() + 11 * day, undefined) !== undefined);
});

const value = fc
  .string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
  .filter((text) =>
    Array.from(text).every((char) => char >= ' ' && (char < '\u007f' || char > '\u009f')),
  );
const name: fc.Arbitrary<DistinguishedName> = fc.array(
  fc.record({ type: fc.constantFrom('2.5.4.3', '2.5.4.10', '1.2.3.4'), value }),
  { minLength: 1, maxLength: 4 },
);

test('a space at the end of a name is its own only behind a backslash, and a star is any only without one', () => {
  const values = (text: string) =>
    parseNamePattern(text)?.attributes.map((attribute) => attribute.value);
  assert.deepEqual(values('CN=a\\ , O= b\\\\  '), ['a ', 'b\\']);
  assert.deepEqual(values('CN=\\ '), [' ']);
  assert.equal(values('CN=a\\'), undefined);
  assert.deepEqual(values('CN=*,O=\\2A'), [undefined, '*']);
  assert.equal(formatDistinguishedName([{ type: '2.5.4.3', value: ' a ' }]), 'CN=\\20a\\20');
});

test('a distinguished name is ASCII when it is written, ends no quoted text, and fits itself and no other', () => {
  fc.assert(
    fc.property(name, name, (one, other) => {
      const text = formatDistinguishedName(one);
      for (const char of text) assert.ok(char >= ' ' && char < '\u007f' && char !== '"', text);
      const pattern = parseNamePattern(text);
      assert.ok(pattern !== undefined, text);
      assert.ok(fitsName(pattern, one), text);
      const isSame = formatDistinguishedName(other) === text;
      assert.equal(fitsName(pattern, other), isSame);
    }),
  );
});
