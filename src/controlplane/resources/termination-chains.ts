// The filter chains of a port that takes TLS of clients outside the mesh, beside those of the mesh and of plaintext.
import type { InboundPort, InboundSpec } from '@weft/model/mesh/mesh';
import { isHttp, type PortProtocol } from '@weft/model/mesh/protocol';
import { believedTrustDomains } from '@weft/model/mesh/believed-trust-domains';
import { CLIENT_AUTH, trustDomainOf } from '@weft/model/tls/client-certificate';
import { CLIENT_CERTIFICATE } from '@weft/model/tls/client-facts';
import type { ClientConstraints, Hsts, TlsTermination } from '@weft/model/tls/types';
import {
  type FilterChain,
  type FilterChainMatch,
  type NetworkFilter,
} from '@weft/xds/resources/listener';
import type { HeaderRules } from '@weft/xds/resources/route-rule';
import type { ClientTrustRef, TerminationTls } from '@weft/xds/resources/termination';
import { BLACKHOLE_CLUSTER, inboundClusterName } from './cluster-names.ts';
import { REQUEST_HEADERS_TIMEOUT_MS, STREAM_IDLE_TIMEOUT_MS } from './http-limits.ts';
import { meshMatches } from './mesh-matches.ts';
import type { ChainParts } from './inbound-chains.ts';
import { authoritiesName, certificateName } from './termination-secrets.ts';

/** What holds for a port: nothing, one TlsTermination, or that it cannot be said and is closed. */
export type PortTermination =
  | { readonly kind: 'none' }
  | { readonly kind: 'open'; readonly termination: TlsTermination }
  | { readonly kind: 'closed'; readonly reason: 'several' | 'names-mesh' };

const NONE: PortTermination = { kind: 'none' };

/**
 * Where mutual TLS of the mesh is demanded nobody else is let in: who demands it may be somebody else than who wrote
 * the TlsTermination.
 */
export function terminationOf(
  { terminations = [], settings }: Pick<InboundSpec, 'terminations' | 'settings'>,
  { port, mode }: Pick<InboundPort, 'port' | 'mode'>,
): PortTermination {
  const [termination, ...others] = terminations.filter(
    ({ ports }) => ports.length === 0 || ports.includes(port),
  );
  if (termination === undefined || mode === 'STRICT') return NONE;
  if (others.length > 0) return { kind: 'closed', reason: 'several' };
  const own = new Set<string>(believedTrustDomains(settings));
  const names = termination.clientCertificates?.constraints.subjectAltNames ?? [];
  const namesMesh = names.some((name) => own.has(trustDomainOf(name) ?? ''));
  return namesMesh ? { kind: 'closed', reason: 'names-mesh' } : { kind: 'open', termination };
}

const ANY: FilterChainMatch = { destinationRanges: [], applicationProtocols: [], serverNames: [] };

/** As the HTTP inspector names what it found. */
const PLAIN_HTTP: readonly string[] = ['http/1.0', 'http/1.1', 'h2c'];

/** Of an undeclared protocol HTTP is expected, and of one that was declared TLS: that is what is taken off here. */
const carriesHttp = (protocol: PortProtocol): boolean =>
  isHttp(protocol) || protocol === 'auto' || protocol === 'tls';

/** Together they match every connection to the port: none falls through to the chains of undeclared ports. */
export function buildTerminationChains(
  port: InboundPort,
  held: Exclude<PortTermination, { readonly kind: 'none' }>,
  { parts, asksForClients }: { readonly parts: ChainParts; readonly asksForClients: boolean },
): readonly FilterChain[] {
  const chain = (label: string, match: Partial<FilterChainMatch>, rest: Rest): FilterChain => ({
    name: `${port.port}-${label}`,
    match: { ...ANY, destinationPort: port.port, ...match },
    ...rest,
  });
  const mesh = port.mode === 'DISABLE' ? [] : meshChains(port, parts, chain);
  const refusedTls = chain('refused-tls', { transportProtocol: 'tls' }, REFUSING);
  const refusedPlain = chain('refused-plain', { transportProtocol: 'raw_buffer' }, REFUSING);
  if (held.kind === 'closed') return [...mesh, refusedTls, refusedPlain];
  const { termination } = held;
  const { serverNames } = termination;
  const match = { transportProtocol: 'tls', serverNames } as const;
  const outside = chain('outside', match, {
    termination: terminationTls(termination, port.protocol, asksForClients),
    filters: outsideFilters(termination, port, parts),
  });
  return [
    ...mesh,
    outside,
    ...(serverNames.length > 0 ? [refusedTls] : []),
    ...(plainChains(termination, { port, parts, chain }) ?? [refusedPlain]),
  ];
}

type Rest = Pick<FilterChain, 'filters' | 'tls' | 'termination'>;
type MakeChain = (label: string, match: Partial<FilterChainMatch>, rest: Rest) => FilterChain;

const REFUSING: Rest = {
  filters: [{ kind: 'tcpProxy', statPrefix: 'inbound_refused', cluster: BLACKHOLE_CLUSTER }],
};

function meshChains(
  { port, protocol }: InboundPort,
  parts: ChainParts,
  chain: MakeChain,
): readonly FilterChain[] {
  const cluster = inboundClusterName(port);
  return meshMatches(protocol).map(({ label, carries, match }) =>
    chain(label, match, {
      tls: parts.tls,
      filters: carries === 'http' ? parts.http('mesh', { port, cluster }) : parts.tcp(cluster),
    }),
  );
}

