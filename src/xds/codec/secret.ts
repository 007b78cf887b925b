// Trust bundles and certificates on the wire. A proxy's own key never travels; those of others are sent to whom they are for.
import { SecretText } from '@weft/model/secret-text';
import type { PlainMessage } from '../registry.ts';
import {
  BUNDLE_SECRET,
  type CertificateSecret,
  isTrust,
  OWN_CERTIFICATE_SECRET,
  type Secret,
  type TrustSecret,
} from '../resources/secret.ts';
import {
  bytesOf,
  type Fields,
  isSet,
  message,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  text,
} from './fields.ts';
import { encodeTrustDomains, readTrustDomains } from './trust-domains.ts';

const PEM_CERTIFICATE = '-----BEGIN CERTIFICATE-----';
const PEM_CRL = '-----BEGIN X509 CRL-----';
/** Of every form that OpenSSL reads: `PRIVATE KEY`, `RSA PRIVATE KEY`, `EC PRIVATE KEY`. */
const PEM_KEY = 'PRIVATE KEY-----';

/** By these names a proxy knows what is the mesh's: whoever could send a key by them would be whom it takes itself for. */
const isOfMesh = (name: string): boolean =>
  name === BUNDLE_SECRET || name === OWN_CERTIFICATE_SECRET;

/**
 * @throws {TypeError} for an empty bundle, with which a proxy could verify nobody, and for a key by a name of the
 *   mesh's own.
 */
export function encodeSecret(secret: Secret): PlainMessage {
  const { name } = secret;
  if (!isTrust(secret)) {
    if (isOfMesh(name)) throw new TypeError(`Cannot encode secret ${name}: no key travels for it`);
    return {
      name,
      tls_certificate: {
        certificate_chain: { inline_string: secret.certificatePem },
        private_key: { inline_string: secret.keyPem.reveal() },
      },
    };
  }
  const { trustedCaPem, crlPem } = secret;
  if (!trustedCaPem.includes(PEM_CERTIFICATE))
    throw new TypeError(`Cannot encode secret ${name}: it holds no certificate`);
  const crl = crlPem === undefined ? undefined : { inline_string: crlPem };
  const { byTrustDomain } = secret;
  if (byTrustDomain !== undefined && name !== BUNDLE_SECRET)
    throw new TypeError(
      `Cannot encode secret ${name}: it is not the mesh's, and has trust domains`,
    );
  const trusted_ca = { inline_string: trustedCaPem };
  const custom_validator_config = byTrustDomain && encodeTrustDomains(byTrustDomain);
  return { name, validation_context: { trusted_ca, crl, custom_validator_config } };
}

export const readSecret: Read<Secret> = (fields) => {
  const name = requiredText(fields, 'name');
  if (oneOf(fields, 'type') !== 'tls_certificate') {
    return requiredMessage(fields, 'validation_context', (context) =>
      readAuthorities(context, name),
    );
  }
  return requiredMessage(fields, 'tls_certificate', (pair) => readKeyPair(pair, name));
};

function readAuthorities(fields: Fields, name: string): TrustSecret | undefined {
  const trustedCaPem = pemOf(fields, 'trusted_ca', PEM_CERTIFICATE);
  const hasCrl = isSet(fields, 'crl');
  const crlPem = message(fields, 'crl', (source) => readPem(source, PEM_CRL));
  const validator = 'custom_validator_config';
  const hasDomains = name === BUNDLE_SECRET && isSet(fields, validator);
  const byTrustDomain = hasDomains
    ? message(fields, validator, (config) =>
        readTrustDomains(config, (source) => readPem(source, PEM_CERTIFICATE)),
      )
    : undefined;
  if (trustedCaPem === undefined || (hasCrl && crlPem === undefined)) return undefined;
  if (hasDomains && byTrustDomain === undefined) return undefined;
  return {
    name,
    trustedCaPem,
    ...(crlPem !== undefined && { crlPem }),
    ...(byTrustDomain && { byTrustDomain }),
  };
}

function readKeyPair(fields: Fields, name: string): CertificateSecret | undefined {
  const certificatePem = pemOf(fields, 'certificate_chain', PEM_CERTIFICATE);
  const key = pemOf(fields, 'private_key', PEM_KEY);
  if (isOfMesh(name)) return report(fields, '', 'not-supported', 'is sent by a name of the mesh’s');
  if (certificatePem === undefined || key === undefined) return undefined;
  return { name, certificatePem, keyPem: new SecretText(key) };
}

const pemOf = (fields: Fields, name: string, begins: string): string | undefined =>
  requiredMessage(fields, name, (source) => readPem(source, begins));

/** PEM is ASCII, so bytes and text say the same. What it says is never repeated in a message. */
function readPem(fields: Fields, begins: string): string | undefined {
  const kind = oneOf(fields, 'specifier');
  if (kind === undefined) return undefined;
  if (kind === 'filename') {
    text(fields, kind);
    return report(fields, kind, 'not-supported', 'names a file, where a text is meant');
  }
  const pem =
    kind === 'inline_bytes'
      ? Buffer.from(bytesOf(fields, kind)).toString('latin1')
      : text(fields, 'inline_string');
  if (pem.includes(begins)) return pem;
  return report(fields, kind, 'missing', 'holds no PEM of the kind that is meant');
}
