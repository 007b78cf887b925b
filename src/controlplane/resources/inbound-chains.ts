// The parts that a workload's inbound chains share: mutual TLS, the rules, and what a connection ends in.
import type { InboundSpec, MeshSettings } from '@weft/model/mesh/mesh';
import { believedTrustDomains } from '@weft/model/mesh/believed-trust-domains';
import { AMBIGUOUS_PATH_RULES, type PathOptions } from '@weft/model/policy/ambiguous-path';
import { compileDenials, type DenialReply } from '@weft/model/policy/denials';
import { compileCandidates, compilePolicies } from '@weft/model/policy/compile';
import type { RbacRules, StringMatcher } from '@weft/model/policy/rbac';
import {
  type DownstreamTls,
  type HttpConnectionManager,
  type HttpFilter,
  MESH_ACCEPTS,
  type NetworkFilter,
} from '@weft/xds/resources/listener';
import type { HeaderRules, RouteRule } from '@weft/xds/resources/route-rule';
import { BUNDLE_SECRET, OWN_CERTIFICATE_SECRET } from '@weft/xds/resources/secret';
import { DRY_RUN_PREFIXES, type ShadowRules } from '@weft/xds/resources/shadow-rules';
import { buildExtAuthzFilters } from './ext-authz-filters.ts';
import { buildTrafficFilters } from './traffic-filters.ts';
import { withoutPeers } from './rules-of-outsiders.ts';
import { REQUEST_HEADERS_TIMEOUT_MS, STREAM_IDLE_TIMEOUT_MS, UPGRADES } from './http-limits.ts';

/** `outside`: TLS of clients outside the mesh. */
type Security = 'mesh' | 'plain' | 'outside';

interface HttpTarget {
  readonly port: number;
  readonly cluster: string;
  /** Clients outside the mesh show certificates. */
  readonly showsClient?: boolean;
  /** X-Forwarded-Proto, where an application may be called by both. */
  readonly scheme?: 'http' | 'https';
  /** For every answer of the application. */
  readonly answerHeaders?: HeaderRules;
}

export interface ChainParts {
  readonly tls: DownstreamTls;
  http(security: Security, to: HttpTarget): readonly NetworkFilter[];
  tcp(cluster: string, security?: Security): readonly NetworkFilter[];
}

/** Plaintext is judged by the same rules: there is no peer then, and what asks for one does not match. */
export function createChainParts(spec: InboundSpec): ChainParts {
  const providers = new Set(spec.authorizers?.map(({ name }) => name));
  const compile = (protocol: 'http' | 'tcp') => {
    const { trustDomain, trustDomainAliases, federatedTrustDomains: others } = spec.settings;
    const federated = others && { federatedTrustDomains: others };
    const options = { trustDomain, trustDomainAliases, ...federated, protocol, providers };
    return {
      authorizers: buildExtAuthzFilters(spec, options),
      rules: compilePolicies(spec.policies, spec.broken, options),
      candidates: compileCandidates(spec.policies, options).flatMap(dryRunOf),
      traffic: buildTrafficFilters(spec, options),
    };
  };
  const statPrefix = 'inbound';
  const tcp = compile('tcp');
  const tcpRules: readonly NetworkFilter[] = [
    ...(spec.login === undefined ? [] : [NOBODY]),
    ...tcp.candidates.map((shadow) => ({ kind: 'shadowRbac', statPrefix, shadow }) as const),
    ...tcp.rules.map((rules) => ({ kind: 'rbac', statPrefix, rules }) as const),
  ];
  const http = compile('http');
  const { refused } = pathsOf(spec);
  const httpFilters: readonly HttpFilter[] = [
    ...(refused.length === 0 ? [] : [{ kind: 'refusePaths', refused } as const]),
    ...http.traffic.before,
    ...loginOf(spec),
    ...http.authorizers,
    ...jwtOf(spec),
    ...http.candidates.map((shadow) => ({ kind: 'shadowRbac', shadow }) as const),
    ...http.rules.map((rules) => ({ kind: 'rbac', rules }) as const),
    ...http.traffic.behind,
    { kind: 'router' },
  ];
  return {
    tls: {
      alpn: MESH_ACCEPTS,
      certificateSecret: OWN_CERTIFICATE_SECRET,
      validationSecret: BUNDLE_SECRET,
      peerUris: peersOf(spec.settings),
    },
    http: (security, to) => [
      httpFilter(security, {
        ...to,
        httpFilters: security === 'outside' ? httpFilters.map(withoutPeers) : httpFilters,
        spec,
      }),
    ],
    tcp: (cluster, security) => [
      ...(security === 'outside' ? tcpRules.map(withoutPeers) : tcpRules),
      { kind: 'tcpProxy', statPrefix: `inbound_${statName(cluster)}`, cluster },
    ],
  };
}

