// Takes an accepted connection through detection, chain choice, mutual TLS and judgement to whoever serves it.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { SpiffeId } from '@weft/model/identity';
import { compileString } from '@weft/model/policy/matchers';
import type { Verdict } from '@weft/model/policy/evaluate';
import { REFUSING_CLUSTER, type TerminationTls } from '@weft/xds/resources/termination';
import { ConnectionFacts } from '../filters/connection-facts.ts';
import { explainRefusal } from '../filters/http-filters.ts';
import { markRequest, type PolicyMarks } from '../filters/policy-marks.ts';
import {
  candidateChains,
  needsInspection,
  selectChain,
  type ChainRuntime,
  type ConnectionTraits,
  type ListenerRuntime,
} from '../state/chain.ts';
import type { OpenConnection, OpenConnections } from '../state/open-connections.ts';
import type { AcceptorPool } from '../tls/acceptor-pool.ts';
import { trustEndMs, type MeshContexts } from '../tls/credentials.ts';
import type { MeshPeer } from '../tls/peer.ts';
import type { TerminationAcceptor } from '../tls/termination/acceptor.ts';
import type { OutsideClient } from '../tls/termination/client.ts';
import { inspect, traitsOf, type Inspected } from './inspect.ts';
import type { Destination } from './original-dst.ts';

/** A connection that has been let in, on its way to a codec or a tunnel. */
export interface Admitted {
  readonly socket: Socket;
  readonly facts: ConnectionFacts;
  readonly chain: ChainRuntime;
  readonly peer: MeshPeer | undefined;
  /** Of a client outside the mesh that showed a certificate. */
  readonly client?: OutsideClient | undefined;
  /** What runs inside: known from ALPN or the first bytes; `http` is HTTP/1 until shown otherwise. */
  readonly protocol: 'http1' | 'http2' | 'unknown';
  /** Of a TCP chain. */
  readonly verdict: Verdict | undefined;
  readonly marks?: PolicyMarks | undefined;
}

/** What serves an admitted connection; judged again and drained through it. */
export interface Served {
  /** New rules for a connection that may go on. @returns why it may not. */
  rejudge(chain: ChainRuntime): string | undefined;
  drain(): void;
  /** @param reasonCode what `rejudge` said, or why else; for the log. */
  cut(reasonCode: string): void;
}

export interface Refused {
  readonly reasonCode: string;
  readonly detail: string;
  readonly facts: ConnectionFacts;
  readonly verdict: Verdict | undefined;
  readonly marks?: PolicyMarks | undefined;
  /** The ALLOW rule that came nearest to a refusal, and what of it failed. */
  readonly nearest?: string | undefined;
}

export interface AcceptOptions {
  readonly listener: () => ListenerRuntime | undefined;
  readonly acceptors: AcceptorPool;
  /** Who takes TLS of clients outside the mesh; absent: nobody does. */
  readonly terminations?: {
    acceptorFor(tls: TerminationTls): TerminationAcceptor | undefined;
  };
  readonly contexts: () => MeshContexts | undefined;
  readonly open: Pick<OpenConnections, 'add' | 'delete'>;
  readonly now: () => number;
  /** @returns `undefined` when it was not served after all and is closed. */
  readonly serve: (admitted: Admitted) => Served | undefined;
  readonly onRefused: (refused: Refused) => void;
}

const RAW: ConnectionTraits = {
  transport: 'raw_buffer',
  applicationProtocols: [],
  serverName: undefined,
};
const TLS: ConnectionTraits = { ...RAW, transport: 'tls' };

/** OpenSSL's words for bytes that are no TLS: a plaintext client on a port that asks for mutual TLS. */
const PLAINTEXT_ERRORS: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_HTTPS_PROXY_REQUEST',
  'ERR_SSL_UNEXPECTED_MESSAGE',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_RECORD_LAYER_FAILURE',
]);

/**
 * Serves one accepted socket. Refuses, and says why, when there is no configuration yet, no chain, no certificate, a
 * peer that is not who it must be, or a rule against it. Never throws on what a peer sends.
 */
