// TLS of clients outside the mesh on the wire: Envoy's DownstreamTlsContext, and what only Weft asks of certificates as an extension.
import { parseNamePattern } from '@weft/model/tls/distinguished-name';
import {
  type AltNamePattern,
  type ClientConstraints,
  type KeyRule,
  type NamePattern,
  type TlsVersion,
} from '@weft/model/tls/types';
import type { PlainMessage } from '../registry.ts';
import type {
  CertificateRef,
  ClientDemand,
  ClientTrustRef,
  TerminationTls,
} from '../resources/termination.ts';
import {
  choose,
  type Fields,
  flag,
  integer,
  isSet,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  texts,
} from './fields.ts';
import { encodeStringMatcher, readStringMatcher } from './string-match.ts';
import {
  boolValue,
  encodeBool,
  encodeExtension,
  type Extension,
  nonZero,
  readExtension,
} from './well-known.ts';

/** 68 years; a list that is older was never renewed. */
const MAX_SECONDS = 0x7fff_ffff;
const MAX_KEY_BITS = 16_384;

const VERSIONS = { TLSv1_2: 'TLSv1.2', TLSv1_3: 'TLSv1.3' } as const;
const wireVersion = (version: TlsVersion): string =>
  version === 'TLSv1.2' ? 'TLSv1_2' : 'TLSv1_3';

const ADS: PlainMessage = { ads: {}, resource_api_version: 'V3' };

/**
 * A DownstreamTlsContext.
 * @throws {TypeError} for one without a certificate.
 */
export function encodeTermination(tls: TerminationTls): PlainMessage {
  const { certificates, clients } = tls;
  if (certificates.length === 0)
    throw new TypeError('Cannot encode a TLS context: it has no certificate');
  const files = certificates.filter((one) => one.kind === 'file');
  if (files.length > 0 && files.length < certificates.length)
    throw new TypeError(
      'Cannot encode a TLS context: certificates of files and of Secrets are mixed',
    );
  return {
    common_tls_context: {
      tls_params: {
        tls_minimum_protocol_version: wireVersion(tls.minVersion),
        tls_maximum_protocol_version: wireVersion(tls.maxVersion),
        cipher_suites: tls.cipherSuites,
      },
      tls_certificates: files.map(({ certificate, key }) => ({
        certificate_chain: { filename: certificate },
        private_key: { filename: key },
      })),
      tls_certificate_sds_secret_configs: certificates.flatMap((one) =>
        one.kind === 'sds' ? [{ name: one.name, sds_config: ADS }] : [],
      ),
      ...(clients && encodeValidation(clients)),
      alpn_protocols: tls.alpn,
    },
    require_client_certificate: encodeBool(clients?.isRequired === true),
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
  };
}

function encodeValidation({ trust, constraints }: ClientDemand): PlainMessage {
  const asked = {
    match_typed_subject_alt_names: constraints.subjectAltNames.map((name) => ({
      san_type: name.type,
      matcher: encodeStringMatcher({
        kind: name.match,
        value: name.value,
        ignoreCase: name.type !== 'URI',
      }),
    })),
    verify_certificate_spki: constraints.spkiPins.map((pin) =>
      Buffer.from(pin, 'hex').toString('base64'),
    ),
    custom_validator_config: encodeRest(constraints),
  };
  if (trust.kind === 'sds') {
    return {
      combined_validation_context: {
        default_validation_context: asked,
        validation_context_sds_secret_config: { name: trust.name, sds_config: ADS },
      },
    };
  }
  const { ca, crl } = trust;
  return {
    validation_context: {
      trusted_ca: { filename: ca },
      ...(crl !== undefined && { crl: { filename: crl } }),
      ...asked,
    },
  };
}

type Rest = Omit<ClientConstraints, 'subjectAltNames' | 'spkiPins'>;

