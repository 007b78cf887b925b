// Arbitrary bundles, roots by trust domain and certificates, as they are delivered.
import { parseTrustDomain, type TrustDomain } from '@weft/model/identity';
import { SecretText } from '@weft/model/secret-text';
import type { Secret } from '@weft/xds/resources/secret';
import fc from 'fast-check';
import { record, word } from './rbac-arbitraries.ts';

const trustDomain = fc.stringMatching(/^[a-z0-9._-]{1,12}$/).map((text): TrustDomain => {
  const parsed = parseTrustDomain(text);
  if (parsed === undefined) throw new TypeError(`Cannot use ${text}`);
  return parsed;
});

const pem = (label: string): fc.Arbitrary<string> =>
  fc.base64String().map((body) => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`);

export const secret: fc.Arbitrary<Secret> = fc.oneof(
  record({ name: word, trustedCaPem: pem('CERTIFICATE') }),
  record({
    name: fc.constant('ROOTCA'),
    trustedCaPem: pem('CERTIFICATE'),
    byTrustDomain: fc.uniqueArray(record({ trustDomain, trustedCaPem: pem('CERTIFICATE') }), {
      minLength: 1,
      maxLength: 3,
      selector: (one) => one.trustDomain,
    }),
  }),
  record({
    name: word.map((name) => `tls/${name}`),
    certificatePem: pem('CERTIFICATE'),
    keyPem: pem('PRIVATE KEY').map((text) => new SecretText(text)),
  }),
);
