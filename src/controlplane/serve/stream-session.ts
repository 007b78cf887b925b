// Owns one discovery stream: whom it serves, its protocol state, and what it may cost.
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { readDeltaRequest, writeDeltaResponse } from '@weft/xds/protocol/delta';
import { textOf } from '@weft/xds/protocol/fields';
import {
  type Answer,
  createSession,
  nextResponse,
  type RequestOutcome,
  type Session,
  takeRequest,
} from '@weft/xds/protocol/session';
import { readSotwRequest, writeSotwResponse } from '@weft/xds/protocol/sotw';
import type { PlainMessage } from '@weft/xds/registry';
import {
  isOpaqueKind,
  type OpaqueKind,
  RESOURCE_ORDER,
  type ResourceKind,
  type StreamKind,
  TYPE_URLS,
  typeUrlOf,
} from '@weft/xds/resource';
import type { Logger } from 'pino';
import type { XdsLimits } from './limits.ts';
import type { EndReason, XdsMetrics } from './metrics.ts';
import { readNodeClaim } from './node-claim.ts';
import { Outbox } from './outbox.ts';
import { createRequestRate, type RequestRate } from './request-rate.ts';
import type { DiscoveryMethod } from './services.ts';
import { reportKind, type SessionReport } from './session-report.ts';
import type { NodeClaim, ProxyRef, ViewChange, ViewSource } from './view-source.ts';

export type DiscoveryCall = ServerDuplexStream<PlainMessage, Uint8Array>;

export interface StreamContext {
  readonly clock: Clock;
  readonly views: ViewSource;
  readonly limits: XdsLimits;
  readonly metrics: XdsMetrics;
  readonly log: Logger;
  /** Sent with every response: which control plane speaks. */
  readonly identifier: string;
  /** May this proxy have one more stream? Called once, when the stream says who it is. */
  readonly admit: (proxy: ProxyRef) => boolean;
  readonly onAnswer: (session: StreamSession, kind: StreamKind, answer: Answer) => void;
}

const KIND_BY_TYPE_URL: ReadonlyMap<string, ResourceKind> = new Map(
  RESOURCE_ORDER.map((kind) => [TYPE_URLS[kind], kind]),
);

/** Types of one stream, those that nothing here reads among them. */
const MAX_KINDS = 32;

const RESOLUTION_STATUS = {
  'identity-mismatch': status.PERMISSION_DENIED,
  // The Pod may be newer than the registry: the proxy tries again.
  'unknown-workload': status.UNAVAILABLE,
  'bad-claim': status.INVALID_ARGUMENT,
} as const;

export class StreamSession {
  readonly identity: SpiffeId;
  readonly connectedAtMs: number;
  readonly #method: DiscoveryMethod;
  readonly #call: DiscoveryCall;
  readonly #context: StreamContext;
  readonly #session: Session;
  readonly #outbox: Outbox;
  readonly #rate: RequestRate;
  readonly #cleanup = new DisposableStack();
  #served: { readonly claim: NodeClaim; readonly proxy: ProxyRef } | undefined;
  /** The newest revision of which something concerned this stream: what it has asked for is as it was then. */
  #revision = 0;
  #isEnded = false;