export function acceptConnection(
  socket: Socket,
  destination: Destination,
  options: AcceptOptions,
): void {
  socket.on('error', () => socket.destroy());
  const attempt = new Attempt(socket, destination, options);
  attempt.begin();
}

/** Listening on both families shows IPv4 as `::ffff:10.0.0.7`; everybody writes and reads it without. */
export const plainAddress = (address: string | undefined): string =>
  address?.startsWith('::ffff:') === true && address.includes('.')
    ? address.slice('::ffff:'.length)
    : (address ?? '');

/** Who is at the other end: one of the mesh, one outside it that showed a certificate, or nobody that is known. */
interface Caller {
  readonly peer?: MeshPeer;
  readonly client?: OutsideClient | undefined;
}

const securityOf = ({ tls, termination, tcpCluster }: ChainRuntime): string => {
  if (tcpCluster === REFUSING_CLUSTER) return 'refused';
  if (tls !== undefined) return 'mesh';
  return termination === undefined ? 'plain' : 'outside';
};

class Attempt {
  readonly #socket: Socket;
  readonly #destination: Destination;
  readonly #options: AcceptOptions;
  readonly #source: { readonly address: string; readonly port: number };
  #traits: ConnectionTraits = RAW;
  #inspected: Inspected | undefined;

  constructor(socket: Socket, destination: Destination, options: AcceptOptions) {
    this.#socket = socket;
    this.#destination = destination;
    this.#options = options;
    this.#source = { address: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
  }

  begin(): void {
    const listener = this.#options.listener();
    if (listener === undefined) {
      this.#refuse('no-configuration', 'no policy has been received yet');
      return;
    }
    if (needsInspection(listener, this.#destination.port)) {
      inspect(this.#socket, listener.listener.inspectTimeoutMs, (found) =>
        this.#onInspected(found),
      );
      return;
    }
    const first = candidateChains(listener, this.#destination.port)[0];
    /** Where a chain is for some addresses alone, another one's connections are not its own. */
    const isForSome = (first?.match.destinationRanges.length ?? 0) > 0;
    const only = isForSome
      ? selectChain(
          listener,
          this.#destination,
          first?.match.transportProtocol === 'tls' ? TLS : RAW,
        )
      : (first ?? listener.defaultChain);
    if (only?.tls !== undefined || only?.termination !== undefined) this.#traits = TLS;
    this.#enter(only);
  }

  #onInspected(inspected: Inspected): void {
    if (inspected.kind === 'malformed') {
      this.#refuse('malformed-first-bytes', inspected.reason);
      return;
    }
    this.#inspected = inspected;
    this.#traits = traitsOf(inspected);
    const listener = this.#options.listener();
    if (listener === undefined) this.#refuse('no-configuration', 'the configuration was withdrawn');
    else this.#enter(selectChain(listener, this.#destination, this.#traits));
  }

  /** Calls outward that lead nowhere are told by who serves them. */
  #isInbound = (): boolean => this.#options.listener()?.listener.direction === 'inbound';

  #enter(chain: ChainRuntime | undefined): void {
    if (chain === undefined) {
      const isPlain = this.#traits.transport === 'raw_buffer';
      const reasonCode = isPlain ? 'plaintext-refused' : 'no-filter-chain';
      this.#refuse(reasonCode, `nothing is served like this at port ${this.#destination.port}`);
    } else if (chain.tcpCluster === REFUSING_CLUSTER && this.#isInbound()) {
      const isPlain = this.#traits.transport === 'raw_buffer';
      const reasonCode = isPlain ? 'plaintext-refused' : 'server-name-refused';
      this.#refuse(reasonCode, isPlain ? 'TLS is required' : 'no such name is served here');
    } else if (chain.tls === undefined && chain.termination === undefined) {
      this.#admit(this.#socket, chain, {}, this.#plainProtocol());
    } else if (this.#traits.transport === 'raw_buffer') {
      this.#refuse('plaintext-refused', chain.tls ? 'mutual TLS is required' : 'TLS is required');
    } else if (chain.tls !== undefined) {
      this.#handshake(chain, chain.tls);
    } else if (chain.termination !== undefined) {
      this.#terminate(chain, chain.termination);
    }
  }

