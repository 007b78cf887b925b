// Reads a request's body once and can send its beginning again: for a stream that a departing peer has refused.
import type { ClientHttp2Stream, ServerHttp2Stream } from 'node:http2';

/** 64 KiB: what a peer that says nothing lets a stream send before it answers. Longer bodies are not sent twice. */
const MAX_KEPT_BYTES = 65_536;

/** The part of an exchange that the replay counts and notes for. */
export interface ReplayedExchange {
  readonly stream: ServerHttp2Stream;
  bytesReceived: number;
  requestTrailers: readonly string[] | undefined;
}

export class RequestReplay {
  readonly #exchange: ReplayedExchange;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #isKeeping = true;
  #upstream: ClientHttp2Stream | undefined;

  constructor(exchange: ReplayedExchange) {
    this.#exchange = exchange;
    const { stream } = exchange;
    stream.on('trailers', (_trailers, _flags, raw) => {
      exchange.requestTrailers = raw;
    });
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('end', () => {
      if (this.#upstream?.destroyed === false) this.#upstream.end();
    });
    stream.pause();
  }

  /** Whether all that was read of the body is still here. */
  get isWhole(): boolean {
    return this.#isKeeping;
  }

  /** The body goes to this stream from now on, from its beginning. */
  sendTo(upstream: ClientHttp2Stream): void {
    const { stream } = this.#exchange;
    this.#upstream = upstream;
    upstream.on('drain', () => {
      if (this.#upstream === upstream) stream.resume();
    });
    let hasRoom = true;
    for (const chunk of this.#kept) hasRoom = upstream.write(chunk);
    if (stream.readableEnded) upstream.end();
    else if (hasRoom) stream.resume();
  }

  /** An answer has begun: nothing is sent again. */
  forget(): void {
    this.#isKeeping = false;
    this.#kept = [];
  }

  #take(chunk: Buffer): void {
    this.#exchange.bytesReceived += chunk.length;
    if (this.#isKeeping) {
      this.#keptBytes += chunk.length;
      if (this.#keptBytes > MAX_KEPT_BYTES) this.forget();
      else this.#kept.push(chunk);
    }
    const upstream = this.#upstream;
    if (upstream === undefined || upstream.destroyed || upstream.writableEnded) return;
    if (!upstream.write(chunk)) this.#exchange.stream.pause();
  }
}
