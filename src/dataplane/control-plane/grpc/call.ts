// One gRPC call on a stream of HTTP/2: messages out and in, and the one word how it ended.
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import { frameMessage, MessageReader } from './messages.ts';
import { CallFailure, codeOfHttpStatus, codeOfReset, readMessage, STATUS } from './status.ts';

export interface CallHandlers {
  /** The server has taken the call. */
  readonly onAnswered?: () => void;
  readonly onMessage: (bytes: Buffer) => void;
  /** What `send()` could not pass on at once is on its way. */
  readonly onDrain?: () => void;
  /** The last, and once; `undefined` when the status was OK. */
  readonly onEnd: (failure: CallFailure | undefined) => void;
}

export interface CallOptions extends CallHandlers {
  readonly stream: ClientHttp2Stream;
  readonly maxMessageBytes: number;
  /** Why the connection is gone, where it is. */
  readonly whyGone: () => string | undefined;
}

const OK_STATUS = 200;
const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

export class Call {
  readonly #options: CallOptions;
  readonly #stream: ClientHttp2Stream;
  readonly #reader: MessageReader;
  /** What the server said last, or why we gave the call up: that comes first. */
  #outcome: { readonly failure: CallFailure | undefined } | undefined;
  #error: Error | undefined;

  constructor(options: CallOptions) {
    this.#options = options;
    this.#stream = options.stream;
    this.#reader = new MessageReader(options.maxMessageBytes);
    const stream = this.#stream;
    stream.on('response', (headers) => this.#answered(headers));
    stream.on('trailers', (headers) => this.#hear(headers));
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('drain', () => options.onDrain?.());
    // Nothing more comes; what we might still send nobody reads.
    stream.on('end', () => stream.end());
    stream.on('error', (error) => {
      this.#error = error;
    });
    stream.once('close', () => options.onEnd(this.#ending()));
  }

  /** @returns whether more may come now; else `onDrain` says when. */
  send(bytes: Uint8Array): boolean {
    return !this.#stream.writable || this.#stream.write(frameMessage(bytes));
  }

  /** What the server sends waits there; messages of what has come already are still told. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** The last message. */
  end(bytes: Uint8Array): void {
    if (this.#stream.writable) this.#stream.end(frameMessage(bytes));
  }

  /** @param failure what `onEnd` is told, unless the call has ended otherwise already. */
  giveUp(failure = new CallFailure(STATUS.CANCELLED, 'cancelled here')): void {
    this.#outcome ??= { failure };
    this.#stream.close(NGHTTP2_CANCEL);
  }

  #answered(headers: IncomingHttpHeaders): void {
    const status = Number(headers[':status']);
    if (status !== OK_STATUS && headers['grpc-status'] === undefined) {
      this.giveUp(
        new CallFailure(codeOfHttpStatus(status), `the answer has HTTP status ${status}`),
      );
      return;
    }
    if (headers['grpc-status'] === undefined) this.#options.onAnswered?.();
    else this.#hear(headers);
  }

  #hear(headers: IncomingHttpHeaders): void {
    const said = headers['grpc-status'];
    if (said === undefined) return;
    const code = Number(said);
    const details = readMessage(String(headers['grpc-message'] ?? ''));
    const failure =
      code === STATUS.OK
        ? undefined
        : new CallFailure(Number.isInteger(code) ? code : STATUS.UNKNOWN, details);
    this.#outcome ??= { failure };
  }

  #read(chunk: Buffer): void {
    try {
      this.#reader.read(chunk, (message) => {
        if (this.#outcome === undefined) this.#options.onMessage(message);
      });
    } catch (error) {
      if (!(error instanceof CallFailure)) throw error;
      this.giveUp(error);
    }
  }

  #ending(): CallFailure | undefined {
    if (this.#outcome?.failure !== undefined) return this.#outcome.failure;
    if (this.#outcome !== undefined) {
      if (this.#reader.isBetweenMessages) return undefined;
      return new CallFailure(STATUS.INTERNAL, 'the answer ended within a message');
    }
    const gone = this.#options.whyGone();
    if (gone !== undefined) return new CallFailure(STATUS.UNAVAILABLE, gone);
    const { rstCode } = this.#stream;
    if (rstCode === NGHTTP2_NO_ERROR || rstCode === undefined) {
      const why = this.#error?.message ?? 'the server ended the call without a status';
      return new CallFailure(STATUS.UNKNOWN, why);
    }
    return new CallFailure(codeOfReset(rstCode), `the call was reset with code ${rstCode}`);
  }
}
