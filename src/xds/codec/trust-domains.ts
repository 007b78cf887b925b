// Roots by trust domain on the wire: Envoy's SPIFFE validator, which lets each root vouch for its own trust domain alone.
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainMessage } from '../registry.ts';
import type { TrustDomainRoots } from '../resources/secret.ts';
import {
  type Fields,
  messages,
  type Read,
  report,
  requiredMessage,
  requiredText,
} from './fields.ts';
import { encodeExtension, type Extension, readExtension } from './well-known.ts';

/** Far above what a control plane sends; see its MAX_FEDERATIONS. */
const MAX_TRUST_DOMAINS = 256;

const SPIFFE_VALIDATOR = {
  name: 'envoy.tls.cert_validator.spiffe',
  typeName: 'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
} as const;

/** @throws {TypeError} for a trust domain without a root, which Envoy refuses, and for one that stands twice. */
export function encodeTrustDomains(all: readonly TrustDomainRoots[]): PlainMessage {
  const names = new Set(all.map(({ trustDomain }) => trustDomain));
  if (names.size !== all.length || all.some(({ trustedCaPem }) => trustedCaPem === '')) {
    throw new TypeError('Cannot encode roots: a trust domain is there twice, or without a root');
  }
  return encodeExtension(SPIFFE_VALIDATOR, {
    trust_domains: all.map(({ trustDomain, trustedCaPem }) => ({
      name: trustDomain,
      trust_bundle: { inline_string: trustedCaPem },
    })),
  });
}

/** @param readPem reads a DataSource */
export function readTrustDomains(
  fields: Fields,
  readPem: Read<string>,
): readonly TrustDomainRoots[] | undefined {
  const validator: Extension<readonly TrustDomainRoots[]> = {
    ...SPIFFE_VALIDATOR,
    read: (config) => readAll(config, readPem),
  };
  return readExtension(fields, [validator]);
}

function readAll(fields: Fields, readPem: Read<string>): readonly TrustDomainRoots[] | undefined {
  const all = messages(fields, 'trust_domains', (one): TrustDomainRoots | undefined => {
    const name = requiredText(one, 'name');
    const trustedCaPem = requiredMessage(one, 'trust_bundle', readPem);
    const trustDomain = parseTrustDomain(name);
    if (trustDomain === undefined) return report(one, 'name', 'out-of-range', 'is no trust domain');
    return trustedCaPem === undefined ? undefined : { trustDomain, trustedCaPem };
  });
  const names = new Set(all.map(({ trustDomain }) => trustDomain));
  if (all.length === 0 || all.length > MAX_TRUST_DOMAINS || names.size !== all.length) {
    const message = `must name 1 to ${MAX_TRUST_DOMAINS} trust domains, each once`;
    return report(fields, 'trust_domains', 'out-of-range', message);
  }
  return all;
}