function outsideFilters(
  { clientCertificates, hsts }: TlsTermination,
  { port, protocol }: InboundPort,
  parts: ChainParts,
): readonly NetworkFilter[] {
  const cluster = inboundClusterName(port);
  if (!carriesHttp(protocol)) return parts.tcp(cluster, 'outside');
  return parts.http('outside', {
    port,
    cluster,
    showsClient: clientCertificates !== undefined,
    scheme: 'https',
    ...(hsts && { answerHeaders: hstsHeader(hsts) }),
  });
}

/** RFC 6797 §6.1; over plaintext it is never said. */
function hstsHeader({ maxAgeSeconds, includeSubDomains, preload }: Hsts): HeaderRules {
  const value = [
    `max-age=${maxAgeSeconds}`,
    ...(includeSubDomains ? ['includeSubDomains'] : []),
    ...(preload ? ['preload'] : []),
  ].join('; ');
  return { remove: [], put: [{ name: 'strict-transport-security', value, isSet: true }] };
}

/** @returns `undefined` where plaintext is refused. */
function plainChains(
  { plaintext }: TlsTermination,
  of: { readonly port: InboundPort; readonly parts: ChainParts; readonly chain: MakeChain },
): readonly FilterChain[] | undefined {
  const { port: inbound, parts, chain } = of;
  const { port, protocol } = inbound;
  const cluster = inboundClusterName(port);
  const raw = { transportProtocol: 'raw_buffer' } as const;
  if (plaintext.kind === 'redirect' && carriesHttp(protocol))
    return [chain('redirect', raw, { filters: [redirectFilter(port, plaintext)] })];
  if (plaintext.kind !== 'allow') return undefined;
  const http = { filters: parts.http('plain', { port, cluster, scheme: 'http' }) };
  const tcp = { filters: parts.tcp(cluster) };
  if (isHttp(protocol)) return [chain('plain-http', raw, http)];
  if (protocol !== 'auto') return [chain('plain-tcp', raw, tcp)];
  return [
    chain('plain-http', { ...raw, applicationProtocols: PLAIN_HTTP }, http),
    chain('plain-tcp', raw, tcp),
  ];
}

/** Nothing of the application is asked or shown, so no rule is. */
const redirectFilter = (
  port: number,
  to: Extract<TlsTermination['plaintext'], { readonly kind: 'redirect' }>,
): NetworkFilter => {
  const route = {
    match: { kind: 'prefix', value: '/' },
    cluster: '',
    timeoutMs: 0,
    connectRetries: 0,
    rule: { answer: { kind: 'redirect', status: to.status, scheme: 'https', port: to.port } },
  } as const;
  const name = `redirect_${port}`;
  return {
    kind: 'http',
    http: {
      statPrefix: name,
      routes: {
        kind: 'inline',
        config: { name, virtualHosts: [{ name, domains: ['*'], routes: [route] }] },
      },
      filters: [{ kind: 'router' }],
      forwardClientCert: 'sanitize',
      trustedHops: 0,
      pathNormalization: 'BASE',
      upgrades: [],
      requestHeadersTimeoutMs: REQUEST_HEADERS_TIMEOUT_MS,
      streamIdleTimeoutMs: STREAM_IDLE_TIMEOUT_MS,
    },
  };
};

/** Whether a rule reads what certificates of clients say. */
export const asksForClients = ({ policies }: Pick<InboundSpec, 'policies'>): boolean =>
  policies.some(({ rules = [] }) =>
    rules.some(({ when }) =>
      when.some(({ key }) => key.kind === 'metadata' && key.filter === CLIENT_CERTIFICATE),
    ),
  );

/**
 * An Envoy knows nothing of what such a rule reads, and a DENY by it would never apply there: then clientAuth, which is
 * asked for in any case, is asked for by name, in words that Envoy does not know and refuses.
 */
function constraintsOf(
  { constraints }: NonNullable<TlsTermination['clientCertificates']>,
  isAskedFor: boolean,
): ClientConstraints {
  if (!isAskedFor) return constraints;
  const { extendedKeyUsages } = constraints;
  return { ...constraints, extendedKeyUsages: [...new Set([CLIENT_AUTH, ...extendedKeyUsages])] };
}

function terminationTls(
  termination: TlsTermination,
  protocol: PortProtocol,
  isAskedFor: boolean,
): TerminationTls {
  const { namespace, minVersion, maxVersion, cipherSuites, clientCertificates } = termination;
  return {
    minVersion,
    maxVersion,
    cipherSuites: minVersion === 'TLSv1.3' ? [] : cipherSuites,
    alpn: alpnOf(termination, protocol),
    certificates: termination.certificates.map((source) =>
      source.kind === 'file'
        ? source
        : { kind: 'sds', name: certificateName(namespace, source.name) },
    ),
    ...(clientCertificates && {
      clients: {
        isRequired: clientCertificates.mode === 'REQUIRED',
        trust: trustOf(namespace, clientCertificates),
        constraints: constraintsOf(clientCertificates, isAskedFor),
      },
    }),
  };
}

/** HTTP/2 only for applications that speak it: requests are passed on in the version in which they came. */
function alpnOf({ alpn }: TlsTermination, protocol: PortProtocol): readonly string[] {
  if (!carriesHttp(protocol)) return [];
  if (alpn !== undefined) return alpn;
  return protocol === 'http2' || protocol === 'grpc' ? ['h2', 'http/1.1'] : ['http/1.1'];
}

function trustOf(
  namespace: string,
  clients: NonNullable<TlsTermination['clientCertificates']>,
): ClientTrustRef {
  const { trust } = clients;
  return trust.kind === 'file' ? trust : { kind: 'sds', name: authoritiesName(namespace, clients) };
}