/** What is no HTTP cannot be asked for a login, and would pass it by. */
const NOBODY: NetworkFilter = {
  kind: 'rbac',
  statPrefix: 'inbound',
  rules: { action: 'ALLOW', policies: [] },
};

/** Before whoever else is asked about a request, and before the rules, which may name the user. */
const loginOf = ({ login }: InboundSpec): readonly HttpFilter[] =>
  login === undefined ? [] : [{ kind: 'basicAuth', login }];

/** Before the rules, which read what it found out. */
const jwtOf = ({ tokens: rules = [] }: InboundSpec): readonly HttpFilter[] =>
  rules.length === 0 ? [] : [{ kind: 'jwt', jwt: { rules } }];

/** What is refused for its path is answered 400 by Envoys too, which refuse it by rules. */
function denialsOf(spec: InboundSpec): { readonly denials?: readonly DenialReply[] } {
  const { policies, explained = new Map(), namespace } = spec;
  const denials = compileDenials(policies, explained, namespace);
  const isRefusing = pathsOf(spec).refused.length > 0;
  const all = isRefusing ? [AMBIGUOUS_PATH_REPLY, ...denials] : denials;
  return all.length === 0 ? {} : { denials: all };
}

const AMBIGUOUS_PATH_REPLY: DenialReply = {
  rules: AMBIGUOUS_PATH_RULES,
  status: 400,
  body: 'bad request: ambiguous path',
};

const pathsOf = ({ paths, settings }: InboundSpec): PathOptions =>
  paths ?? { normalization: settings.pathNormalization, refused: [] };

const dryRunOf = (rules: RbacRules): readonly ShadowRules[] =>
  rules.action === 'LOG' ? [] : [{ statPrefix: DRY_RUN_PREFIXES[rules.action], rules }];

/** Every identity of the mesh and of those that it is federated with; who of them may call what is for policies to say. */
const peersOf = (settings: MeshSettings): readonly StringMatcher[] =>
  believedTrustDomains(settings).map((trustDomain) => ({
    kind: 'prefix',
    value: `spiffe://${trustDomain}/`,
    ignoreCase: false,
  }));

const statName = (cluster: string): string => cluster.replaceAll('|', '_');

function headerRules({ scheme, answerHeaders }: HttpTarget): { readonly rule?: RouteRule } {
  if (scheme === undefined) return {};
  const put = [{ name: 'x-forwarded-proto', value: scheme, isSet: true }];
  const requestHeaders: HeaderRules = { remove: [], put };
  return { rule: { requestHeaders, ...(answerHeaders && { responseHeaders: answerHeaders }) } };
}

function clientCertMode(
  security: Security,
  { showsClient }: HttpTarget,
): HttpConnectionManager['forwardClientCert'] {
  if (security === 'mesh') return 'sanitizeSet';
  return security === 'outside' && showsClient === true ? 'sanitizeSetClient' : 'sanitize';
}

function httpFilter(
  security: Security,
  of: HttpTarget & {
    readonly httpFilters: readonly HttpFilter[];
    readonly spec: InboundSpec;
  },
): NetworkFilter {
  const route = {
    match: { kind: 'prefix', value: '/' },
    cluster: of.cluster,
    timeoutMs: 0,
    connectRetries: 0,
    ...headerRules(of),
  } as const;
  return {
    kind: 'http',
    http: {
      statPrefix: `inbound_${of.port}`,
      routes: {
        kind: 'inline',
        config: {
          name: of.cluster,
          virtualHosts: [{ name: of.cluster, domains: ['*'], routes: [route] }],
        },
      },
      filters: of.httpFilters,
      forwardClientCert: clientCertMode(security, of),
      trustedHops: of.spec.settings.trustedHops,
      pathNormalization: pathsOf(of.spec).normalization,
      upgrades: UPGRADES,
      requestHeadersTimeoutMs: REQUEST_HEADERS_TIMEOUT_MS,
      streamIdleTimeoutMs: STREAM_IDLE_TIMEOUT_MS,
      ...denialsOf(of.spec),
    },
  };
}
