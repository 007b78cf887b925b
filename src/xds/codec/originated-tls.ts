// TLS towards hosts outside the mesh on the wire: whom to trust, which names to expect, what to show.
import type { PlainMessage } from '../registry.ts';
import { type OriginatedTls, type ServerName, SYSTEM_ROOTS_FILE } from '../resources/egress.ts';
import {
  choose,
  type Fields,
  isSet,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  text,
  texts,
} from './fields.ts';
import { encodeStringMatcher, readStringMatcher } from './string-match.ts';
import { ADS_SOURCE, checkAdsSource } from './tls.ts';
import { encodeExtension, type Extension, readExtension } from './well-known.ts';

const MAX_SNI_LENGTH = 255;
const MIN_VERSIONS = { 'TLSv1.2': 'TLSv1_2', 'TLSv1.3': 'TLSv1_3' } as const;
const SAN_TYPES = { dns: 'DNS', uri: 'URI', ip: 'IP_ADDRESS' } as const;

const ORIGINATED: Extension<OriginatedTls> = {
  name: 'envoy.transport_sockets.tls',
  typeName: 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
  read: (fields) => {
    const sni = requiredText(fields, 'sni');
    if (sni.length > MAX_SNI_LENGTH) report(fields, 'sni', 'out-of-range', 'is too long');
    const common = requiredMessage(fields, 'common_tls_context', readCommon);
    return common && { sni, ...common };
  },
};

/** @throws {TypeError} when no name is expected: any certificate that the roots vouch for would do then. */
export function encodeOriginatedTls(tls: OriginatedTls): PlainMessage {
  const { names, trust, certificate } = tls;
  if (names.length === 0)
    throw new TypeError('Cannot encode TLS to a host: it expects no name, and would take any');
  const expected = {
    match_typed_subject_alt_names: names.map(({ kind, value }) => ({
      san_type: SAN_TYPES[kind],
      matcher: encodeStringMatcher({ kind: 'exact', value, ignoreCase: false }),
    })),
  };
  const filename = trust.kind === 'system' ? SYSTEM_ROOTS_FILE : 'path' in trust ? trust.path : '';
  return encodeExtension(ORIGINATED, {
    sni: tls.sni,
    common_tls_context: {
      tls_params: {
        tls_minimum_protocol_version: MIN_VERSIONS[tls.minVersion],
        tls_maximum_protocol_version: 'TLSv1_3',
      },
      alpn_protocols: tls.alpn,
      ...(trust.kind === 'secret'
        ? {
            combined_validation_context: {
              default_validation_context: expected,
              validation_context_sds_secret_config: { name: trust.name, sds_config: ADS_SOURCE },
            },
          }
        : { validation_context: { trusted_ca: { filename }, ...expected } }),
      ...encodeCertificate(certificate),
    },
  });
}

function encodeCertificate(certificate: OriginatedTls['certificate']): PlainMessage {
  if (certificate === undefined) return {};
  if (certificate.kind === 'secret') {
    const { name } = certificate;
    return { tls_certificate_sds_secret_configs: [{ name, sds_config: ADS_SOURCE }] };
  }
  const certificate_chain = { filename: certificate.certificate };
  return { tls_certificates: [{ certificate_chain, private_key: { filename: certificate.key } }] };
}

export const readOriginatedTls: Read<OriginatedTls> = (fields) =>
  readExtension(fields, [ORIGINATED]);

const readCommon: Read<Omit<OriginatedTls, 'sni'>> = (fields) => {
  const minVersion = requiredMessage(fields, 'tls_params', (params) => {
    choose(params, 'tls_maximum_protocol_version', { TLSv1_3: true });
    return choose(params, 'tls_minimum_protocol_version', {
      TLSv1_2: 'TLSv1.2',
      TLSv1_3: 'TLSv1.3',
    } as const);
  });
  const alpn = texts(fields, 'alpn_protocols');
  const validation = readValidation(fields);
  const hasCertificate =
    isSet(fields, 'tls_certificates') || isSet(fields, 'tls_certificate_sds_secret_configs');
  const certificate = hasCertificate ? readCertificate(fields) : undefined;
  // A certificate that could not be read must not be taken for none.
  if (minVersion === undefined || validation === undefined) return undefined;
  if (hasCertificate && certificate === undefined) return undefined;
  return { minVersion, alpn, ...validation, ...(certificate && { certificate }) };
};

function readValidation(fields: Fields): Pick<OriginatedTls, 'names' | 'trust'> | undefined {
  if (oneOf(fields, 'validation_context_type') === 'validation_context') {
    return requiredMessage(fields, 'validation_context', (context) => {
      const path = readFile(context, 'trusted_ca');
      const names = readNames(context);
      if (path === undefined) return undefined;
      return {
        names,
        trust: path === SYSTEM_ROOTS_FILE ? { kind: 'system' } : { kind: 'file', path },
      };
    });
  }
  return requiredMessage(fields, 'combined_validation_context', (combined) => {
    const names = requiredMessage(combined, 'default_validation_context', readNames);
    const name = requiredMessage(combined, 'validation_context_sds_secret_config', readSecretName);
    return names && name !== undefined ? { names, trust: { kind: 'secret', name } } : undefined;
  });
}

function readNames(fields: Fields): readonly ServerName[] {
  const name = 'match_typed_subject_alt_names';
  const names = messages(fields, name, (san): ServerName | undefined => {
    const kind = choose(san, 'san_type', { DNS: 'dns', URI: 'uri', IP_ADDRESS: 'ip' } as const);
    const matcher = requiredMessage(san, 'matcher', readStringMatcher);
    if (matcher !== undefined && (matcher.kind !== 'exact' || matcher.ignoreCase))
      return report(san, 'matcher', 'not-supported', 'is no exact text');
    return kind && matcher && { kind, value: matcher.value };
  });
  // Without a name every certificate that the roots vouch for would do.
  if (names.length === 0) report(fields, name, 'missing', 'names nobody');
  return names;
}

function readCertificate(fields: Fields): OriginatedTls['certificate'] {
  const inFiles = messages(fields, 'tls_certificates', (pair) => {
    const certificate = readFile(pair, 'certificate_chain');
    const key = readFile(pair, 'private_key');
    return certificate !== undefined && key !== undefined
      ? { kind: 'files' as const, certificate, key }
      : undefined;
  });
  const delivered = messages(fields, 'tls_certificate_sds_secret_configs', (config) => {
    const name = readSecretName(config);
    return name === undefined ? undefined : { kind: 'secret' as const, name };
  });
  const [first, ...more] = [...inFiles, ...delivered];
  if (first !== undefined && more.length === 0) return first;
  return report(fields, 'tls_certificates', 'not-supported', 'must be one certificate');
}

const readSecretName: Read<string> = (fields) => {
  checkAdsSource(fields, 'sds_config');
  return requiredText(fields, 'name');
};

const readFile = (fields: Fields, name: string): string | undefined =>
  requiredMessage(fields, name, (source) => {
    if (oneOf(source, 'specifier') === 'filename') return requiredText(source, 'filename');
    text(source, 'inline_string');
    return report(source, '', 'not-supported', 'must name a file');
  });

/** Beside {@link message} there is no other: absent is no TLS at all. */
export const optionalOriginatedTls = (fields: Fields): OriginatedTls | undefined =>
  message(fields, 'transport_socket', readOriginatedTls);