  constructor(
    call: DiscoveryCall,
    options: {
      readonly method: DiscoveryMethod;
      readonly identity: SpiffeId;
      readonly context: StreamContext;
    },
  ) {
    const { method, identity, context } = options;
    const { clock, limits } = context;
    this.identity = identity;
    this.connectedAtMs = clock.now();
    this.#method = method;
    this.#call = call;
    this.#context = context;
    this.#session = createSession(method.variant, limits.session);
    this.#rate = createRequestRate({
      burst: limits.requestBurst,
      perSecond: limits.requestsPerSecond,
      nowMs: this.connectedAtMs,
    });
    this.#outbox = this.#cleanup.use(this.#createOutbox());
    this.#cleanup.use(
      clock.setTimeout(() => {
        if (this.#served !== undefined) return;
        const details = `no request within ${limits.firstRequestMs} ms`;
        this.end('no-first-request', status.DEADLINE_EXCEEDED, details);
      }, limits.firstRequestMs),
    );
    context.metrics.streamOpened(method.variant);
    call.on('data', (message: PlainMessage) => this.#guard(() => this.#take(message)));
    call.on('end', () => this.end('client-closed', status.OK, 'the client is done'));
    call.on('close', () => this.#finish('client-closed'));
  }

  #createOutbox(): Outbox {
    const { clock, limits } = this.#context;
    return new Outbox({
      clock,
      maxBytes: limits.maxOutboxBytes,
      maxStallMs: limits.maxStallMs,
      write: (bytes, onTaken) => {
        this.#call.write(bytes, (error?: Error | null) => {
          // A write that failed belongs to a stream that is gone; its close ends the session.
          if (error === null || error === undefined) onTaken();
        });
      },
      onRoom: () => this.#guard(() => this.#send()),
      onStall: () => {
        const details = `nothing was read for ${limits.maxStallMs} ms`;
        this.end('outbox-full', status.RESOURCE_EXHAUSTED, details);
      },
    });
  }

  get proxy(): ProxyRef | undefined {
    return this.#served?.proxy;
  }

  /** The protocol's state, for those who ask what is in force; not to be changed. */
  get state(): Session {
    return this.#session;
  }

  /** Whether a change is about the proxy, or about anything that the stream asks for. */
  isConcernedBy({ isAll, proxies, names }: ViewChange): boolean {
    if (isAll || this.proxy === undefined || proxies.has(this.proxy.id)) return true;
    for (const { isWildcard, entries } of this.#session.subscriptions.values()) {
      if (isWildcard) return true;
      const [few, many] = names.size < entries.size ? [names, entries] : [entries, names];
      for (const name of few.keys()) if (many.has(name)) return true;
    }
    return false;
  }

  /** Something changed that concerns it: judge the proxy again, then send what it has yet to hear. */
  refresh(): void {
    this.#guard(() => {
      if (this.#isEnded || this.#served === undefined) return;
      if (this.#resolve(this.#served.claim)) this.#send();
    });
  }

  #take(message: PlainMessage): void {
    if (this.#isEnded) return;
    this.#slowDown();
    if (this.#served === undefined && !this.#greet(message)) return;
    const kind = this.#kindOf(message);
    if (kind === undefined) return;
    const { metrics, clock } = this.#context;
    metrics.requestReceived(kind);
    const read = this.#session.variant === 'sotw' ? readSotwRequest : readDeltaRequest;
    const outcome = takeRequest(this.#session, read(message, kind), clock.now());
    if (this.#digest(kind, outcome)) this.#send();
  }

  #slowDown(): void {
    const { clock, metrics } = this.#context;
    const waitMs = this.#rate.take(clock.now());
    if (waitMs === 0) return;
    metrics.requestDelayed();
    this.#call.pause();
    clock.setTimeout(() => this.#call.resume(), waitMs);
  }

  /** The first request says which proxy this is. */
  #greet(message: PlainMessage): boolean {
    const claim = readNodeClaim(message);
    if (claim === undefined) {
      const details =
        "the stream's first request must name its node (node.id, 512 characters at most)";
      this.end('bad-claim', status.INVALID_ARGUMENT, details);
      return false;
    }
    if (!this.#resolve(claim)) return false;
    if (this.proxy !== undefined && this.#context.admit(this.proxy)) return true;
    const details = `${claim.id} has ${this.#context.limits.maxStreamsPerProxy} streams already`;
    this.end('too-many-streams', status.RESOURCE_EXHAUSTED, details);
    return false;
  }

  #resolve(claim: NodeClaim): boolean {
    const { views } = this.#context;
    const resolution = views.resolve(claim, this.identity);
    if (!resolution.ok) {
      this.end(resolution.code, RESOLUTION_STATUS[resolution.code], resolution.reason);
      return false;
    }
    const { proxy } = resolution;
    const before = this.#served?.proxy;
    if (before !== undefined && (before.id !== proxy.id || before.workload !== proxy.workload)) {
      // Another Pod of the same name: what it may see is not what this stream was told.
      this.end('unknown-workload', status.UNAVAILABLE, `${before.id} was replaced`);
      return false;
    }
    this.#served = { claim, proxy };
    this.#revision = views.viewFor(proxy).revision;
    return true;
  }

  /** @returns `undefined` when the request needs no answer, or the stream was ended. */
  #kindOf(message: PlainMessage): StreamKind | undefined {
    const typeUrl = textOf(message, 'type_url');
    const { kind } = this.#method;
    if (kind !== undefined) {
      if (typeUrl === '' || typeUrl === TYPE_URLS[kind]) return kind;
      this.end('bad-request', status.INVALID_ARGUMENT, `this service has ${TYPE_URLS[kind]} only`);
      return undefined;
    }
    if (typeUrl === '') {
      this.end('bad-request', status.INVALID_ARGUMENT, 'a request must name its type_url');
      return undefined;
    }
    const found = KIND_BY_TYPE_URL.get(typeUrl) ?? this.#opaqueKindOf(typeUrl);
    // Silence is the protocol's way to say that there is nothing of a type.
    if (found === undefined) this.#context.metrics.unknownTypeRequested();
    return found;
  }

  #opaqueKindOf(typeUrl: string): OpaqueKind | undefined {
    const { servesType } = this.#context.views;
    if (servesType === undefined || !isOpaqueKind(typeUrl) || !servesType(typeUrl))
      return undefined;
    const { subscriptions } = this.#session;
    const isNew = !subscriptions.has(typeUrl);
    return isNew && subscriptions.size >= MAX_KINDS ? undefined : typeUrl;
  }

  #digest(kind: StreamKind, outcome: RequestOutcome): boolean {
    const { metrics, log, onAnswer } = this.#context;
    if (!outcome.ok) {
      const isTooMany = outcome.code === 'too-many-names';
      const code = isTooMany ? status.RESOURCE_EXHAUSTED : status.INVALID_ARGUMENT;
      this.end(isTooMany ? 'too-many-names' : 'bad-request', code, outcome.reason);
      return false;
    }
    if (outcome.isStale) metrics.staleNonceReceived(kind);
    const { answer } = outcome;
    if (answer?.kind === 'accepted') metrics.responseAccepted(kind);
    if (answer?.kind === 'refused') {
      metrics.responseRefused(kind);
      const { nonce, message, names } = answer.refusal;
      const typeUrl = typeUrlOf(kind);
      log.warn({ proxyId: this.proxy?.id, typeUrl, nonce, names, error: message }, 'nack received');
    }
    if (answer !== undefined) onAnswer(this, kind, answer);
    return true;
  }

  #send(): void {
    const { metrics, identifier, views } = this.#context;
    if (this.#served === undefined) return;
    // What others have been told since is not looked through again.
    const view = { ...views.viewFor(this.#served.proxy), revision: this.#revision };
    while (!this.#isEnded && !this.#outbox.isFull) {
      const response = nextResponse(this.#session, view);
      if (response === undefined) return;
      const write = this.#session.variant === 'sotw' ? writeSotwResponse : writeDeltaResponse;
      const bytes = write(response, identifier);
      this.#outbox.write(bytes);
      const size = { resources: response.resources.length, bytes: bytes.byteLength };
      metrics.responseSent(response.kind, size);
    }
  }

  /** Nothing that a peer sends, and no view, may end the process. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#context.log.error({ err: error, proxyId: this.proxy?.id }, 'stream failed');
      this.end('internal', status.INTERNAL, 'internal error');
    }
  }

  /** Ends the stream with a status. A client that reads nothing learns it when it reads, or by its closed connection. */
  end(reason: EndReason, code: status, details: string): void {
    if (this.#isEnded) return;
    this.#finish(reason);
    this.#call.pause();
    if (code === status.OK) this.#call.end();
    // A status travels in a header, which takes no lone surrogates.
    else this.#call.emit('error', { code, details: details.toWellFormed() });
  }

  #finish(reason: EndReason): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#cleanup.dispose();
    const { metrics, log } = this.#context;
    metrics.streamEnded(this.#method.variant, reason);
    const fields = { proxyId: this.proxy?.id, peer: this.#call.getPeer(), reasonCode: reason };
    log.info(fields, 'stream ended');
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @returns `undefined` before the stream has said whom it serves. */
  report(): SessionReport | undefined {
    const served = this.#served;
    if (served === undefined) return undefined;
    return {
      proxyId: served.proxy.id,
      identity: this.identity,
      variant: this.#session.variant,
      connectedAtMs: this.connectedAtMs,
      peer: this.#call.getPeer(),
      userAgent: served.claim.userAgent,
      outboxBytes: this.#outbox.bytes,
      kinds: [...this.#session.subscriptions.values()].map(reportKind),
    };
  }
}
