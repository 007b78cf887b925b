// Builds the listener of a workload's own ports: who may connect, how, and which rules judge it.
import type { InboundPort, InboundSpec } from '@weft/model/mesh/mesh';
import { isHttp, type PortProtocol } from '@weft/model/mesh/protocol';
import type { MtlsMode } from '@weft/model/policy/types';
import {
  type FilterChain,
  type FilterChainMatch,
  type Listener,
} from '@weft/xds/resources/listener';
import { createChainParts, type ChainParts } from './inbound-chains.ts';
import { asksForClients, buildTerminationChains, terminationOf } from './termination-chains.ts';
import { inboundClusterName, PASSTHROUGH_CLUSTER } from './cluster-names.ts';
import { HTTP_OFFERS, MESH_NAMES, meshMatches } from './mesh-matches.ts';

export const INBOUND_LISTENER = 'inbound';
/** Where redirected connections arrive; Istio's number, which people's firewalls know. */
const INBOUND_PORT = 15_006;
/**
 * 1 s for the first bytes. Only a plaintext client that waits for the server to speak first ever waits so long, and only
 * where the port's protocol is not declared.
 */
const INSPECT_TIMEOUT_MS = 1_000;

/** As the HTTP inspector names what it found. */
const PLAIN_HTTP: readonly string[] = ['http/1.0', 'http/1.1', 'h2c'];

const ANY: FilterChainMatch = { destinationRanges: [], applicationProtocols: [], serverNames: [] };

/**
 * The last chain of each port matches every connection to it, so that none falls through to the default chain, which
 * is for ports that nobody has declared and may let in what this port does not.
 */
export function buildInboundListener(spec: InboundSpec): Listener {
  const parts = createChainParts(spec);
  const portChains = spec.ports.flatMap((port) => {
    const held = terminationOf(spec, port);
    return held.kind === 'none'
      ? chainsOfPort(port, parts)
      : buildTerminationChains(port, held, { parts, asksForClients: asksForClients(spec) });
  });
  const { chains, defaultChain } = undeclaredChains(spec.mode, parts);
  const filterChains = [...portChains, ...chains];
  const { floods } = spec.traffic ?? {};
  const isHttpInspected = spec.ports.some(
    ({ protocol, mode }) => protocol === 'auto' && mode !== 'STRICT',
  );
  return {
    name: INBOUND_LISTENER,
    address: { address: '0.0.0.0', port: INBOUND_PORT },
    direction: 'inbound',
    bindToPort: true,
    inspectors: isHttpInspected ? ['originalDst', 'tls', 'http'] : ['originalDst', 'tls'],
    inspectTimeoutMs: INSPECT_TIMEOUT_MS,
    ...(floods && { floods }),
    filterChains,
    defaultFilterChain: defaultChain,
  };
}

/** `mesh`: mutual TLS. */
interface ChainKind {
  readonly label: string;
  readonly security: 'mesh' | 'plain';
  readonly carries: 'http' | 'tcp';
  readonly match: Omit<FilterChainMatch, 'destinationPort' | 'destinationRanges'>;
}

const OPEN: ChainKind['match'] = { applicationProtocols: [], serverNames: [] };

function chainsOfPort({ port, protocol, mode }: InboundPort, parts: ChainParts): FilterChain[] {
  const cluster = inboundClusterName(port);
  return withoutGaps(kindsOf(protocol, mode)).map(({ label, security, carries, match }) => ({
    name: `${port}-${label}`,
    match: { ...ANY, destinationPort: port, ...match },
    ...(security === 'mesh' && { tls: parts.tls }),
    filters: carries === 'http' ? parts.http(security, { port, cluster }) : parts.tcp(cluster),
  }));
}

const TRANSPORTS = ['tls', 'raw_buffer'] as const;

/**
 * The last kind takes what the others leave, and says so for each transport: Envoy settles on a transport before it
 * looks at application protocols and never goes back, so that a chain for any transport is no match once another names
 * the connection's own. What then matches nothing would go to the default chain, past the mode of its port.
 */
function withoutGaps(kinds: readonly ChainKind[]): readonly ChainKind[] {
  const rest = kinds.at(-1);
  if (rest === undefined || kinds.length === 1) return kinds;
  const before = kinds.slice(0, -1);
  const open = TRANSPORTS.filter(
    (transport) =>
      !before.some(
        ({ match }) =>
          match.transportProtocol === transport &&
          match.applicationProtocols.length === 0 &&
          match.serverNames.length === 0,
      ),
  );
  return [
    ...before,
    ...open.map((transport) => ({
      ...rest,
      label: open.length === 1 ? rest.label : `${rest.label}-${transport}`,
      match: { ...OPEN, transportProtocol: transport },
    })),
  ];
}

function kindsOf(protocol: PortProtocol, mode: MtlsMode): readonly ChainKind[] {
  switch (mode) {
    case 'STRICT':
      return strictKinds(protocol);
    case 'PERMISSIVE':
      return [
        ...meshMatches(protocol).map((mesh) => ({ ...mesh, security: 'mesh' as const })),
        ...plainKinds(protocol),
      ];
    case 'DISABLE':
      return plainKinds(protocol);
    default:
      return mode satisfies never;
  }
}

/** Whatever arrives must prove who it is; on an undeclared protocol its ALPN says what it carries. */
function strictKinds(protocol: PortProtocol): readonly ChainKind[] {
  if (protocol !== 'auto') {
    const carries = isHttp(protocol) ? 'http' : 'tcp';
    return [{ label: `mesh-${carries}`, security: 'mesh', carries, match: OPEN }];
  }
  const http = { transportProtocol: 'tls', applicationProtocols: HTTP_OFFERS } as const;
  return [
    { label: 'mesh-http', security: 'mesh', carries: 'http', match: { ...OPEN, ...http } },
    { label: 'mesh-tcp', security: 'mesh', carries: 'tcp', match: OPEN },
  ];
}

/** The application's own TLS passes as it is: its requests cannot be read, and rules about them deny. */
function plainKinds(protocol: PortProtocol): readonly ChainKind[] {
  const rest: ChainKind = { label: 'plain-tcp', security: 'plain', carries: 'tcp', match: OPEN };
  if (!isHttp(protocol) && protocol !== 'auto') return [rest];
  const http = protocol === 'auto' ? PLAIN_HTTP : [];
  const match = { ...OPEN, transportProtocol: 'raw_buffer', applicationProtocols: http } as const;
  return [{ label: 'plain-http', security: 'plain', carries: 'http', match }, rest];
}

/**
 * Ports that nobody has declared: TCP by the workload's own mode, under the same policies, to the port that was
 * called. Closed to plaintext wherever declared ports would be.
 */
function undeclaredChains(
  mode: MtlsMode,
  parts: ChainParts,
): { readonly chains: readonly FilterChain[]; readonly defaultChain: FilterChain } {
  const mesh = (match: FilterChainMatch): FilterChain => ({
    name: 'undeclared-mesh-tcp',
    match,
    tls: parts.tls,
    filters: parts.tcp(PASSTHROUGH_CLUSTER),
  });
  if (mode === 'STRICT') return { chains: [], defaultChain: mesh(ANY) };
  const plain: FilterChain = {
    name: 'undeclared-plain-tcp',
    match: ANY,
    filters: parts.tcp(PASSTHROUGH_CLUSTER),
  };
  if (mode === 'DISABLE') return { chains: [], defaultChain: plain };
  const match = { ...ANY, transportProtocol: 'tls', applicationProtocols: MESH_NAMES } as const;
  return { chains: [mesh(match)], defaultChain: plain };
}
