// Keeps the renewal stream open: sends requests for certificates, takes certificates, bundles and calls to renew.
import type { Client, ClientDuplexStream, MethodDefinition } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { Backoff } from '../control-plane/backoff.ts';

export interface RenewalHandlers {
  /** First of a new stream: what must be said on every one. */
  onOpen(send: (request: PlainMessage) => void): void;
  onSvid(message: PlainMessage): void;
  onBundle(message: PlainMessage): void;
  onRenewNow(): void;
}

export interface RenewalStreamOptions {
  readonly connect: () => Client;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly handlers: RenewalHandlers;
}

const SERVICE = 'weft.enrolment.v1.Enrolment';
const BACKOFF = { baseMs: 500, maxMs: 30_000 } as const;
const GOOD_STREAM_MS = 10_000;
type Stream = ClientDuplexStream<PlainMessage, PlainMessage>;

const isMessage = (value: unknown): value is PlainMessage =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array);

export class RenewalStream implements Disposable {
  readonly #options: RenewalStreamOptions;
  readonly #backoff: Backoff;
  readonly #method: MethodDefinition<PlainMessage, PlainMessage>;
  #stream: Stream | undefined;
  #retry: Disposable | undefined;
  #isDisposed = false;

  constructor(options: RenewalStreamOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
    const method = serviceDefinition(SERVICE)['Renew'];
    if (method === undefined) throw new TypeError(`Cannot find Renew of ${SERVICE}`);
    this.#method = method;
    this.#open();
  }

  /** @returns whether there was a stream to send it on. */
  send(request: PlainMessage): boolean {
    if (this.#stream === undefined) return false;
    this.#stream.write(request);
    return true;
  }

  #open(): void {
    const { connect, clock, handlers, log } = this.#options;
    const openedAt = clock.now();
    let reason = 'the stream ended';
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
    this.#stream = stream;
    stream.on('data', (message: PlainMessage) => {
      const { svid, bundle, renew_now: renewNow } = message;
      if (isMessage(svid)) handlers.onSvid(svid);
      else if (isMessage(bundle)) handlers.onBundle(bundle);
      else if (isMessage(renewNow)) handlers.onRenewNow();
      else log.warn('the control plane sent something unknown on the renewal stream');
    });
    stream.on('error', (error) => {
      reason = error.message;
    });
    stream.on('status', () => {
      client.close();
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      if (clock.now() - openedAt >= GOOD_STREAM_MS) this.#backoff.reset();
      this.#again(reason);
    });
    handlers.onOpen((request) => stream.write(request));
  }

  #again(reason: string): void {
    if (this.#isDisposed) return;
    const delayMs = this.#backoff.next();
    this.#options.log.warn({ reason, retryInMs: Math.round(delayMs) }, 'no renewal stream');
    this.#retry = this.#options.clock.setTimeout(() => this.#open(), delayMs);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#retry?.[Symbol.dispose]();
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
  }
}
