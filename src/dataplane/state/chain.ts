// A listener made ready to run: filter chains by port, rules compiled into evaluators, and the choice of a chain for a connection.
import type { AmbiguousPath } from '@weft/model/policy/ambiguous-path';
import { compileRbac, type Evaluator, type Trial } from '@weft/model/policy/evaluate';
import type {
  DownstreamTls,
  FilterChain,
  FilterChainMatch,
  HttpConnectionManager,
  HttpFilter,
  Listener,
  NetworkFilter,
} from '@weft/xds/resources/listener';
import { clustersOf } from '@weft/xds/resources/route';
import { isDryRun } from '@weft/xds/resources/shadow-rules';
import type { TerminationTls } from '@weft/xds/resources/termination';
import { compileCidr, parseIp } from '@weft/model/ip';
import { createGates, type Gates } from '../filters/gates.ts';
import type { RequestGate } from '../filters/request-gate.ts';
import { type BodyLimits, bodyLimitsOf } from '../traffic/body-limits.ts';
import type { FloodGuard } from '../traffic/flood-guard.ts';
import type { LateGate } from '../traffic/late-gate.ts';

/** What became of a connection's first bytes, as far as chains are chosen by it. */
export interface ConnectionTraits {
  readonly transport: 'tls' | 'raw_buffer';
  /** ALPN offered in the ClientHello, or what the HTTP inspector found. */
  readonly applicationProtocols: readonly string[];
  readonly serverName: string | undefined;
}

/** One filter chain ready to run. `http` or `tcpCluster` is set, never both. */
export interface ChainRuntime {
  readonly name: string;
  readonly match: FilterChainMatch;
  readonly tls: DownstreamTls | undefined;
  /** TLS of clients outside the mesh. */
  readonly termination?: TerminationTls;
  /** Judges the connection; absent when no policy speaks of it. */
  readonly network: Evaluator | undefined;
  readonly http: HttpRuntime | undefined;
  readonly tcpCluster: string | undefined;
}

export interface HttpRuntime {
  readonly manager: HttpConnectionManager;
  /** Spellings of paths that are answered with 400; mostly none. */
  readonly refusedPaths: readonly AmbiguousPath[];
  /** What a request must pass before it is judged, in order; mostly none. */
  readonly gates: readonly RequestGate[];
  /** What a request that is allowed must pass besides; absent: nothing. */
  readonly late?: readonly LateGate[];
  readonly floods?: FloodGuard;
  /** How large and slow a body may be; absent: as it likes. */
  readonly body?: BodyLimits;
  /** Judges each request; absent when no policy speaks of the workload. */
  readonly evaluator: Evaluator | undefined;
}

export interface ListenerRuntime {
  readonly listener: Listener;
  /** Notices clients that do too much; absent: nobody does. */
  readonly floods?: FloodGuard;
  /** Chains that name a port. A connection to that port is tried on these alone. */
  readonly chainsByPort: ReadonlyMap<number, readonly ChainRuntime[]>;
  readonly otherChains: readonly ChainRuntime[];
  readonly defaultChain: ChainRuntime | undefined;
}

export interface ListenerReferences {
  readonly clusters: ReadonlySet<string>;
  readonly routes: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
  /** Those without which some connections are refused, and all others served. */
  readonly certificates: ReadonlySet<string>;
}

/** Of one chain's rbac and shadow filters; `undefined` when there are none. */
function compileRules(filters: readonly (HttpFilter | NetworkFilter)[]): Evaluator | undefined {
  const rules = filters.flatMap((filter) => (filter.kind === 'rbac' ? [filter.rules] : []));
  const candidates = filters.flatMap((filter) =>
    filter.kind === 'shadowRbac' && isDryRun(filter.shadow) ? [filter.shadow.rules] : [],
  );
  return rules.length + candidates.length === 0 ? undefined : compileRbac(rules, candidates);
}

/** In the order of the filters. @throws TypeError for an authorizer that nobody says what to ask about. */
function compileGates(filters: readonly HttpFilter[], makers: Gates): readonly RequestGate[] {
  return filters.flatMap((filter, index): readonly RequestGate[] => {
    if (filter.kind === 'jwt') return [makers.jwt(filter.jwt)];
    if (filter.kind === 'basicAuth') return [makers.login(filter.login)];
    if (filter.kind === 'requestLimits') return [makers.limits(filter.limits)];
    if (filter.kind !== 'extAuthz') return [];
    const before = filters[index - 1];
    if (before?.kind !== 'shadowRbac') {
      throw new TypeError(`Cannot ask ${filter.authz.provider}: no rules say about what`);
    }
    return [makers.extAuthz(filter.authz, before.shadow.rules)];
  });
}

