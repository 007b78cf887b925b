// Keeps one delta stream to the control plane: asks for what is wanted, puts in force what comes, and answers for it.
import type { Client, ClientDuplexStream, MethodDefinition } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { ResourceKind } from '@weft/xds/resource';
import type { Logger } from 'pino';
import { Backoff } from '../control-plane/backoff.ts';
import type { ResourceUpdate, Subscriptions } from '../state/config-store.ts';
import { readResponse } from './read-response.ts';
import { DeltaSubscriptions } from './subscriptions.ts';

export interface XdsClientOptions {
  /** A channel with the certificate of now; asked for at each new stream, closed when that stream has ended. */
  readonly connect: () => Client;
  readonly node: { readonly id: string; readonly cluster: string };
  readonly version: string;
  /** Puts a response in force. @returns what could not be, naming resource and reason. */
  readonly apply: (update: ResourceUpdate) => readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly onState: (isConnected: boolean) => void;
  readonly onResponse?: (kind: ResourceKind, isAccepted: boolean) => void;
}

/** 200 ms: a restarted control plane is found again before anybody notices. 10 s: and is not besieged while it is away. */
const BACKOFF = { baseMs: 200, maxMs: 10_000 } as const;
/** A stream that lived so long was a good one: the next failure counts as the first. */
const GOOD_STREAM_MS = 10_000;

const METHOD_SERVICE = 'envoy.service.discovery.v3.AggregatedDiscoveryService';
type Stream = ClientDuplexStream<PlainMessage, PlainMessage>;

export class XdsClient implements Subscriptions, Disposable {
  readonly #options: XdsClientOptions;
  readonly #subscriptions = new DeltaSubscriptions();
  readonly #backoff: Backoff;
  readonly #method: MethodDefinition<PlainMessage, PlainMessage>;
  #stream: Stream | undefined;
  #client: Client | undefined;
  #retry: Disposable | undefined;
  #isFlushing = false;
  #isStarted = false;
  #isDisposed = false;
  #isNodeSent = false;

  constructor(options: XdsClientOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
    const method = serviceDefinition(METHOD_SERVICE)['DeltaAggregatedResources'];
    if (method === undefined)
      throw new TypeError(`Cannot find the delta method of ${METHOD_SERVICE}`);
    this.#method = method;
  }

  /** Before this nothing is sent: there is no certificate yet. */
  start(): void {
    this.#isStarted = true;
    this.#open();
  }

  subscribe(kind: ResourceKind, name: string): void {
    this.#subscriptions.subscribe(kind, name);
    this.#flushSoon();
  }

  unsubscribe(kind: ResourceKind, name: string): void {
    this.#subscriptions.unsubscribe(kind, name);
    this.#flushSoon();
  }

  get isConnected(): boolean {
    return this.#stream !== undefined && this.#isNodeSent;
  }

  #open(): void {
    if (this.#isDisposed) return;
    const { connect, clock } = this.#options;
    const openedAt = clock.now();
    let client: Client;
    try {
      client = connect();
    } catch (error) {
      this.#again(error instanceof Error ? error.message : String(error));
      return;
    }
    const { path, requestSerialize, responseDeserialize } = this.#method;
    const stream: Stream = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
    );
    this.#client = client;
    this.#stream = stream;
    this.#isNodeSent = false;
    this.#subscriptions.reopen();
    let reason = 'the stream ended';
    stream.on('metadata', () => this.#options.onState(true));
    stream.on('data', (message: PlainMessage) => {
      if (this.#stream === stream) this.#take(message);
    });
    stream.on('error', (error) => {
      reason = error.message;
    });
    /** The last event of a call, however it went. */
    stream.on('status', () => {
      client.close();
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      if (clock.now() - openedAt >= GOOD_STREAM_MS) this.#backoff.reset();
      this.#options.onState(false);
      this.#again(reason);
    });
    stream.resume();
    this.#flush();
  }

  #again(reason: string): void {
    if (this.#isDisposed) return;
    const delayMs = this.#backoff.next();
    this.#options.log.warn(
      { reason, retryInMs: Math.round(delayMs), failures: this.#backoff.failures },
      'no stream to the control plane; what is in force stays',
    );
    this.#retry = this.#options.clock.setTimeout(() => this.#open(), delayMs);
  }

  /** One request a turn holds all that was asked for in it. */
  #flushSoon(): void {
    if (this.#isFlushing || !this.#isStarted) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#stream === undefined) return;
    for (const request of this.#subscriptions.takeRequests()) this.#send(request);
  }

  #send(request: PlainMessage): void {
    const { node, version } = this.#options;
    const named = this.#isNodeSent
      ? request
      : { node: { ...node, user_agent_name: 'weft', user_agent_version: version }, ...request };
    this.#isNodeSent = true;
    this.#stream?.write(named);
  }

  #take(message: PlainMessage): void {
    const { log, apply, onResponse } = this.#options;
    const response = readResponse(message);
    if (response === undefined) {
      log.warn('the control plane sent resources of an unknown type; ignored');
      return;
    }
    const { kind, nonce, update, versions } = response;
    const errors = [...response.errors, ...apply(update)];
    const refused = new Set(errors.map((error) => error.slice(0, error.indexOf(': '))));
    const applied = new Map([...versions].filter(([name]) => !refused.has(name)));
    this.#subscriptions.noteApplied(kind, applied, update.removed);
    if (errors.length > 0) {
      log.error({ kind, errors }, 'refused configuration; the last good version stays in force');
    }
    onResponse?.(kind, errors.length === 0);
    this.#send(this.#subscriptions.answer(kind, nonce, errors));
    /** What came may name what is not asked for yet. */
    this.#flush();
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#retry?.[Symbol.dispose]();
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
    this.#client?.close();
  }
}
