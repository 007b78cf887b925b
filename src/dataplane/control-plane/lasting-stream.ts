// Keeps one two-way stream to the control plane open: opens it again, later and later, with the certificate of now.
import type { MethodDefinition } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { PlainMessage } from '@weft/xds/registry';
import { describeUnknown, unknownIn } from '@weft/xds/unknown-fields';
import type { Logger } from 'pino';
import { Backoff, STREAM_BACKOFF } from './backoff.ts';
import type { Call } from './grpc/call.ts';
import { CallFailure, STATUS } from './grpc/status.ts';
import type { ChannelLease } from './shared-channel.ts';
import { whyNoAnswer } from './why-no-answer.ts';

export interface LastingStreamOptions {
  /** A channel with the certificate of now; asked for at each new stream, given back when that stream has ended. */
  readonly connect: () => ChannelLease;
  readonly method: MethodDefinition<PlainMessage, PlainMessage>;
  /** Default: that of all streams. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
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

/** Kinds of fields that are not known; a control plane that is newer by more than that is told of all the same. */
const MAX_TOLD = 16;
/** A stream that lived so long was a good one: the next failure counts as the first. */
const GOOD_STREAM_MS = 10_000;

export class LastingStream implements Disposable {
  readonly #options: LastingStreamOptions;
  readonly #backoff: Backoff;
  #call: Call | undefined;
  #lease: ChannelLease | undefined;
  #retry: Disposable | undefined;
  readonly #told = new Set<string>();
  #isDisposed = false;

  /** Opens the first one. */
  constructor(options: LastingStreamOptions) {
    const { backoff = STREAM_BACKOFF, random } = options;
    this.#options = options;
    this.#backoff = new Backoff({ ...backoff, random });
    this.#open();
  }

  get isOpen(): boolean {
    return this.#call !== undefined;
  }

  /** @returns whether there was a stream to send it on. */
  send(message: PlainMessage): boolean {
    if (this.#call === undefined) return false;
    this.#call.send(this.#options.method.requestSerialize(message));
    return true;
  }

  #open(): void {
    if (this.#isDisposed) return;
    const { connect, clock, method, onOpen, onState } = this.#options;
    const openedAt = clock.now();
    let lease: ChannelLease;
    try {
      lease = connect();
    } catch (error) {
      this.#again(error instanceof Error ? error.message : String(error));
      return;
    }
    const call = lease.channel.open(method.path, {
      onAnswered: () => {
        if (this.#call === call) onState?.(true);
      },
      onMessage: (bytes) => {
        if (this.#call === call) this.#take(call, bytes);
      },
      onEnd: (failure) => {
        lease[Symbol.dispose]();
        if (this.#call !== call) return;
        this.#call = undefined;
        if (clock.now() - openedAt >= GOOD_STREAM_MS) this.#backoff.reset();
        onState?.(false);
        this.#again(failure === undefined ? 'the stream ended' : reasonOf(failure));
      },
    });
    this.#lease = lease;
    this.#call = call;
    onOpen((message) => call.send(method.requestSerialize(message)));
  }

  #take(call: Call, bytes: Buffer): void {
    const { method, onMessage } = this.#options;
    let message: PlainMessage;
    try {
      message = method.responseDeserialize(bytes);
    } catch (error) {
      call.giveUp(new CallFailure(STATUS.INTERNAL, `a message cannot be read: ${String(error)}`));
      return;
    }
    this.#tellUnknown(message);
    onMessage(message);
  }

  /** Once for each: a newer control plane says it again and again. What becomes of it is for whoever reads the message. */
  #tellUnknown(message: PlainMessage): void {
    for (const field of unknownIn(message)) {
      const what = describeUnknown(field);
      if (this.#told.has(what) || this.#told.size >= MAX_TOLD) continue;
      this.#told.add(what);
      this.#options.log.warn(
        { what },
        'the control plane is newer: it says what is not known here',
      );
    }
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
    const call = this.#call;
    this.#call = undefined;
    call?.giveUp();
    this.#lease?.[Symbol.dispose]();
  }
}

/** What the server refused is said with its code; that there is no connection, without. */
const reasonOf = ({ code, details, message }: CallFailure): string =>
  whyNoAnswer(code === STATUS.UNAVAILABLE ? details : message);