function trafficOf(
  filters: readonly HttpFilter[],
  makers: Gates,
): Pick<HttpRuntime, 'late' | 'body'> {
  const late = filters.flatMap((one) =>
    one.kind === 'traffic' ? makers.traffic(one.traffic) : [],
  );
  const body = bodyLimitsOf(filters);
  return { ...(late.length > 0 && { late }), ...(body && { body }) };
}

function compileChain(chain: FilterChain, makers: Gates, floods?: FloodGuard): ChainRuntime {
  let http: HttpRuntime | undefined;
  let tcpCluster: string | undefined;
  for (const filter of chain.filters) {
    if (filter.kind === 'tcpProxy') tcpCluster = filter.cluster;
    else if (filter.kind === 'http') {
      const { filters } = filter.http;
      const refusedPaths = filters.flatMap((one) =>
        one.kind === 'refusePaths' ? one.refused : [],
      );
      const gates = compileGates(filters, makers);
      const evaluator = compileRules(filters);
      http = {
        manager: filter.http,
        refusedPaths,
        gates,
        evaluator,
        ...trafficOf(filters, makers),
        ...(floods && { floods }),
      };
    }
  }
  if ((http === undefined) === (tcpCluster === undefined)) {
    throw new TypeError(`Cannot run filter chain ${chain.name}: it needs one terminal filter`);
  }
  const { name, match, tls, termination } = chain;
  const network = compileRules(chain.filters);
  return { name, match, tls, ...(termination && { termination }), network, http, tcpCluster };
}

/**
 * Compiles a decoded listener.
 * @throws TypeError when a chain cannot be run; the caller refuses the resource and keeps the last good one.
 */
export function compileListener(
  listener: Listener,
  makers: Gates = createGates(),
): ListenerRuntime {
  const floods = listener.floods && makers.floods(listener.floods);
  const chainsByPort = new Map<number, ChainRuntime[]>();
  const otherChains: ChainRuntime[] = [];
  for (const chain of listener.filterChains) {
    const runtime = compileChain(chain, makers, floods);
    const port = chain.match.destinationPort;
    if (port === undefined) otherChains.push(runtime);
    else chainsByPort.set(port, [...(chainsByPort.get(port) ?? []), runtime]);
  }
  const fallback = listener.defaultFilterChain;
  const defaultChain = fallback === undefined ? undefined : compileChain(fallback, makers, floods);
  return { listener, ...(floods && { floods }), chainsByPort, otherChains, defaultChain };
}

/** Every chain of a listener, the default one last. */
export function chainsOf(runtime: ListenerRuntime): readonly ChainRuntime[] {
  const all = [...[...runtime.chainsByPort.values()].flat(), ...runtime.otherChains];
  return runtime.defaultChain === undefined ? all : [...all, runtime.defaultChain];
}

/** What is on trial at the ports of a listener. */
export const trialsOf = (runtime: ListenerRuntime | undefined): readonly Trial[] =>
  (runtime === undefined ? [] : chainsOf(runtime)).flatMap(
    ({ network, http }) => (http?.evaluator ?? network)?.trial ?? [],
  );

/** What a listener needs besides itself. */
export function referencesOf(runtime: ListenerRuntime): ListenerReferences {
  const clusters = new Set<string>();
  const routes = new Set<string>();
  const secrets = new Set<string>();
  const certificates = new Set<string>();
  for (const chain of chainsOf(runtime)) {
    for (const name of deliveredTo(chain.termination)) certificates.add(name);
    if (chain.tls !== undefined) secrets.add(chain.tls.validationSecret);
    if (chain.tcpCluster !== undefined) clusters.add(chain.tcpCluster);
    for (const filter of chain.http?.manager.filters ?? []) {
      if (filter.kind === 'extAuthz') clusters.add(filter.authz.cluster);
    }
    const source = chain.http?.manager.routes;
    if (source?.kind === 'rds') routes.add(source.name);
    else if (source?.kind === 'inline') {
      for (const cluster of clustersOf(source.config)) clusters.add(cluster);
    }
  }
  return { clusters, routes, secrets, certificates };
}

