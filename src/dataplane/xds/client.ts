// Keeps one delta stream to the control plane: asks for what is wanted, puts in force what comes, and answers for it.
import type { MethodDefinition } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { PlainMessage } from '@weft/xds/registry';
import type { ResourceKind } from '@weft/xds/resource';
import type { Logger } from 'pino';
import { LastingStream } from '../control-plane/lasting-stream.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import type { ResourceUpdate, Subscriptions } from '../state/config-store.ts';
import { deltaMethod, readResponse } from './read-response.ts';
import { DeltaSubscriptions } from './subscriptions.ts';

export interface XdsClientOptions {
  /** A channel with the certificate of now; asked for at each new stream, given back when that stream has ended. */
  readonly connect: () => ChannelLease;
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

export class XdsClient implements Subscriptions, Disposable {
  readonly #options: XdsClientOptions;
  readonly #subscriptions = new DeltaSubscriptions();
  readonly #method: MethodDefinition<PlainMessage, PlainMessage>;
  #stream: LastingStream | undefined;
  #isFlushing = false;
  #isNodeSent = false;

  constructor(options: XdsClientOptions) {
    this.#options = options;
    this.#method = deltaMethod();
  }

  /** Before this nothing is sent: there is no certificate yet. */
  start(): void {
    const { connect, clock, random, log, onState } = this.#options;
    this.#stream = new LastingStream({
      connect,
      method: this.#method,
      clock,
      random,
      log,
      absence: 'no stream to the control plane; what is in force stays',
      onOpen: (send) => {
        this.#isNodeSent = false;
        this.#subscriptions.reopen();
        for (const request of this.#subscriptions.takeRequests()) send(this.#named(request));
      },
      onMessage: (message) => this.#take(message),
      onState,
    });
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
    return this.#stream?.isOpen === true && this.#isNodeSent;
  }

  /** One request a turn holds all that was asked for in it. */
  #flushSoon(): void {
    if (this.#isFlushing || this.#stream === undefined) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#stream?.isOpen !== true) return;
    for (const request of this.#subscriptions.takeRequests()) this.#send(request);
  }

  #send(request: PlainMessage): void {
    this.#stream?.send(this.#named(request));
  }

  /** The first request of a stream says whose it is. */
  #named(request: PlainMessage): PlainMessage {
    if (this.#isNodeSent) return request;
    this.#isNodeSent = true;
    const { node, version } = this.#options;
    return {
      node: { ...node, user_agent_name: 'weft', user_agent_version: version },
      ...request,
    };
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
    this.#stream?.[Symbol.dispose]();
    this.#stream = undefined;
  }
}
