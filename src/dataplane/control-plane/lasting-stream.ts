// Keeps one two-way stream to the control plane open: opens it again, later and later, with the certificate of now.
import type { ClientDuplexStream, MethodDefinition } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { PlainMessage } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { Backoff } from './backoff.ts';
import type { ChannelLease } from './shared-channel.ts';
import { whyNoAnswer } from './why-no-answer.ts';

export interface LastingStreamOptions {
  /** A channel with the certificate of now; asked for at each new stream, given back when that stream has ended. */
  readonly connect: () => ChannelLease;
  readonly method: MethodDefinition<PlainMessage, PlainMessage>;
  readonly backoff: { readonly baseMs: number; readonly maxMs: number };
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** What the log says when there is none. */
  readonly absence: string;
  /** First of a new stream: what must be said on every one. */
  readonly onOpen: (send: (message: PlainMessage) => void) => void;
  readonly onMessage: (message: PlainMessage) => void;
  /** The server has answered; or the stream is gone. */
  readonly onState?: (isConnected: boolean) => void;
}

/** A stream that lived so long was a good one: the next failure counts as the first. */
const GOOD_STREAM_MS = 10_000;

type Stream = ClientDuplexStream<PlainMessage, PlainMessage>;

export class LastingStream implements Disposable {
  readonly #options: LastingStreamOptions;
  readonly #backoff: Backoff;
  #stream: Stream | undefined;
  #lease: ChannelLease | undefined;
  #retry: Disposable | undefined;
  #isDisposed = false;

  /** Opens the first one. */
  constructor(options: LastingStreamOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...options.backoff, random: options.random });
    this.#open();
  }

  get isOpen(): boolean {
    return this.#stream !== undefined;
  }

  /** @returns whether there was a stream to send it on. */
  send(message: PlainMessage): boolean {
    if (this.#stream === undefined) return false;
    this.#stream.write(message);
    return true;
  }

  #open(): void {
    if (this.#isDisposed) return;
    const { connect, clock, method, onOpen, onMessage, onState } = this.#options;
    const openedAt = clock.now();
    let lease: ChannelLease;
    try {
      lease = connect();
    } catch (error) {
      this.#again(error instanceof Error ? error.message : String(error));
      return;
    }
    const { path, requestSerialize, responseDeserialize } = method;
    const stream: Stream = lease.client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
    );
    this.#lease = lease;
    this.#stream = stream;
    let reason = 'the stream ended';
    stream.on('metadata', () => {
      if (this.#stream === stream) onState?.(true);
    });
    stream.on('data', (message: PlainMessage) => {
      if (this.#stream === stream) onMessage(message);
    });
    stream.on('error', (error) => {
      reason = whyNoAnswer(error.message);
    });
    /** The last event of a call, however it went. */
    stream.on('status', () => {
      lease[Symbol.dispose]();
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      if (clock.now() - openedAt >= GOOD_STREAM_MS) this.#backoff.reset();
      onState?.(false);
      this.#again(reason);
    });
    onOpen((message) => stream.write(message));
  }

  #again(reason: string): void {
    if (this.#isDisposed) return;
    const { log, absence, clock } = this.#options;
    const delayMs = this.#backoff.next();
    log.warn({ reason, retryInMs: Math.round(delayMs), failures: this.#backoff.failures }, absence);
    this.#retry = clock.setTimeout(() => this.#open(), delayMs);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#retry?.[Symbol.dispose]();
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
    this.#lease?.[Symbol.dispose]();
  }
}
