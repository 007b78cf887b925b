// Mutual TLS on the wire: both contexts with TLS 1.3 only, certificates by SDS, and the identities a peer may have.
import { AGENT_CLUSTERS } from '../agent-form.ts';
import type { UpstreamTls } from '../resources/cluster.ts';
import type { DownstreamTls } from '../resources/listener.ts';
import type { TerminationTls } from '../resources/termination.ts';
import type { StringMatcher } from '@weft/model/policy/rbac';
import type { PlainMessage } from '../registry.ts';
import {
  choose,
  type Fields,
  flag,
  messages,
  missing,
  type Read,
  report,
  requiredMessage,
  requiredText,
  text,
  texts,
} from './fields.ts';
import { encodeStringMatcher, readStringMatcher } from './string-match.ts';
import { encodeTermination, isTermination, readTermination } from './termination.ts';
import {
  boolValue,
  encodeBool,
  encodeExtension,
  type Extension,
  nonEmpty,
  readExtension,
} from './well-known.ts';

const TLS_TYPES = 'envoy.extensions.transport_sockets.tls.v3';
const TLS_SOCKET = 'envoy.transport_sockets.tls';
/** Of a server name, as DNS and Envoy bound it. */
const MAX_SNI_LENGTH = 255;

/** Where a resource that another one names comes from: the stream it came on. */
export const ADS_SOURCE: PlainMessage = { ads: {}, resource_api_version: 'V3' };

/**
 * Where a proxy keeps its own certificate, below its working directory: no private key travels, so it is no resource of
 * the stream's. Envoy reads and watches this file (a list of one secret); Weft's sidecar knows its own and reads none.
 */
export const OWN_CERTIFICATE_FILE = 'weft/default.json';
const OWN_SOURCE: PlainMessage = {
  path_config_source: { path: OWN_CERTIFICATE_FILE },
  resource_api_version: 'V3',
};

/** An Envoy with an agent has its certificate of it, by SDS: no key lies on a disk, and a new one is pushed. */
const AGENT_SOURCE: PlainMessage = {
  api_config_source: {
    api_type: 'DELTA_GRPC',
    grpc_services: [{ envoy_grpc: { cluster_name: AGENT_CLUSTERS.discovery } }],
    set_node_on_first_message_only: true,
    transport_api_version: 'V3',
  },
  resource_api_version: 'V3',
};

/** Reads a ConfigSource that must be {@link ADS_SOURCE}. */
export function checkAdsSource(fields: Fields, name: string): void {
  requiredMessage(fields, name, (source) => {
    requiredMessage(source, 'ads', () => true);
    return choose(source, 'resource_api_version', { V3: true });
  });
}

/** What both sides have in common. */
interface CommonTls<T> {
  readonly alpn: readonly string[];
  readonly certificateSecret: string;
  readonly certificateFrom?: 'agent';
  readonly validationSecret: string;
  readonly peerUris: readonly T[];
}

/** @throws {TypeError} when no peer is named: a context without names would accept every certificate of the bundle. */
function encodeCommonTls(tls: CommonTls<StringMatcher>): PlainMessage {
  if (tls.peerUris.length === 0)
    throw new TypeError('Cannot encode a TLS context: it names no peer, and would accept any');
  const sans = tls.peerUris.map((matcher) => ({
    san_type: 'URI',
    matcher: encodeStringMatcher(matcher),
  }));
  const source = tls.certificateFrom === 'agent' ? AGENT_SOURCE : OWN_SOURCE;
  return {
    tls_params: {
      tls_minimum_protocol_version: 'TLSv1_3',
      tls_maximum_protocol_version: 'TLSv1_3',
    },
    alpn_protocols: tls.alpn,
    tls_certificate_sds_secret_configs: [{ name: tls.certificateSecret, sds_config: source }],
    combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: sans },
      validation_context_sds_secret_config: { name: tls.validationSecret, sds_config: ADS_SOURCE },
    },
  };
}

const readCommonTls: Read<CommonTls<StringMatcher>> = (fields) => {
  requiredMessage(fields, 'tls_params', (params) => {
    choose(params, 'tls_minimum_protocol_version', { TLSv1_3: true });
    return choose(params, 'tls_maximum_protocol_version', { TLSv1_3: true });
  });
  const alpn = texts(fields, 'alpn_protocols');
  const certificates = messages(fields, 'tls_certificate_sds_secret_configs', readOwnSecret);
  const [certificate, second] = certificates;
  if (certificate === undefined || second !== undefined)
    report(fields, 'tls_certificate_sds_secret_configs', 'missing', 'must name one certificate');
  const validation = requiredMessage(fields, 'combined_validation_context', readValidation);
  if (validation === undefined || certificate === undefined) return undefined;
  return { alpn, ...certificate, ...validation };
};

const readSecretName: Read<string> = (fields) => {
  checkAdsSource(fields, 'sds_config');
  return requiredText(fields, 'name');
};

type OwnSecret = Pick<CommonTls<never>, 'certificateSecret' | 'certificateFrom'>;

const readOwnSecret: Read<OwnSecret> = (fields) => {
  const from = requiredMessage(fields, 'sds_config', (source) => {
    const isAgent = source.byName.has('api_config_source');
    if (isAgent) requiredMessage(source, 'api_config_source', checkAgentSource);
    else requiredMessage(source, 'path_config_source', checkOwnFile);
    choose(source, 'resource_api_version', { V3: true });
    return isAgent ? 'agent' : 'file';
  });
  const certificateSecret = requiredText(fields, 'name');
  return { certificateSecret, ...(from === 'agent' && { certificateFrom: from }) };
};

