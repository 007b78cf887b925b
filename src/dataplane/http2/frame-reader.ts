// Reads HTTP/2 frames out of received chunks: DATA is handed on in slices as it comes, everything else whole and bounded.
import { HeaderBlock, type Block } from './header-block.ts';
import { ERROR, FLAG, FRAME, FRAME_HEAD_BYTES, MAX_FRAME_BYTES, PREFACE } from './frames.ts';

/** What takes the frames. Views on received bytes are good until the call returns, slices of DATA for as long as they are held. */
export interface FrameSink {
  /** @param length what flow control counts, padding included. */
  onDataHead(streamId: number, length: number, padding: number, isEndStream: boolean): void;
  /** At least once a frame. @param isLast of this frame. */
  onDataSlice(slice: Buffer, isLast: boolean): void;
  /** A whole header block, its continuations included. */
  onHeaders(streamId: number, block: Block, isEndStream: boolean): void;
  onPriority(): void;
  onReset(streamId: number, code: number): void;
  onSettings(payload: Buffer): void;
  onSettingsAck(): void;
  onPing(payload: Buffer, isAck: boolean): void;
  onGoaway(lastStreamId: number, code: number): void;
  onWindowUpdate(streamId: number, increment: number): void;
  /** A frame of a kind that nobody knows: passed over. */
  onUnknown(): void;
  /** The connection cannot go on (RFC 9113 §5.4.1); nothing is read after it. */
  onBroken(code: number, reason: string): void;
}

type State = 'preface' | 'head' | 'padding-length' | 'data' | 'payload' | 'skip';

const EMPTY = Buffer.alloc(0);
const STREAM_ID_MASK = 0x7fffffff;

export class FrameReader {
  readonly #sink: FrameSink;
  #state: State;
  #isFirst = true;
  #isStopped = false;
  /** Bytes of a preface, head or payload that a chunk has ended in. */
  #gathered: Buffer = EMPTY;
  #gatheredBytes = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #length = 0;
  /** Bytes of DATA, or of what is skipped, that are still to come. */
  #left = 0;
  #padding = 0;
  readonly #block = new HeaderBlock();

  /** @param isServer whether a preface comes first. */
  constructor(sink: FrameSink, isServer: boolean) {
    this.#sink = sink;
    this.#state = isServer ? 'preface' : 'head';
  }

  /** Nothing more is read. */
  stop(): void {
    this.#isStopped = true;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#isStopped) at = this.#step(chunk, at);
  }