function deliveredTo(tls: TerminationTls | undefined): readonly string[] {
  const trust = tls?.clients?.trust;
  return [...(tls?.certificates ?? []), ...(trust === undefined ? [] : [trust])].flatMap((ref) =>
    ref.kind === 'sds' ? [ref.name] : [],
  );
}

/** The chains that a connection to this port may be given. */
export function candidateChains(runtime: ListenerRuntime, port: number): readonly ChainRuntime[] {
  return runtime.chainsByPort.get(port) ?? runtime.otherChains;
}

/**
 * Whether the first bytes have to be looked at before a chain can be chosen. Where only one chain can be
 * meant the bytes go straight to it.
 */
export function needsInspection(runtime: ListenerRuntime, port: number): boolean {
  const candidates = candidateChains(runtime, port);
  const all =
    runtime.defaultChain === undefined ? candidates : [...candidates, runtime.defaultChain];
  if (candidates.length === 0)
    return all.some((chain) => chain.tls === undefined && chain.termination === undefined);
  if (candidates.length > 1) return true;
  const only = candidates[0];
  if (only === undefined) return false;
  const isOpen =
    only.match.applicationProtocols.length === 0 && only.match.serverNames.length === 0;
  if (!isOpen) return true;
  /** A TLS chain refuses plaintext by itself, unless the default chain would take it. */
  if (only.match.transportProtocol === 'tls')
    return runtime.defaultChain?.tls === undefined && runtime.defaultChain !== undefined;
  return only.match.transportProtocol !== undefined;
}

/**
 * Chooses a chain as Envoy does: by address range, server name, transport, then application protocol. Each criterion
 * settles on its most specific match among what the one before left, and there is no way back: what then matches
 * nothing goes to the default chain, or is `undefined` and closed.
 * Source: Envoy's `FilterChainMatch` documentation, criteria 2 to 5.
 */
export function selectChain(
  runtime: ListenerRuntime,
  destination: { readonly address: string; readonly port: number },
  traits: ConnectionTraits,
): ChainRuntime | undefined {
  let left = candidateChains(runtime, destination.port);
  for (const criterion of CRITERIA) {
    if (left.length === 0) break;
    left = mostSpecific(left, (match) => criterion(match, destination.address, traits));
  }
  return left[0] ?? runtime.defaultChain;
}

/** -1: no match; 0: the chain does not ask; else larger is more specific. */
type Criterion = (match: FilterChainMatch, address: string, traits: ConnectionTraits) => number;

const CRITERIA: readonly Criterion[] = [
  rangeScore,
  (match, _address, { serverName }) => serverNameScore(match.serverNames, serverName),
  ({ transportProtocol }, _address, { transport }) =>
    transportProtocol === undefined ? 0 : transportProtocol === transport ? 1 : -1,
  (match, _address, traits) => protocolScore(match.applicationProtocols, traits),
];

function mostSpecific(
  chains: readonly ChainRuntime[],
  scoreOf: (match: FilterChainMatch) => number,
): readonly ChainRuntime[] {
  let best = 0;
  let found: ChainRuntime[] = [];
  for (const chain of chains) {
    const score = scoreOf(chain.match);
    if (score < best) continue;
    if (score > best) found = [];
    best = score;
    found.push(chain);
  }
  return found;
}

function rangeScore({ destinationRanges }: FilterChainMatch, address: string): number {
  if (destinationRanges.length === 0) return 0;
  const ip = parseIp(address);
  let longest = -1;
  for (const range of destinationRanges) {
    if (ip !== undefined && compileCidr(range)(ip)) longest = Math.max(longest, range.prefixLength);
  }
  return longest + 1 === 0 ? -1 : longest + 1;
}

/** Of what the client offers, the first that any chain takes. */
function protocolScore(
  names: readonly string[],
  { applicationProtocols }: ConnectionTraits,
): number {
  if (names.length === 0) return 0;
  const index = applicationProtocols.findIndex((offered) => names.includes(offered));
  return index === -1 ? -1 : applicationProtocols.length - index;
}

/** Exact names before `*.suffix`, longer suffixes before shorter ones. */
function serverNameScore(names: readonly string[], serverName: string | undefined): number {
  if (names.length === 0) return 0;
  if (serverName === undefined) return -1;
  let best = -1;
  for (const name of names) {
    if (name === serverName) return 1_000;
    if (name.startsWith('*.') && serverName.endsWith(name.slice(1)))
      best = Math.max(best, name.length);
  }
  return best;
}
