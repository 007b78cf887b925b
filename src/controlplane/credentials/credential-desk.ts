// Serves proxies the credentials that they are granted: takes their streams, bounds them, and tells each of every change that concerns it.
import { status } from '@grpc/grpc-js';
import type { Peer } from '@weft/ca/server-credentials';
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { Listeners } from '@weft/model/listeners';
import type { PlainMessage } from '@weft/xds/registry';
import type { MeshViews } from '../compile/mesh-views.ts';
import { createRequestRate } from '../serve/request-rate.ts';
import { createRounds, type Rounds } from '../serve/rounds.ts';
import type { NodeClaim } from '../serve/view-source.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { BindingIndex } from './binding-index.ts';
import type { CredentialBroker } from './credential-broker.ts';
import type { WatchCall } from './watch-call.ts';
import { readWatchRequest, type WatchRequest } from './watch-request.ts';
import { WatchStream } from './watch-stream.ts';

export interface CredentialDeskOptions {
  readonly peerOf: (call: WatchCall) => Peer;
  readonly views: Pick<MeshViews, 'resolve' | 'mesh'>;
  readonly index: BindingIndex;
  readonly broker: CredentialBroker;
  readonly audit: AuditTrail;
  readonly clock: Clock;
}

const MAX_STREAMS = 20_000;
/** An old process may live on beside a new one. */
const MAX_STREAMS_PER_PROXY = 3;
/** It answers each reply, and says once a second whom it gave what. */
const RATE = { burst: 200, perSecond: 5 } as const;
/** A stream that has not said whose it is after so long is ended. */
const FIRST_REQUEST_MS = 10_000;
/** Telling thousands of a change lets others in between. */
const SLICE_MS = 10;

export class CredentialDesk implements AsyncDisposable {
  readonly #options: CredentialDeskOptions;
  readonly #streams = new Map<WatchCall, WatchStream | undefined>();
  readonly #byProxy = new Map<string, Set<WatchStream>>();
  readonly #rounds: Rounds<WatchStream>;
  readonly #listeners = new Listeners();

  constructor(options: CredentialDeskOptions) {
    this.#options = options;
    this.#rounds = createRounds({
      run: (stream) => this.#refresh(stream),
      sliceMs: SLICE_MS,
      onFinished: () => this.#tellListeners(),
    });
  }

  open(call: WatchCall): void {
    if (call.cancelled) return;
    const { peerOf, clock } = this.#options;
    const peer = peerOf(call);
    if (!peer.ok) return this.#refuse(call, status.UNAUTHENTICATED, peer.reason, undefined);
    const { identity } = peer;
    if (this.#streams.size >= MAX_STREAMS) {
      const reason = 'too many streams of credentials are open';
      return this.#refuse(call, status.RESOURCE_EXHAUSTED, reason, identity);
    }
    this.#streams.set(call, undefined);
    const rate = createRequestRate({ ...RATE, nowMs: clock.now() });
    const late = clock.setTimeout(() => {
      if (this.#streams.has(call) && this.#streams.get(call) === undefined) {
        this.#refuse(call, status.DEADLINE_EXCEEDED, 'it did not say whose it is', identity);
      }
    }, FIRST_REQUEST_MS);
    call.on('data', (message: PlainMessage) => {
      if (!this.#streams.has(call)) return;
      if (rate.take(clock.now()) > 0) {
        this.#refuse(call, status.RESOURCE_EXHAUSTED, 'too many requests', identity);
        return;
      }
      this.#take(call, peer, readWatchRequest(message));
    });
    call.on('end', () => call.end());
    call.on('close', () => {
      late[Symbol.dispose]();
      this.#closed(call);
    });
  }

  #take(call: WatchCall, peer: Extract<Peer, { readonly ok: true }>, request: WatchRequest): void {
    const stream = this.#streams.get(call) ?? this.#begin(call, peer, request);
    if (stream === undefined) return;
    stream.note(request);
    this.#refresh(stream);
    this.#tellListeners();
  }

  #begin(
    call: WatchCall,
    peer: Extract<Peer, { readonly ok: true }>,
    request: WatchRequest,
  ): WatchStream | undefined {
    const { views, index, broker, audit, clock } = this.#options;
    const { identity } = peer;
    const claim: NodeClaim = {
      id: request.nodeId,
      cluster: '',
      metadata: new Map(),
      userAgent: 'weft',
    };
    const resolution = views.resolve(claim, identity);
    if (!resolution.ok) {
      this.#refuse(call, status.PERMISSION_DENIED, resolution.reason, identity);
      return undefined;
    }
    const { proxy } = resolution;
    const others = this.#byProxy.get(proxy.id) ?? new Set<WatchStream>();
    if (others.size >= MAX_STREAMS_PER_PROXY) {
      const reason = 'too many streams of credentials of this proxy';
      this.#refuse(call, status.RESOURCE_EXHAUSTED, reason, identity);
      return undefined;
    }
    const stream: WatchStream = new WatchStream(
      {
        call,
        peer,
        proxy,
        resolve: () => views.resolve(claim, identity),
        workload: () => views.mesh().workloads.get(proxy.id),
        index,
        broker,
        audit,
        clock,
        soon: () => this.#rounds.start([stream]),
      },
      request,
    );
    this.#streams.set(call, stream);
    this.#byProxy.set(proxy.id, others.add(stream));
    return stream;
  }

  #refresh(stream: WatchStream): void {
    if (!stream.isEnded) stream.refresh();
  }

  /** To be called when bindings or workloads may be others. */
  changed(): void {
    const stale: WatchStream[] = [];
    for (const stream of this.#streams.values()) if (stream?.isStale === true) stale.push(stream);
    if (stale.length > 0) this.#rounds.start(stale);
    else this.#tellListeners();
  }

  /** Of one proxy. */
  streamsOf(proxyId: string): readonly WatchStream[] {
    return [...(this.#byProxy.get(proxyId) ?? [])];
  }

  /** As each of its streams says; `undefined` when it has none. */
  inForceAt(proxyId: string): readonly string[] | undefined {
    const [first, ...others] = this.streamsOf(proxyId);
    return first
      ?.namesInForce()
      .filter((name) => others.every((one) => one.namesInForce().includes(name)));
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Called when what is in force anywhere may be another. */
  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  #tellListeners(): void {
    this.#listeners.tell();
  }

  #closed(call: WatchCall): void {
    const stream = this.#streams.get(call);
    this.#streams.delete(call);
    if (stream === undefined) return;
    stream.closed();
    const others = this.#byProxy.get(stream.proxy.id);
    others?.delete(stream);
    if (others?.size === 0) this.#byProxy.delete(stream.proxy.id);
    this.#tellListeners();
  }

  #refuse(call: WatchCall, code: status, reason: string, identity: SpiffeId | undefined): void {
    const { audit } = this.#options;
    const peer = call.getPeer();
    audit.write({ act: 'refused', identity: identity ?? 'nobody', peer, reason });
    this.#closed(call);
    call.emit('error', { code, details: reason.toWellFormed() });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#rounds[Symbol.dispose]();
    for (const [call, stream] of this.#streams) {
      stream?.closed();
      const details = 'the control plane is shutting down';
      call.emit('error', { code: status.UNAVAILABLE, details });
    }
    this.#streams.clear();
    this.#byProxy.clear();
    await this.#options.broker[Symbol.asyncDispose]();
  }
}
