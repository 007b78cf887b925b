// One call of the Workload API on a stream of HTTP/2: one message in, messages out, and the one word how it ended.
import type { ServerHttp2Stream } from 'node:http2';
import { frameMessage, MessageReader } from '../control-plane/grpc/messages.ts';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';

/** 16 KiB: a token to be judged is the longest that anybody asks with. */
const MAX_REQUEST_BYTES = 16_384;
/** 10 s: who calls has its message at hand. */
const REQUEST_MS = 10_000;
const HEADERS = { ':status': 200, 'content-type': 'application/grpc' } as const;

/** Percent-encoded, as gRPC has it; spaces may stay. */
const encodeDetails = (details: string): string =>
  encodeURIComponent(details).replaceAll('%20', ' ');

export class ApiCall {
  readonly #stream: ServerHttp2Stream;
  #outcome: { readonly code: number; readonly details: string } | undefined;
  /** What is newer than what the caller has read. */
  #next: Uint8Array | undefined;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    /** `close` follows, and says all there is to say. */
    stream.on('error', () => undefined);
    stream.on('drain', () => this.#sendNext());
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailers()));
  }

  get isOver(): boolean {
    return this.#outcome !== undefined || this.#stream.destroyed;
  }

  onClose(run: () => void): void {
    this.#stream.once('close', run);
  }

  /** The caller's message. @throws CallFailure when none came in time, or it is too long; Error when the caller is gone. */
  request(): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const stream = this.#stream;
    const reader = new MessageReader(MAX_REQUEST_BYTES);
    const late = new CallFailure(STATUS.DEADLINE_EXCEEDED, 'no request came');
    const timer = setTimeout(() => reject(late), REQUEST_MS);
    timer.unref();
    stream.on('data', (chunk: Buffer) => {
      try {
        reader.read(chunk, resolve);
      } catch (error) {
        stream.pause();
        reject(error);
      }
    });
    stream.once('end', () => reject(new CallFailure(STATUS.INVALID_ARGUMENT, 'no message came')));
    stream.once('close', () => reject(new Error('Cannot read the request: the caller is gone')));
    return promise.finally(() => clearTimeout(timer));
  }

  /** Now, or when the caller has read what came before; of several that wait the newest alone is sent. */
  sendLatest(message: Uint8Array): void {
    this.#next = message;
    if (!this.#stream.writableNeedDrain) this.#sendNext();
  }

  #sendNext(): void {
    const message = this.#next;
    if (message === undefined || this.isOver) return;
    this.#next = undefined;
    this.#open();
    this.#stream.write(frameMessage(message));
  }

  #open(): void {
    if (!this.#stream.headersSent) this.#stream.respond(HEADERS, { waitForTrailers: true });
  }

  /** The only message of an answer, and the end. */
  answer(message: Uint8Array): void {
    if (this.isOver) return;
    this.#outcome = { code: STATUS.OK, details: '' };
    this.#open();
    this.#stream.end(frameMessage(message));
  }

  fail({ code, details }: CallFailure): void {
    if (this.isOver) return;
    this.#outcome = { code, details };
    if (this.#stream.headersSent) this.#stream.end();
    else this.#stream.respond({ ...HEADERS, ...this.#trailers() }, { endStream: true });
    /** A reset would come before the word why. What the caller still sends nobody reads, and not for long. */
    this.#stream.removeAllListeners('data').resume();
    this.#stream.setTimeout(REQUEST_MS, () => this.#stream.close());
  }

  #trailers(): Record<string, string> {
    const { code, details } = this.#outcome ?? { code: STATUS.UNKNOWN, details: '' };
    return {
      'grpc-status': String(code),
      ...(details !== '' && { 'grpc-message': encodeDetails(details) }),
    };
  }
}
