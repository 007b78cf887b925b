// Decides whose DATA goes out next on one connection: within both windows, while the socket takes it, one frame each in turn.
import { ByteQueue } from './byte-queue.ts';
import { DEFAULT_WINDOW_BYTES, MAX_FRAME_BYTES } from './frames.ts';
import type { H2Stream } from './h2-stream.ts';

export interface DataOutlet {
  /** Whether the socket has enough for now. */
  readonly isBlocked: boolean;
  /** At most one frame's payload, within the windows. @param isEnd ends the stream. */
  writeData(stream: H2Stream, payload: Buffer, isEnd: boolean): void;
  /** Its data has gone, and these trailers were waiting for it. */
  writeTrailers(stream: H2Stream): void;
}

const EMPTY = Buffer.alloc(0);

export class DataSender {
  readonly #outlet: DataOutlet;
  /** The connection's, shared by its streams. */
  #window = DEFAULT_WINDOW_BYTES;
  #turn: H2Stream[] = [];

  constructor(outlet: DataOutlet) {
    this.#outlet = outlet;
  }

  send(stream: H2Stream, slice: Buffer, isEnd: boolean): void {
    const { length } = slice;
    const isFirst = stream.waiting === undefined || stream.waiting.bytes === 0;
    const isFree = isFirst && this.#turn.length === 0 && !this.#outlet.isBlocked;
    if (isFree && length <= MAX_FRAME_BYTES && length <= this.#roomOf(stream)) {
      this.#write(stream, slice, isEnd);
      return;
    }
    (stream.waiting ??= new ByteQueue()).push(slice);
    stream.isEndWaiting = isEnd;
    this.#takeTurn(stream);
    this.pump();
  }

  /** Trailers and all that waits before them. */
  sendTrailers(stream: H2Stream): void {
    stream.isEndWaiting = true;
    if (stream.waiting === undefined || stream.waiting.bytes === 0) {
      this.#outlet.writeTrailers(stream);
    }
  }

  /** @returns whether the window is still one. */
  widen(bytes: number, max: number): boolean {
    this.#window += bytes;
    if (this.#window > max) return false;
    this.pump();
    return true;
  }

  /** Its own window has grown. */
  onRoom(stream: H2Stream): void {
    if (stream.waiting === undefined || stream.waiting.bytes === 0) return;
    this.#takeTurn(stream);
    this.pump();
  }

  forget(stream: H2Stream): void {
    stream.waiting?.clear();
    if (!stream.isInTurn) return;
    stream.isInTurn = false;
    this.#turn = this.#turn.filter((one) => one !== stream);
  }

  pump(): void {
    while (this.#turn.length > 0 && !this.#outlet.isBlocked) {
      const [stream] = this.#turn;
      if (stream === undefined) return;
      const hasBytes = stream.waiting !== undefined && stream.waiting.bytes > 0;
      if (hasBytes && this.#window <= 0) return;
      this.#turn.shift();
      stream.isInTurn = false;
      this.#sendOne(stream);
    }
  }

  #takeTurn(stream: H2Stream): void {
    if (stream.isInTurn || stream.isClosed) return;
    stream.isInTurn = true;
    this.#turn.push(stream);
  }

  #roomOf(stream: H2Stream): number {
    return Math.min(stream.sendWindow, this.#window);
  }

  /** One frame; what is left waits for the stream's next turn, or for its window. */
  #sendOne(stream: H2Stream): void {
    const { waiting } = stream;
    const room = Math.min(this.#roomOf(stream), MAX_FRAME_BYTES);
    const isEmpty = waiting === undefined || waiting.bytes === 0;
    if (!isEmpty && room <= 0) return;
    const payload = waiting === undefined || isEmpty ? EMPTY : waiting.take(room);
    const isLast = waiting === undefined || waiting.bytes === 0;
    if (!isLast) this.#takeTurn(stream);
    const hasTrailers = stream.trailersWaiting !== undefined;
    const isEnd = isLast && stream.isEndWaiting && !hasTrailers;
    if (payload.length > 0 || isEnd) this.#write(stream, payload, isEnd);
    if (isLast && hasTrailers && !stream.isClosed) this.#outlet.writeTrailers(stream);
  }

  #write(stream: H2Stream, payload: Buffer, isEnd: boolean): void {
    stream.sendWindow -= payload.length;
    this.#window -= payload.length;
    this.#outlet.writeData(stream, payload, isEnd);
  }
}
