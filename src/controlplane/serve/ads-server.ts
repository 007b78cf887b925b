// Serves discovery to all proxies: opens and counts streams, tells them of changes, and knows what is in force where.
import { type Server, status } from '@grpc/grpc-js';
import { type Clock, systemClock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { Listeners } from '@weft/model/listeners';
import { type Answer, isInForce } from '@weft/xds/protocol/session';
import type { ResourceKind, StreamKind } from '@weft/xds/resource';
import type { Logger } from 'pino';
import { DEFAULT_XDS_LIMITS, type XdsLimits } from './limits.ts';
import { noXdsMetrics, type XdsMetrics } from './metrics.ts';
import { createRounds, type Rounds } from './rounds.ts';
import { type DiscoveryMethod, discoveryServices } from './services.ts';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import { type GrpcServer, inboundStatusOf } from './grpc-servers.ts';
import type { SessionReport } from './session-report.ts';
import { type DiscoveryCall, StreamSession, type StreamContext } from './stream-session.ts';
import type { ProxyRef, ViewChange, ViewSource } from './view-source.ts';

export type Peer =
  | { readonly ok: true; readonly identity: SpiffeId }
  | { readonly ok: false; readonly reason: string };

export interface AdsServerOptions {
  /** The services are added to it; whoever made it binds and stops it. */
  readonly server: Server;
  /** Who is at the other end, proven by the connection alone. */
  readonly peerOf: (call: DiscoveryCall) => Peer;
  readonly views: ViewSource;
  readonly log: Logger;
  readonly metrics?: XdsMetrics;
  readonly clock?: Clock;
  readonly limits?: Partial<XdsLimits>;
  /** Default `weft`. */
  readonly identifier?: string;
}

/** One answer of one proxy. */
export interface AnswerEvent {
  readonly proxy: ProxyRef;
  readonly kind: StreamKind;
  readonly answer: Answer;
}

/** Whom a stream serves. */
export interface ServedProxy {
  readonly proxyId: string;
  readonly identity: SpiffeId;
  /** A gRPC library and no proxy: it has its trust from files. */
  readonly isGrpc?: boolean;
}

/** What one connected proxy has of a resource that it asked for. */
export interface ResourceStatus {
  readonly proxyId: string;
  readonly identity: SpiffeId;
  /** The version in force there; absent when none is. */
  readonly acked: string | undefined;
  /** The version that it refused last, unless it has accepted one since. */
  readonly refused: string | undefined;
  /** What it said when it did. */
  readonly refusal?: string | undefined;
}

/** The event loop is another's after this long: a tenth of what a change may take to arrive everywhere. */
const SLICE_MS = 5;

export class AdsServer implements Disposable {
  readonly #options: AdsServerOptions;
  readonly #context: StreamContext;
  readonly #sessions = new Set<StreamSession>();
  /** Streams whose connection still holds something, ended or not. */
  #openStreams = 0;
  readonly #openByIdentity = new Map<string, number>();
  readonly #openByProxy = new Map<string, number>();
  readonly #listeners = new Listeners<AnswerEvent>();
  readonly #rounds: Rounds<StreamSession>;
  readonly #subscription: Disposable;

  constructor(options: AdsServerOptions) {
    this.#options = options;
    const metrics = options.metrics ?? noXdsMetrics;
    this.#context = {
      clock: options.clock ?? systemClock,
      views: options.views,
      limits: { ...DEFAULT_XDS_LIMITS, ...options.limits },
      metrics,
      log: options.log,
      identifier: options.identifier ?? 'weft',
      admit: (proxy) => this.#admit(proxy),
      onAnswer: (session, kind, answer) => this.#answered(session, kind, answer),
    };
    this.#rounds = createRounds({
      run: (session) => session.refresh(),
      sliceMs: SLICE_MS,
      onFinished: (durationMs, count) => metrics.changeServed(durationMs, count),
    });
    this.#subscription = options.views.subscribe((change) =>
      this.#rounds.start(this.#concernedBy(change)),
    );
    for (const { definition, methods } of discoveryServices()) {
      const handlers = [...methods].map(([name, method]) => [
        name,
        (call: DiscoveryCall) => this.#open(call, method),
      ]);
      options.server.addService(definition, Object.fromEntries(handlers));
    }
  }

  *#concernedBy(change: ViewChange): Iterable<StreamSession> {
    for (const session of this.#sessions) if (session.isConcernedBy(change)) yield session;
  }

  #open(call: DiscoveryCall, method: DiscoveryMethod): void {
    const peer = this.#options.peerOf(call);
    if (!peer.ok) {
      this.#refuse(call, method, {
        reason: 'unauthenticated',
        code: status.UNAUTHENTICATED,
        details: peer.reason,
      });
      return;
    }
    const { identity } = peer;
    const { maxStreams, maxStreamsPerIdentity } = this.#context.limits;
    const ofIdentity = this.#openByIdentity.get(identity) ?? 0;
    if (this.#openStreams >= maxStreams || ofIdentity >= maxStreamsPerIdentity) {
      const details = `too many streams are open (${this.#openStreams}, ${ofIdentity} of this identity)`;
      const code = status.RESOURCE_EXHAUSTED;
      this.#refuse(call, method, { reason: 'too-many-streams', code, details });
      return;
    }
    this.#openStreams++;
    addTo(this.#openByIdentity, identity, 1);
    const session = new StreamSession(call, { method, identity, context: this.#context });
    this.#sessions.add(session);
    call.on('close', () => this.#closed(session));
  }

  #refuse(
    call: DiscoveryCall,
    method: DiscoveryMethod,
    refusal: {
      readonly reason: 'unauthenticated' | 'too-many-streams';
      readonly code: status;
      readonly details: string;
    },
  ): void {
    const { reason, code, details } = refusal;
    this.#context.metrics.streamOpened(method.variant);
    this.#context.metrics.streamEnded(method.variant, reason);
    this.#context.log.warn({ peer: call.getPeer(), reasonCode: reason }, 'stream refused');
    call.emit('error', { code, details: details.toWellFormed() });
  }

  /** A stream that was ended counts until its connection lets go of what was written to it. */
  #closed(session: StreamSession): void {
    this.#sessions.delete(session);
    this.#openStreams--;
    addTo(this.#openByIdentity, session.identity, -1);
    if (session.proxy !== undefined) addTo(this.#openByProxy, session.proxy.id, -1);
  }

  #admit(proxy: ProxyRef): boolean {
    const count = addTo(this.#openByProxy, proxy.id, 1);
    return count <= this.#context.limits.maxStreamsPerProxy;
  }

  #answered(session: StreamSession, kind: StreamKind, answer: Answer): void {
    const { proxy } = session;
    if (proxy === undefined) return;
    this.#listeners.tell({ proxy, kind, answer });
  }

  /** Called at every ACK and NACK. */
  onAnswer(listener: (event: AnswerEvent) => void): Disposable {
    return this.#listeners.add(listener);
  }

  *#live(): Iterable<StreamSession> {
    for (const session of this.#sessions) if (!session.isEnded) yield session;
  }

  /** Whom the streams serve that have said it; a proxy may appear once for each of its streams. */
  proxies(): readonly ServedProxy[] {
    const found: ServedProxy[] = [];
    for (const { proxy, identity } of this.#live()) {
      if (proxy === undefined) continue;
      const isGrpc = proxy.grpc !== undefined;
      found.push({ proxyId: proxy.id, identity, ...(isGrpc && { isGrpc }) });
    }
    return found;
  }

  /** Of all streams that have said whom they serve. */
  sessions(): readonly SessionReport[] {
    return [...this.#live()].flatMap((session) => session.report() ?? []);
  }

  /** Whether the proxy is connected and has acknowledged exactly this version. */
  isInForce(
    proxyId: string,
    resource: { readonly kind: ResourceKind; readonly name: string; readonly version: string },
  ): boolean {
    for (const session of this.#live()) {
      if (session.proxy?.id === proxyId && isInForce(session.state, resource)) return true;
    }
    return false;
  }

  /**
   * What every connected proxy that asked for the resource has of it; a proxy may appear once for each stream. Of the
   * inbound listener also what gRPC servers have, whose own carry its rules.
   */
  statusOf(kind: ResourceKind, name: string): readonly ResourceStatus[] {
    const found: ResourceStatus[] = [];
    const isInbound = kind === 'listener' && name === INBOUND_LISTENER;
    for (const { proxy, identity, state } of this.#live()) {
      const subscription = state.subscriptions.get(kind);
      if (isInbound && proxy?.grpc !== undefined) {
        const own = inboundStatusOf(state);
        const refusal = own?.refused === undefined ? undefined : subscription?.refusal?.message;
        if (own !== undefined) found.push({ proxyId: proxy.id, identity, ...own, refusal });
        continue;
      }
      const entry = subscription?.entries.get(name);
      if (proxy === undefined || entry === undefined) continue;
      const { acked, rejected: refused } = entry;
      const refusal = refused === undefined ? undefined : subscription?.refusal?.message;
      found.push({ proxyId: proxy.id, identity, acked, refused, refusal });
    }
    return found;
  }

  /** Programs that serve without a proxy; a workload may appear once for each stream of its programs. */
  *grpcServers(): Iterable<GrpcServer> {
    for (const { proxy, state } of this.#live()) {
      if (proxy?.grpc === undefined || inboundStatusOf(state) === undefined) continue;
      yield { proxyId: proxy.id, library: proxy.grpc };
    }
  }

  /** Shows what every connected proxy has of each resource of a kind that it asked for. */
  eachEntry(
    kind: ResourceKind,
    visit: (proxy: ProxyRef, name: string, acked: string | undefined) => void,
  ): void {
    for (const { proxy, state } of this.#live()) {
      const entries = state.subscriptions.get(kind)?.entries;
      if (proxy === undefined || entries === undefined) continue;
      for (const [name, { acked }] of entries) visit(proxy, name, acked);
    }
  }

  /** Ends every stream; clients reconnect elsewhere. */
  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#rounds[Symbol.dispose]();
    for (const session of this.#sessions) {
      session.end('shutdown', status.UNAVAILABLE, 'the control plane is shutting down');
    }
  }
}

/** Changes a count, which is absent at zero. @returns the new one. */
function addTo(counts: Map<string, number>, key: string, change: 1 | -1): number {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
  return count;
}