const CONSTRAINTS: Extension<Rest> = {
  name: 'weft.tls.client_constraints',
  typeName: 'weft.tls.v1.ClientConstraints',
  read: (fields) => {
    const seconds = integer(fields, 'crl_max_age_seconds', MAX_SECONDS);
    return {
      issuers: readNames(fields, 'issuers'),
      subjects: readNames(fields, 'subjects'),
      extendedKeyUsages: texts(fields, 'extended_key_usages'),
      keys: messages(fields, 'keys', readKey),
      serials: texts(fields, 'serials'),
      ...(seconds > 0 && { crlMaxAgeMs: seconds * 1_000 }),
    };
  },
};

/** Absent where Envoy can ask for all there is. */
function encodeRest(constraints: ClientConstraints): PlainMessage | undefined {
  const { issuers, subjects, extendedKeyUsages, keys, serials, crlMaxAgeMs } = constraints;
  const lists = [issuers, subjects, extendedKeyUsages, keys, serials];
  if (crlMaxAgeMs === undefined && lists.every((list) => list.length === 0)) return undefined;
  return encodeExtension(CONSTRAINTS, {
    issuers: issuers.map((name) => name.text),
    subjects: subjects.map((name) => name.text),
    extended_key_usages: extendedKeyUsages,
    keys: keys.map(encodeKey),
    serials,
    crl_max_age_seconds: nonZero(Math.floor((crlMaxAgeMs ?? 0) / 1_000)),
  });
}

function encodeKey(rule: KeyRule): PlainMessage {
  switch (rule.kind) {
    case 'RSA':
      return { type: 'RSA', min_bits: rule.minBits };
    case 'EC':
      return { type: 'EC', curves: rule.curves };
    case 'Ed25519':
      return { type: 'Ed25519' };
    default:
      return rule satisfies never;
  }
}

const readKey: Read<KeyRule> = (fields) => {
  const type = requiredText(fields, 'type');
  if (type === 'RSA') return { kind: 'RSA', minBits: integer(fields, 'min_bits', MAX_KEY_BITS) };
  if (type === 'EC') return { kind: 'EC', curves: texts(fields, 'curves') };
  if (type === 'Ed25519') return { kind: 'Ed25519' };
  return report(fields, 'type', 'unknown-value', `is ${shown(type)}`);
};

function readNames(fields: Fields, name: string): readonly NamePattern[] {
  return texts(fields, name).flatMap((value, index) => {
    const pattern = parseNamePattern(value);
    if (pattern !== undefined) return [pattern];
    report(fields, `${name}[${index}]`, 'malformed', 'is no distinguished name');
    return [];
  });
}

const readVersion = (fields: Fields, name: string): TlsVersion | undefined =>
  choose(fields, name, VERSIONS);

const readFile: Read<string> = (fields) => {
  if (oneOf(fields, 'specifier') === 'filename') return requiredText(fields, 'filename');
  return report(fields, '', 'not-supported', 'must name a file: texts come by SDS');
};

const readSds: Read<string> = (fields) => {
  requiredMessage(fields, 'sds_config', (source) => {
    requiredMessage(source, 'ads', () => true);
    return choose(source, 'resource_api_version', { V3: true });
  });
  return requiredText(fields, 'name');
};

const readCommon: Read<
  Omit<TerminationTls, 'clients'> & { readonly clients?: Omit<ClientDemand, 'isRequired'> }
> = (fields) => {
  const params = requiredMessage(fields, 'tls_params', (given) => {
    const minVersion = readVersion(given, 'tls_minimum_protocol_version');
    const maxVersion = readVersion(given, 'tls_maximum_protocol_version');
    const cipherSuites = texts(given, 'cipher_suites');
    return minVersion && maxVersion && { minVersion, maxVersion, cipherSuites };
  });
  const files = messages(fields, 'tls_certificates', (pair): CertificateRef | undefined => {
    const certificate = requiredMessage(pair, 'certificate_chain', readFile);
    const key = requiredMessage(pair, 'private_key', readFile);
    return certificate === undefined || key === undefined
      ? undefined
      : { kind: 'file', certificate, key };
  });
  const delivered = messages(fields, 'tls_certificate_sds_secret_configs', (config) => {
    const name = readSds(config);
    return name === undefined ? undefined : ({ kind: 'sds', name } as const);
  });
  const alpn = texts(fields, 'alpn_protocols');
  const certificates = [...files, ...delivered];
  const hasClients =
    isSet(fields, 'validation_context') || isSet(fields, 'combined_validation_context');
  const clients = hasClients ? readValidation(fields) : undefined;
  if (files.length > 0 && delivered.length > 0)
    report(fields, 'tls_certificates', 'not-supported', 'stands beside certificates by SDS');
  if (certificates.length === 0)
    return report(fields, 'tls_certificates', 'missing', 'names no certificate');
  // A demand for certificates that could not be read must never be taken for none.
  if (params === undefined || (hasClients && clients === undefined)) return undefined;
  return { ...params, certificates, alpn, ...(clients && { clients }) };
};

