// Roots by trust domain on the wire: only in the mesh's own bundle, each trust domain once, and none without a root.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain, type TrustDomain } from '@weft/model/identity';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import type { TrustSecret } from '../resources/secret.ts';
import { decodeResource, encodeResource } from './resource-codec.ts';
import { encodeAny } from './fields.ts';

const pem = (body: string): string =>
  `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
function domain(name: string): TrustDomain {
  const parsed = parseTrustDomain(name);
  assert.ok(parsed !== undefined);
  return parsed;
}
const OWN = { trustDomain: domain('mesh.test'), trustedCaPem: pem('own') };
const THEIRS = { trustDomain: domain('partner.test'), trustedCaPem: pem('theirs') };
const SECRET = 'envoy.extensions.transport_sockets.tls.v3.Secret';
const CONFIG = 'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig';

test('the bundle with trust domains comes back as it was, and without them its bytes have nothing of it', () => {
  const secret = { name: 'ROOTCA', trustedCaPem: pem('own'), byTrustDomain: [OWN, THEIRS] };
  const encoded = encodeResource('secret', secret);
  const decoded = decodeResource('secret', encoded.bytes);
  assert.deepEqual(decoded.problems, []);
  assert.deepEqual(decoded.ok && decoded.value, secret);
  const plain = encodeResource('secret', { name: 'ROOTCA', trustedCaPem: pem('own') });
  const alone = {
    name: 'ROOTCA',
    validation_context: { trusted_ca: { inline_string: pem('own') } },
  };
  assert.deepEqual(Buffer.from(plain.bytes), Buffer.from(encodeMessage(SECRET, alone)));
});

test('encodeResource() throws for trust domains of another bundle, for one that is there twice, and for one without a root', () => {
  const of = (more: Partial<TrustSecret>) => () =>
    encodeResource('secret', { name: 'ROOTCA', trustedCaPem: pem('own'), ...more });
  assert.throws(of({ name: 'other', byTrustDomain: [OWN] }), /not the mesh/);
  assert.throws(of({ byTrustDomain: [OWN, OWN] }), /twice/);
  assert.throws(of({ byTrustDomain: [OWN, { ...THEIRS, trustedCaPem: '' }] }), /without a root/);
});

const entry = (name: string, text = pem(name)) => ({ name, trust_bundle: { inline_string: text } });
const validator = (config: PlainMessage, name = 'envoy.tls.cert_validator.spiffe') => ({
  name,
  typed_config: encodeAny(CONFIG, config),
});
const REFUSED: readonly (readonly [string, string, object])[] = [
  ['no trust domain', 'ROOTCA', validator({})],
  ['a trust domain twice', 'ROOTCA', validator({ trust_domains: [entry('a'), entry('a')] })],
  ['a name that is none', 'ROOTCA', validator({ trust_domains: [entry('spiffe://a')] })],
  ['a trust domain without roots', 'ROOTCA', validator({ trust_domains: [{ name: 'a' }] })],
  ['roots that are no PEM', 'ROOTCA', validator({ trust_domains: [entry('a', 'x')] })],
  [
    'roots in a file',
    'ROOTCA',
    validator({ trust_domains: [{ name: 'a', trust_bundle: { filename: '/x' } }] }),
  ],
  ['another validator', 'ROOTCA', validator({ trust_domains: [entry('a')] }, 'other')],
  ['a name of somebody else’s authorities', 'clients', validator({ trust_domains: [entry('a')] })],
];
for (const [claim, name, custom_validator_config] of REFUSED) {
  test(`decodeResource() refuses a bundle with ${claim}`, () => {
    const trusted_ca = { inline_string: pem('own') };
    const message = { name, validation_context: { trusted_ca, custom_validator_config } };
    const decoded = decodeResource('secret', encodeMessage(SECRET, message));
    assert.equal(decoded.ok, false);
    assert.ok(
      decoded.problems.some(({ field = '' }) => field.includes('custom_validator_config')),
      JSON.stringify(decoded.problems),
    );
  });
}
