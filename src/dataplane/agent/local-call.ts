// One two-way gRPC call of a program beside us: its messages as they come, ours to it, and the one word how it ended.
import type { ServerHttp2Stream } from 'node:http2';
import { frameMessage, MessageReader } from '../control-plane/grpc/messages.ts';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';

export interface LocalCallHandlers {
  readonly onMessage: (bytes: Buffer) => void;
  /** The caller has said all that it will. */
  readonly onHalfClose: () => void;
  /** What `send()` could not pass on at once is on its way. */
  readonly onDrain: () => void;
  /** The last, and once. */
  readonly onClose: () => void;
}

const HEADERS = { ':status': 200, 'content-type': 'application/grpc' } as const;
/** 10 s: what a refused caller still sends nobody reads, and not for long. */
const LINGER_MS = 10_000;

/** Percent-encoded, as gRPC has it; spaces may stay. */
const encodeDetails = (details: string): string =>
  encodeURIComponent(details.toWellFormed()).replaceAll('%20', ' ');

export class LocalCall {
  readonly #stream: ServerHttp2Stream;
  readonly #reader: MessageReader;
  readonly #handlers: LocalCallHandlers;
  #outcome: { readonly code: number; readonly details: string } | undefined;

  constructor(
    stream: ServerHttp2Stream,
    { maxMessageBytes, ...handlers }: LocalCallHandlers & { readonly maxMessageBytes: number },
  ) {
    this.#stream = stream;
    this.#reader = new MessageReader(maxMessageBytes);
    this.#handlers = handlers;
    /** `close` follows, and says all there is to say. */
    stream.on('error', () => undefined);
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailers()));
    stream.on('drain', handlers.onDrain);
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.once('end', () => {
      if (!this.isOver) handlers.onHalfClose();
    });
    stream.once('close', handlers.onClose);
  }

  get isOver(): boolean {
    return this.#outcome !== undefined || this.#stream.destroyed;
  }

  #read(chunk: Buffer): void {
    if (this.isOver) return;
    try {
      this.#reader.read(chunk, (message) => {
        if (!this.isOver) this.#handlers.onMessage(message);
      });
    } catch (error) {
      if (!(error instanceof CallFailure)) throw error;
      this.end(error);
    }
  }

  /** @returns whether more may come now; else `onDrain` says when. */
  send(message: Uint8Array): boolean {
    if (this.isOver) return true;
    if (!this.#stream.headersSent) this.#stream.respond(HEADERS, { waitForTrailers: true });
    return this.#stream.write(frameMessage(message));
  }

  /** What the caller sends waits there; messages of what has come already are still told. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** @param failure absent: all went well. */
  end(failure?: CallFailure): void {
    if (this.isOver) return;
    const stream = this.#stream;
    this.#outcome = { code: failure?.code ?? STATUS.OK, details: failure?.details ?? '' };
    if (stream.headersSent) stream.end();
    else stream.respond({ ...HEADERS, ...this.#trailers() }, { endStream: true });
    /** A reset would come before the word why. */
    stream.resume();
    stream.setTimeout(LINGER_MS, () => stream.close());
  }

  #trailers(): Record<string, string> {
    const { code, details } = this.#outcome ?? { code: STATUS.UNKNOWN, details: '' };
    return {
      'grpc-status': String(code),
      ...(details !== '' && { 'grpc-message': encodeDetails(details) }),
    };
  }
}