function readValidation(fields: Fields): Omit<ClientDemand, 'isRequired'> | undefined {
  if (isSet(fields, 'validation_context')) {
    return message(fields, 'validation_context', (context) => {
      const ca = requiredMessage(context, 'trusted_ca', readFile);
      const hasCrl = isSet(context, 'crl');
      const crl = message(context, 'crl', readFile);
      const constraints = readConstraints(context);
      if (ca === undefined || constraints === undefined || (hasCrl && crl === undefined))
        return undefined;
      const trust: ClientTrustRef = { kind: 'file', ca, ...(crl !== undefined && { crl }) };
      return { trust, constraints };
    });
  }
  return message(fields, 'combined_validation_context', (combined) => {
    const name = requiredMessage(combined, 'validation_context_sds_secret_config', readSds);
    const constraints = requiredMessage(combined, 'default_validation_context', readConstraints);
    if (name === undefined || constraints === undefined) return undefined;
    return { trust: { kind: 'sds', name }, constraints };
  });
}

const readConstraints: Read<ClientConstraints> = (fields) => {
  const subjectAltNames = messages(fields, 'match_typed_subject_alt_names', readAltName);
  const spkiPins = texts(fields, 'verify_certificate_spki').map((pin) =>
    Buffer.from(pin, 'base64').toString('hex'),
  );
  const hasRest = isSet(fields, 'custom_validator_config');
  const rest = message(fields, 'custom_validator_config', (config) =>
    readExtension(config, [CONSTRAINTS]),
  );
  if (hasRest && rest === undefined) return undefined;
  return { ...(rest ?? NOTHING_ELSE), subjectAltNames, spkiPins };
};

const NOTHING_ELSE: Rest = {
  issuers: [],
  subjects: [],
  extendedKeyUsages: [],
  keys: [],
  serials: [],
};

const readAltName: Read<AltNamePattern> = (fields) => {
  const type = choose(fields, 'san_type', { DNS: 'DNS', URI: 'URI', EMAIL: 'EMAIL' } as const);
  const matcher = requiredMessage(fields, 'matcher', readStringMatcher);
  if (type === undefined || matcher === undefined) return undefined;
  const isFit =
    (matcher.kind === 'exact' || matcher.kind === 'prefix' || matcher.kind === 'suffix') &&
    matcher.ignoreCase === (type !== 'URI');
  if (!isFit) return report(fields, 'matcher', 'not-supported', 'is no way to match a name here');
  return { type, match: matcher.kind, value: matcher.value };
};

/** Of a DownstreamTlsContext that is no mesh's: those never say anything about resumption. */
export const isTermination = (fields: Fields): boolean =>
  isSet(fields, 'disable_stateless_session_resumption');

export const readTermination: Read<TerminationTls> = (fields) => {
  const isRequired = boolValue(fields, 'require_client_certificate') ?? false;
  const isStatelessOff = flag(fields, 'disable_stateless_session_resumption');
  if (!isStatelessOff || !flag(fields, 'disable_stateful_session_resumption'))
    report(fields, '', 'not-supported', 'would resume sessions, whose clients show no certificate');
  const common = requiredMessage(fields, 'common_tls_context', readCommon);
  if (common === undefined) return undefined;
  const { clients, ...rest } = common;
  if (clients === undefined && isRequired)
    return report(fields, 'require_client_certificate', 'missing', 'is set, and nobody trusted');
  return { ...rest, ...(clients && { clients: { ...clients, isRequired } }) };
};