  #plainProtocol(): Admitted['protocol'] {
    if (this.#inspected?.kind === 'h2c') return 'http2';
    return this.#inspected?.kind === 'http1' ? 'http1' : 'unknown';
  }

  #handshake(chain: ChainRuntime, tls: NonNullable<ChainRuntime['tls']>): void {
    const acceptor = this.#options.acceptors.acceptorFor(tls);
    if (acceptor === undefined) {
      this.#refuse('no-certificate', 'no certificate or no bundle has been received yet');
      return;
    }
    const begun = { listener: this.#options.listener(), contexts: this.#options.contexts() };
    acceptor.accept(this.#socket, {
      onSecure: (socket, peer) => {
        this.#noteTls(socket);
        this.#afterHandshake(socket, this.#chainAfterHandshake(chain, peer, begun), { peer });
      },
      onRefused: (reasonCode, detail) => {
        this.#refuse(PLAINTEXT_ERRORS.has(detail) ? 'plaintext-refused' : reasonCode, detail);
      },
    });
  }

  /** TLS of a client outside the mesh. */
  #terminate(chain: ChainRuntime, tls: TerminationTls): void {
    const acceptor = this.#options.terminations?.acceptorFor(tls);
    if (acceptor === undefined) {
      this.#refuse('no-certificate', 'no certificate for clients outside the mesh is there yet');
      return;
    }
    acceptor.accept(this.#socket, this.#traits.serverName, {
      onSecure: (socket, client) => {
        this.#noteTls(socket);
        // Another way to take TLS may hold by now, and who was good for one need not be for the other.
        const current = this.#chainOfNow(chain) ?? 'tls-changed';
        const refusal = typeof current === 'string' ? current : this.#whyNotGood(client, current);
        this.#afterHandshake(socket, refusal ?? current, { client });
      },
      onRefused: (reasonCode, detail) => {
        this.#refuse(PLAINTEXT_ERRORS.has(detail) ? 'plaintext-refused' : reasonCode, detail);
      },
    });
  }

  #noteTls(socket: TLSSocket): void {
    const { alpnProtocol: alpn, servername } = socket;
    const serverName = typeof servername === 'string' ? servername : undefined;
    this.#traits = {
      transport: 'tls',
      applicationProtocols:
        this.#traits.applicationProtocols.length > 0 || typeof alpn !== 'string'
          ? this.#traits.applicationProtocols
          : [alpn],
      serverName: this.#traits.serverName ?? serverName?.toLowerCase(),
    };
  }

  #afterHandshake(socket: TLSSocket, current: ChainRuntime | string, who: Caller): void {
    if (typeof current === 'string') {
      socket.destroy();
      this.#refuse(current, 'rules or trust changed during the handshake');
      return;
    }
    const { alpnProtocol: alpn } = socket;
    const isHttp2 = alpn === 'weft-h2' || alpn === 'h2';
    const isHttp1 = alpn === 'weft-http/1.1' || alpn === 'http/1.1';
    this.#admit(socket, current, who, isHttp2 ? 'http2' : isHttp1 ? 'http1' : 'unknown');
  }

  #whyNotGood(client: OutsideClient | undefined, chain: ChainRuntime): string | undefined {
    if (chain.termination === undefined) return undefined;
    const acceptor = this.#options.terminations?.acceptorFor(chain.termination);
    return acceptor === undefined ? 'no-certificate' : acceptor.judge(client);
  }

  /**
   * A client may take seconds for its handshake, and is not among the open connections meanwhile: what has changed since
   * it began holds for it too.
   * @returns the chain to admit it by, or why it may not be.
   */
  #chainAfterHandshake(
    chain: ChainRuntime,
    peer: MeshPeer,
    begun: {
      readonly listener: ListenerRuntime | undefined;
      readonly contexts: MeshContexts | undefined;
    },
  ): ChainRuntime | string {
    const { listener, contexts } = this.#options;
    if (begun.listener === listener() && begun.contexts === contexts()) return chain;
    const current = this.#chainOfNow(chain);
    if (current === undefined) return 'mtls-mode-changed';
    return this.#whyNotTrusted(peer, current) ?? current;
  }

  #factsWith({ peer, client }: Caller): ConnectionFacts {
    return new ConnectionFacts(
      {
        sourceAddress: this.#source.address,
        sourcePort: this.#source.port,
        destinationAddress: this.#destination.address,
        destinationPort: this.#destination.port,
        serverName: this.#traits.serverName ?? '',
        isEncrypted: this.#traits.transport === 'tls',
      },
      peer,
      client,
    );
  }

  #admit(socket: Socket, chain: ChainRuntime, who: Caller, protocol: Admitted['protocol']): void {
    const facts = this.#factsWith(who);
    const { peer, client } = who;
    const marks = markRequest(chain.network, facts);
    const verdict = chain.network?.decide(facts);
    if (verdict?.isAllowed === false) {
      socket.destroy();
      this.#options.onRefused({
        reasonCode: 'rbac-denied',
        detail: verdict.reason,
        facts,
        verdict,
        marks,
        nearest: explainRefusal(chain.network, facts, verdict),
      });
      return;
    }
    const served = this.#options.serve({
      socket,
      facts,
      chain,
      peer,
      client,
      protocol,
      verdict,
      marks,
    });
    if (served === undefined) return;
    this.#watch(socket, facts, chain, served);
  }

  /** Keeps the connection among those that are judged again. */
  #watch(socket: Socket, facts: ConnectionFacts, admittedBy: ChainRuntime, served: Served): void {
    const { open } = this.#options;
    const connection: OpenConnection = {
      rejudge: () => {
        const chain = this.#chainOfNow(admittedBy);
        if (chain === undefined) return 'mtls-mode-changed';
        const refusal =
          this.#whyNotTrusted(facts.peer, chain) ?? this.#whyNotGood(facts.client, chain);
        if (refusal !== undefined) return refusal;
        const verdict = chain.network?.decide(facts);
        if (verdict?.isAllowed === false) return 'rbac-denied';
        return served.rejudge(chain);
      },
      cut: (reasonCode) => served.cut(reasonCode),
      drain: () => served.drain(),
    };
    open.add(connection);
    socket.once('close', () => open.delete(connection));
    if (socket.destroyed) open.delete(connection);
  }

  /** The chain that this connection would be given now, if it still is one for connections of its kind. */
  #chainOfNow(before: ChainRuntime): ChainRuntime | undefined {
    const listener = this.#options.listener();
    if (listener === undefined) return undefined;
    const chain = selectChain(listener, this.#destination, this.#traits);
    return chain !== undefined && securityOf(chain) === securityOf(before) ? chain : undefined;
  }

  #whyNotTrusted(peer: MeshPeer | undefined, chain: ChainRuntime): string | undefined {
    if (peer === undefined || chain.tls === undefined) return undefined;
    const contexts = this.#options.contexts();
    if (contexts === undefined) return 'no-certificate';
    const roots = contexts.rootsOf(peer.spiffeId);
    if (trustEndMs(peer.chain, roots) < this.#options.now()) return 'peer-not-trusted';
    return isExpectedBy(chain.tls.peerUris)(peer.spiffeId) ? undefined : 'peer-identity-unexpected';
  }

  #refuse(reasonCode: string, detail: string): void {
    this.#socket.destroy();
    this.#options.onRefused({
      reasonCode,
      detail,
      facts: this.#factsWith({}),
      verdict: undefined,
    });
  }
}

/** Whether an identity is one that a chain takes. */
export function isExpectedBy(
  peerUris: NonNullable<ChainRuntime['tls']>['peerUris'],
): (id: SpiffeId) => boolean {
  const tests = peerUris.map(compileString);
  return (id) => tests.some((test) => test(id));
}
