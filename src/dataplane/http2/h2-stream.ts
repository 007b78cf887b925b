// One stream of an HTTP/2 connection: its state, its windows, and what waits to be sent on it.
import type { ByteQueue } from './byte-queue.ts';
import { STREAM_WINDOW_BYTES } from './peer-settings.ts';

/** A decoded header list; positions count fields. */
export interface Fields {
  readonly raw: readonly string[];
  /** Fields that came never-indexed, which they stay (RFC 7541 §7.1.3). */
  readonly neverIndexed: readonly number[] | undefined;
}

export interface ReceivedFields extends Fields {
  /** What each field is by itself; good until the next block is decoded. */
  readonly marks: Uint8Array;
  /** Whether more came than is kept. */
  readonly isTooLarge: boolean;
}

/** Who uses a stream. None of these is called after `onClose`. */
export interface StreamUser {
  /** Of a server's answer each head; else trailers. */
  onHead(stream: H2Stream, fields: ReceivedFields, isEnd: boolean): void;
  /** The bytes are owed back by `credit`. */
  onData(stream: H2Stream, slice: Buffer, isEnd: boolean): void;
  /** Bytes given to `sendData` are on their way. */
  onSent(stream: H2Stream, bytes: number): void;
  /** Once. @param code what RST_STREAM said, or would have; `ERROR.none` when both sides have ended. */
  onClose(stream: H2Stream, code: number): void;
}

/** The connection that a stream is of. */
export interface StreamHost {
  sendHead(stream: H2Stream, fields: Fields, isEnd: boolean): void;
  sendData(stream: H2Stream, slice: Buffer, isEnd: boolean): void;
  sendTrailers(stream: H2Stream, fields: Fields): void;
  reset(stream: H2Stream, code: number): void;
  credit(stream: H2Stream, bytes: number): void;
}

export class H2Stream {
  readonly id: number;
  user: StreamUser;
  readonly #host: StreamHost;
  // Of here on kept by the connection.
  isLocalEnded = false;
  isRemoteEnded = false;
  isClosed = false;
  sendWindow: number;
  receiveLeft = STREAM_WINDOW_BYTES;
  /** Received and not credited yet. */
  held = 0;
  /** Credited, and the peer not told yet. */
  owed = 0;
  /** What waits for windows or the socket; made when something does. */
  waiting: ByteQueue | undefined;
  isEndWaiting = false;
  trailersWaiting: Fields | undefined;
  /** Whether it has its turn among those that can send. */
  isInTurn = false;

  constructor(host: StreamHost, id: number, user: StreamUser, sendWindow: number) {
    this.#host = host;
    this.id = id;
    this.user = user;
    this.sendWindow = sendWindow;
  }

  sendHead(fields: Fields, isEnd: boolean): void {
    if (!this.isLocalEnded) this.#host.sendHead(this, fields, isEnd);
  }

  /** Waits for windows and the socket; what has left is told to the user by `onSent`. */
  sendData(slice: Buffer, isEnd: boolean): void {
    if (!this.isLocalEnded && !this.isEndWaiting) this.#host.sendData(this, slice, isEnd);
  }

  /** After the data that waits. */
  sendTrailers(fields: Fields): void {
    if (!this.isLocalEnded && !this.isEndWaiting) this.#host.sendTrailers(this, fields);
  }

  /** Both ways; the user is told by `onClose`. */
  reset(code: number): void {
    if (!this.isClosed) this.#host.reset(this, code);
  }

  /** Received bytes have gone on, or are dropped: the peer may send as many again. */
  credit(bytes: number): void {
    const counted = Math.min(bytes, this.held);
    if (counted > 0) this.#host.credit(this, counted);
  }
}