  /** @returns where in the chunk reading goes on. */
  #step(chunk: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(chunk, at);
      case 'data':
        return this.#readData(chunk, at);
      case 'payload':
        return this.#readPayload(chunk, at);
      case 'padding-length':
        this.#beginData(chunk[at] ?? 0, 1);
        return at + 1;
      case 'skip':
        return this.#skip(chunk, at);
      case 'preface':
        return this.#readPreface(chunk, at);
    }
  }

  #break(code: number, reason: string): void {
    this.#isStopped = true;
    this.#sink.onBroken(code, reason);
  }

  /** Takes what the chunk has of `wanted` bytes that began in an earlier one. @returns how much of it. */
  #gather(chunk: Buffer, at: number, wanted: number): number {
    if (this.#gatheredBytes === 0) this.#gathered = Buffer.allocUnsafe(wanted);
    const taken = chunk.copy(
      this.#gathered,
      this.#gatheredBytes,
      at,
      at + wanted - this.#gatheredBytes,
    );
    this.#gatheredBytes += taken;
    return taken;
  }

  #takeGathered(): Buffer {
    const whole = this.#gathered;
    this.#gathered = EMPTY;
    this.#gatheredBytes = 0;
    return whole;
  }

  #readPreface(chunk: Buffer, at: number): number {
    const next = at + this.#gather(chunk, at, PREFACE.length);
    const known = this.#gathered.subarray(0, this.#gatheredBytes);
    if (!known.equals(PREFACE.subarray(0, this.#gatheredBytes))) {
      this.#break(ERROR.protocol, 'no HTTP/2 preface');
    } else if (this.#gatheredBytes === PREFACE.length) {
      this.#takeGathered();
      this.#state = 'head';
    }
    return next;
  }

  #readHead(chunk: Buffer, at: number): number {
    if (this.#gatheredBytes === 0 && chunk.length - at >= FRAME_HEAD_BYTES) {
      this.#beginFrame(chunk, at);
      return at + FRAME_HEAD_BYTES;
    }
    const next = at + this.#gather(chunk, at, FRAME_HEAD_BYTES);
    if (this.#gatheredBytes === FRAME_HEAD_BYTES) this.#beginFrame(this.#takeGathered(), 0);
    return next;
  }

  #beginFrame(bytes: Buffer, at: number): void {
    const typed = bytes.readUInt32BE(at);
    const length = typed >>> 8;
    const type = typed & 0xff;
    this.#length = length;
    this.#type = type;
    this.#flags = bytes[at + 4] ?? 0;
    this.#streamId = bytes.readUInt32BE(at + 5) & STREAM_ID_MASK;
    if (length > MAX_FRAME_BYTES) {
      this.#break(ERROR.frameSize, 'a frame longer than 16,384 bytes');
      return;
    }
    if (this.#isFirst && (type !== FRAME.settings || (this.#flags & FLAG.ack) !== 0)) {
      this.#break(ERROR.protocol, 'the first frame is no SETTINGS');
      return;
    }
    this.#isFirst = false;
    if (this.#block.isOpen !== (type === FRAME.continuation)) {
      this.#break(ERROR.protocol, 'CONTINUATION out of place');
      return;
    }
    if (type === FRAME.data) this.#beginDataFrame();
    else if (type > FRAME.continuation) {
      this.#sink.onUnknown();
      this.#beginSkip(length);
    } else this.#beginPayload();
  }

  #beginDataFrame(): void {
    if (this.#streamId === 0) this.#break(ERROR.protocol, 'DATA on stream 0');
    else if ((this.#flags & FLAG.padded) === 0) this.#beginData(0, 0);
    else if (this.#length === 0) this.#break(ERROR.frameSize, 'padding in no bytes');
    else this.#state = 'padding-length';
  }

  /** @param headBytes of the padding's length. */
  #beginData(padding: number, headBytes: number): void {
    if (padding + headBytes > this.#length) {
      this.#break(ERROR.protocol, 'padding longer than its frame');
      return;
    }
    const isEndStream = (this.#flags & FLAG.endStream) !== 0;
    this.#padding = padding;
    this.#left = this.#length - headBytes - padding;
    this.#state = 'data';
    this.#sink.onDataHead(this.#streamId, this.#length, padding + headBytes, isEndStream);
    if (this.#left === 0 && !this.#isStopped) this.#endData(EMPTY);
  }

  #readData(chunk: Buffer, at: number): number {
    const left = chunk.length - at;
    if (left < this.#left) {
      this.#left -= left;
      this.#sink.onDataSlice(at === 0 ? chunk : chunk.subarray(at), false);
      return chunk.length;
    }
    const next = at + this.#left;
    this.#endData(chunk.subarray(at, next));
    return next;
  }

  #endData(slice: Buffer): void {
    this.#beginSkip(this.#padding);
    this.#sink.onDataSlice(slice, true);
  }

  #beginSkip(length: number): void {
    this.#left = length;
    this.#state = length === 0 ? 'head' : 'skip';
  }

  #skip(chunk: Buffer, at: number): number {
    const skipped = Math.min(this.#left, chunk.length - at);
    this.#beginSkip(this.#left - skipped);
    return at + skipped;
  }

  #beginPayload(): void {
    const why = whyRefused(this.#type, this.#flags, this.#streamId, this.#length);
    if (why !== undefined) this.#break(why.code, why.reason);
    else if (this.#length === 0) this.#endPayload(EMPTY, 0);
    else this.#state = 'payload';
  }

  #readPayload(chunk: Buffer, at: number): number {
    if (this.#gatheredBytes === 0 && chunk.length - at >= this.#length) {
      this.#endPayload(chunk, at);
      return at + this.#length;
    }
    const next = at + this.#gather(chunk, at, this.#length);
    if (this.#gatheredBytes === this.#length) this.#endPayload(this.#takeGathered(), 0);
    return next;
  }

  /** The payload's bytes begin at `at`. */
  #endPayload(bytes: Buffer, at: number): void {
    this.#state = 'head';
    const end = at + this.#length;
    switch (this.#type) {
      case FRAME.headers:
      case FRAME.continuation:
        this.#takeHeaders(bytes, at);
        return;
      case FRAME.windowUpdate:
        this.#sink.onWindowUpdate(this.#streamId, bytes.readUInt32BE(at) & STREAM_ID_MASK);
        return;
      case FRAME.reset:
        this.#sink.onReset(this.#streamId, bytes.readUInt32BE(at));
        return;
      case FRAME.settings:
        if ((this.#flags & FLAG.ack) !== 0) this.#sink.onSettingsAck();
        else this.#sink.onSettings(bytes.subarray(at, end));
        return;
      case FRAME.ping:
        this.#sink.onPing(bytes.subarray(at, end), (this.#flags & FLAG.ack) !== 0);
        return;
      case FRAME.goaway:
        this.#sink.onGoaway(bytes.readUInt32BE(at) & STREAM_ID_MASK, bytes.readUInt32BE(at + 4));
        return;
      default:
        this.#takePriority(bytes.readUInt32BE(at) & STREAM_ID_MASK);
    }
  }

  #takeHeaders(bytes: Buffer, at: number): void {
    const block = this.#block;
    const end = at + this.#length;
    const refusal =
      this.#type === FRAME.continuation
        ? block.add(bytes.subarray(at, end))
        : block.begin(bytes, { at, end, streamId: this.#streamId, flags: this.#flags });
    if (refusal !== undefined) {
      this.#break(refusal.code, refusal.reason);
    } else if (block.streamId !== this.#streamId) {
      this.#break(ERROR.protocol, 'CONTINUATION of another stream');
    } else if ((this.#flags & FLAG.endHeaders) !== 0) {
      block.close();
      this.#sink.onHeaders(this.#streamId, block, block.isEndStream);
      block.clear();
    }
  }

  #takePriority(dependsOn: number): void {
    if (dependsOn === this.#streamId) this.#break(ERROR.protocol, 'a stream depends on itself');
    else this.#sink.onPriority();
  }
}

interface Refusal {
  readonly code: number;
  readonly reason: string;
}

const EXACT_LENGTHS: ReadonlyMap<number, number> = new Map([
  [FRAME.priority, 5],
  [FRAME.reset, 4],
  [FRAME.ping, 8],
  [FRAME.windowUpdate, 4],
]);

/** What of a frame's head breaks RFC 9113 §6, whatever its payload. */
function whyRefused(
  type: number,
  flags: number,
  streamId: number,
  length: number,
): Refusal | undefined {
  const isOfConnection = type === FRAME.settings || type === FRAME.ping || type === FRAME.goaway;
  if (type !== FRAME.windowUpdate && isOfConnection !== (streamId === 0)) {
    return { code: ERROR.protocol, reason: 'a frame on a stream that it cannot be on' };
  }
  if (type === FRAME.pushPromise) return { code: ERROR.protocol, reason: 'PUSH_PROMISE' };
  const exact = EXACT_LENGTHS.get(type);
  const isSized =
    type === FRAME.settings
      ? (flags & FLAG.ack) !== 0
        ? length === 0
        : length % 6 === 0
      : type === FRAME.goaway
        ? length >= 8
        : exact === undefined || exact === length;
  return isSized ? undefined : { code: ERROR.frameSize, reason: 'a frame of a wrong length' };
}
