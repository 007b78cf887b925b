// Writes an upstream's answer to the client as it comes, each part in one write where it is small.
import type { Socket } from 'node:net';
import { GatheredWrites } from '../tcp/gathered-writes.ts';
import type { Body } from './h1-body.ts';
import { writeResponseHead, writeTrailers, type ResponseEdits } from './h1-edit.ts';
import type { Http1ResponseHead } from './h1-response.ts';

/** Bodies up to this are put into one string with their head: one write is cheaper than the copy. */
const SMALL_BODY_BYTES = 16_384;

const keepAll = (): boolean => false;

export class AnswerRelay {
  readonly #socket: Socket;
  readonly #body: Body;
  readonly #pieces: GatheredWrites;
  #isRechunked = false;
  /** Of the body, as sent. */
  bytesSent = 0;
  /** Why the answer cannot go on; '' when all is well. */
  reasonCode = '';
  /** Whether the client took what was written last without queueing. */
  isRoomy = true;

  constructor(socket: Socket, body: Body) {
    this.#socket = socket;
    this.#body = body;
    this.#pieces = new GatheredWrites(socket);
  }

  reset(): void {
    this.#isRechunked = false;
    this.bytesSent = 0;
    this.reasonCode = '';
    this.isRoomy = true;
  }

  /** @returns where the answer ends in `chunk`. */
  begin(head: Http1ResponseHead, chunk: Buffer, bodyStart: number, edits: ResponseEdits): number {
    const body = this.#body;
    if (edits.isUnchunked) body.unwrapChunks();
    const text = writeResponseHead(head, edits);
    const isAsCame = text === head.text && chunk.length >= text.length;
    const end = body.isDone ? bodyStart : body.consume(chunk, bodyStart);
    this.#isRechunked = edits.isRechunked;
    const isPlain =
      !edits.isRechunked &&
      body.ranges === undefined &&
      body.trailerText === '' &&
      body.reasonCode === '';
    if (!isPlain) {
      this.isRoomy = this.#socket.write(text, 'latin1');
      this.#writePart(chunk, bodyStart);
      return end;
    }
    const passEnd = body.isChunked ? body.passEnd : end;
    this.bytesSent += passEnd - bodyStart;
    const headStart = bodyStart - text.length;
    if (isAsCame) this.isRoomy = this.#socket.write(slice(chunk, headStart, passEnd));
    else if (passEnd - bodyStart <= SMALL_BODY_BYTES) {
      this.isRoomy = this.#socket.write(
        text + chunk.toString('latin1', bodyStart, passEnd),
        'latin1',
      );
    } else {
      this.#socket.cork();
      this.#socket.write(text, 'latin1');
      this.isRoomy = this.#socket.write(chunk.subarray(bodyStart, passEnd));
      this.#socket.uncork();
    }
    return end;
  }

  /** @returns where the answer ends in `chunk`. */
  write(chunk: Buffer): number {
    const end = this.#body.consume(chunk, 0);
    this.#writePart(chunk, 0);
    return end;
  }

  /** What the body has let pass of `chunk`. A piece with an error in it is not sent on. */
  #writePart(chunk: Buffer, start: number): void {
    const body = this.#body;
    if (body.reasonCode !== '') {
      this.reasonCode = `upstream-${body.reasonCode}`;
      return;
    }
    if (body.ranges !== undefined) {
      this.#writeRanges(chunk, body.ranges);
      return;
    }
    if (this.#isRechunked) {
      this.#writeChunk(slice(chunk, start, body.passEnd));
      return;
    }
    if (body.passEnd > start) {
      this.bytesSent += body.passEnd - start;
      this.isRoomy = this.#pieces.write(slice(chunk, start, body.passEnd));
    }
    if (body.isDone) this.#pieces.flush();
    if (!body.isDone || body.trailerText === '') return;
    const trailers = writeTrailers(body.trailerText, keepAll);
    if (trailers === undefined) this.reasonCode = 'upstream-trailers-bad';
    else this.isRoomy = this.#socket.write(trailers, 'latin1');
  }

  /** An answer that ended with its connection has ended. */
  end(): void {
    if (this.#isRechunked) this.#socket.write('0\r\n\r\n', 'latin1');
  }

  #writeChunk(data: Buffer): void {
    if (data.length === 0) return;
    this.bytesSent += data.length;
    this.#socket.cork();
    this.#socket.write(`${data.length.toString(16)}\r\n`, 'latin1');
    this.#socket.write(data);
    this.isRoomy = this.#socket.write('\r\n', 'latin1');
    this.#socket.uncork();
  }

  #writeRanges(chunk: Buffer, ranges: number[]): void {
    const parts: Buffer[] = [];
    for (let at = 0; at + 1 < ranges.length; at += 2) {
      parts.push(chunk.subarray(ranges[at], ranges[at + 1]));
    }
    ranges.length = 0;
    const data = Buffer.concat(parts);
    this.bytesSent += data.length;
    if (data.length > 0) this.isRoomy = this.#socket.write(data);
  }
}

const slice = (chunk: Buffer, start: number, end: number): Buffer =>
  start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end);
