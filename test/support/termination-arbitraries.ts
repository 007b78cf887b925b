// Arbitrary ways to take TLS of clients outside the mesh, in the form that decoding gives back.
import { parseNamePattern } from '@weft/model/tls/distinguished-name';
import {
  type AltNamePattern,
  CIPHER_SUITES,
  type ClientConstraints,
  type KeyRule,
  type NamePattern,
} from '@weft/model/tls/types';
import type { CertificateRef, ClientDemand, TerminationTls } from '@weft/xds/resources/termination';
import fc from 'fast-check';
import { present, record, word } from './rbac-arbitraries.ts';

const path = word.map((name) => `/${name}`);
const few = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<readonly T[]> =>
  fc.array(one, { maxLength: 2 });
const maybe = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(one, { nil: undefined });
const hex = (length: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((bytes) => Buffer.from(bytes).toString('hex'));

const version = fc.constantFrom('TLSv1.2' as const, 'TLSv1.3' as const);

const certificates: fc.Arbitrary<readonly CertificateRef[]> = fc.oneof(
  fc.array(
    word.map((name) => ({ kind: 'sds', name }) as const),
    { minLength: 1, maxLength: 3 },
  ),
  fc.array(record({ kind: fc.constant('file' as const), certificate: path, key: path }), {
    minLength: 1,
    maxLength: 3,
  }),
);

const name: fc.Arbitrary<NamePattern> = fc
  .constantFrom('CN=a', 'CN=*,O=Example', 'CN=a\\,b,OU=c+DC=d', '1.2.3.4=x')
  .map((text) => parseNamePattern(text))
  .filter((pattern) => pattern !== undefined);

const altName: fc.Arbitrary<AltNamePattern> = record({
  type: fc.constantFrom('DNS' as const, 'URI' as const, 'EMAIL' as const),
  match: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const),
  value: word,
});

const keyRule: fc.Arbitrary<KeyRule> = fc.oneof(
  record({ kind: fc.constant('RSA' as const), minBits: fc.integer({ min: 0, max: 16_384 }) }),
  record({ kind: fc.constant('EC' as const), curves: few(word) }),
  fc.constant({ kind: 'Ed25519' as const }),
);

const constraints: fc.Arbitrary<ClientConstraints> = record({
  issuers: few(name),
  subjects: few(name),
  subjectAltNames: few(altName),
  extendedKeyUsages: few(word),
  keys: few(keyRule),
  serials: few(hex(8)),
  spkiPins: few(hex(32)),
  crlMaxAgeMs: maybe(fc.integer({ min: 1, max: 9_999 }).map((hours) => hours * 3_600_000)),
}).map((value) => present<ClientConstraints>(value));

const clients: fc.Arbitrary<ClientDemand> = record({
  isRequired: fc.boolean(),
  trust: fc.oneof(
    word.map((sds) => ({ kind: 'sds', name: sds }) as const),
    record({ kind: fc.constant('file' as const), ca: path, crl: maybe(path) }).map((value) =>
      present<Extract<ClientDemand['trust'], { readonly kind: 'file' }>>(value),
    ),
  ),
  constraints,
});

export const terminationTls: fc.Arbitrary<TerminationTls> = record({
  minVersion: version,
  maxVersion: version,
  cipherSuites: fc.subarray([...CIPHER_SUITES]),
  alpn: few(word),
  certificates,
  clients: maybe(clients),
}).map((value) => present<TerminationTls>(value));