const checkOwnFile: Read<true> = (file) => {
  if (requiredText(file, 'path') !== OWN_CERTIFICATE_FILE)
    report(file, 'path', 'not-supported', `must be ${OWN_CERTIFICATE_FILE}`);
  return true;
};

/** Nobody else is asked for the own key than the agent. */
const checkAgentSource: Read<true> = (source) => {
  choose(source, 'api_type', { DELTA_GRPC: true });
  choose(source, 'transport_api_version', { V3: true });
  flag(source, 'set_node_on_first_message_only');
  const clusters = messages(source, 'grpc_services', (service) =>
    requiredMessage(service, 'envoy_grpc', (grpc) => requiredText(grpc, 'cluster_name')),
  );
  if (clusters.length !== 1 || clusters[0] !== AGENT_CLUSTERS.discovery)
    report(
      source,
      'grpc_services',
      'not-supported',
      `must be the cluster ${AGENT_CLUSTERS.discovery}`,
    );
  return true;
};

const readValidation: Read<Pick<CommonTls<StringMatcher>, 'validationSecret' | 'peerUris'>> = (
  fields,
) => {
  const validationSecret = requiredMessage(
    fields,
    'validation_context_sds_secret_config',
    readSecretName,
  );
  const peerUris = requiredMessage(fields, 'default_validation_context', (context) => {
    // Without a name every certificate that the bundle vouches for would do.
    if (!context.byName.has('match_typed_subject_alt_names'))
      return missing(context, 'match_typed_subject_alt_names');
    return messages(context, 'match_typed_subject_alt_names', (san) => {
      choose(san, 'san_type', { URI: true });
      return requiredMessage(san, 'matcher', readStringMatcher);
    });
  });
  return validationSecret === undefined || peerUris === undefined
    ? undefined
    : { validationSecret, peerUris };
};

/** How a filter chain takes TLS: that of the mesh, or that of clients outside it. */
export type ChainTls = { readonly tls: DownstreamTls } | { readonly termination: TerminationTls };

const DOWNSTREAM_TLS: Extension<ChainTls> = {
  name: TLS_SOCKET,
  typeName: `${TLS_TYPES}.DownstreamTlsContext`,
  read: (fields) => {
    if (isTermination(fields)) {
      const termination = readTermination(fields);
      return termination && { termination };
    }
    if (boolValue(fields, 'require_client_certificate') !== true)
      report(fields, 'require_client_certificate', 'missing', 'must be true');
    const tls = requiredMessage(fields, 'common_tls_context', readCommonTls);
    return tls && { tls };
  },
};

/** A transport socket for a filter chain. */
export const encodeDownstreamTls = (tls: DownstreamTls): PlainMessage =>
  encodeExtension(DOWNSTREAM_TLS, {
    common_tls_context: encodeCommonTls(tls),
    require_client_certificate: encodeBool(true),
  });

/** The same for clients outside the mesh. */
export const encodeTerminationTls = (tls: TerminationTls): PlainMessage =>
  encodeExtension(DOWNSTREAM_TLS, encodeTermination(tls));

export const readDownstreamTls: Read<ChainTls> = (fields) =>
  readExtension(fields, [DOWNSTREAM_TLS]);

const UPSTREAM_TLS: Extension<UpstreamTls> = {
  name: TLS_SOCKET,
  typeName: `${TLS_TYPES}.UpstreamTlsContext`,
  read: (fields) => {
    const sni = text(fields, 'sni');
    if (sni.length > MAX_SNI_LENGTH) report(fields, 'sni', 'out-of-range', 'is too long');
    const common = requiredMessage(fields, 'common_tls_context', readCommonTls);
    const peerUris = common?.peerUris.map((peer) => exactUri(fields, peer)) ?? [];
    return common && { ...common, sni, peerUris };
  },
};

/** A client knows whom it calls: patterns have no place on its side. */
function exactUri(fields: Fields, peer: StringMatcher): string {
  if (peer.kind === 'exact' && !peer.ignoreCase) return peer.value;
  report(fields, 'common_tls_context', 'not-supported', 'names a peer by more than an exact text');
  return '';
}

/** A transport socket for a cluster. */
export function encodeUpstreamTls(tls: UpstreamTls): PlainMessage {
  const peerUris = tls.peerUris.map(
    (value): StringMatcher => ({ kind: 'exact', value, ignoreCase: false }),
  );
  return encodeExtension(UPSTREAM_TLS, {
    common_tls_context: encodeCommonTls({ ...tls, peerUris }),
    sni: nonEmpty(tls.sni),
  });
}

export const readUpstreamTls: Read<UpstreamTls> = (fields) => readExtension(fields, [UPSTREAM_TLS]);

const RAW_BUFFER: Extension<true> = {
  name: 'envoy.transport_sockets.raw_buffer',
  typeName: 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer',
  read: () => true,
};

/** A transport socket that passes bytes as they are. */
export const encodeRawBuffer = (): PlainMessage => encodeExtension(RAW_BUFFER);

export const readRawBuffer: Read<true> = (fields) => readExtension(fields, [RAW_BUFFER]);
