// What each received frame does to a connection and its streams (RFC 9113 §5.1, §6), and when the peer has gone too far.
import type { DataSender } from './data-sender.ts';
import { FloodGuard, type Wasted } from './flood-guard.ts';
import type { FrameSink } from './frame-reader.ts';
import type { FrameWriter } from './frame-writer.ts';
import { ERROR, MAX_WINDOW_BYTES } from './frames.ts';
import type { H2Stream, ReceivedFields } from './h2-stream.ts';
import type { Block } from './header-block.ts';
import type { HpackDecoder } from './hpack/decoder.ts';
import { MAX_CONCURRENT_STREAMS, type PeerSettings } from './peer-settings.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { StreamTable } from './stream-table.ts';

/** The connection, as far as its frames change it. */
export interface ReceiverHost {
  readonly streams: StreamTable;
  readonly sender: DataSender;
  readonly settings: PeerSettings;
  readonly window: ReceiveWindow;
  readonly decoder: HpackDecoder;
  readonly frames: FrameWriter;
  /** What was written to `frames` goes out with this turn. */
  plan(): void;
  /** GOAWAY, and the end of everything. */
  fail(code: number, reason: string): void;
  reset(stream: H2Stream, code: number): void;
  /** The peer has ended its side; over when ours has ended as well. */
  onRemoteEnd(stream: H2Stream): void;
  closeStream(stream: H2Stream, code: number): void;
  creditConnection(bytes: number): void;
  begin(streamId: number, fields: ReceivedFields, isEnd: boolean): void;
  onSettings(windowChange: number): void;
  onGoaway(lastStreamId: number): void;
}

export class FrameReceiver implements FrameSink {
  readonly #host: ReceiverHost;
  readonly #isServer: boolean;
  readonly #guard = new FloodGuard();
  /** Whose DATA is being read; none when it is dropped. */
  #dataStream: H2Stream | undefined;
  #isDataEnd = false;

  constructor(host: ReceiverHost, isServer: boolean) {
    this.#host = host;
    this.#isServer = isServer;
  }

  onBroken(code: number, reason: string): void {
    this.#host.fail(code, reason);
  }

  onDataHead(streamId: number, length: number, padding: number, isEndStream: boolean): void {
    const host = this.#host;
    this.#dataStream = undefined;
    if (!host.window.receive(length)) {
      host.fail(ERROR.flowControl, 'more than the connection’s window');
      return;
    }
    /** Padding is no use of a connection: it would refill what it spends. */
    if (length > padding) this.#guard.noteUse();
    else if (!isEndStream && this.#isTooMuch('empties', 'empty DATA')) return;
    const stream = host.streams.get(streamId);
    if (stream === undefined || stream.isRemoteEnded) {
      this.#dropData(stream, streamId, length);
      return;
    }
    stream.receiveLeft -= length;
    if (stream.receiveLeft < 0) {
      host.creditConnection(length);
      this.#force(stream, ERROR.flowControl);
      return;
    }
    if (padding > 0) {
      stream.held += padding;
      stream.credit(padding);
    }
    this.#dataStream = stream;
    this.#isDataEnd = isEndStream;
  }

  #dropData(stream: H2Stream | undefined, streamId: number, length: number): void {
    const { streams } = this.#host;
    if (stream === undefined && streams.isIdle(streamId)) {
      this.#host.fail(ERROR.protocol, 'DATA on a stream that nobody has begun');
      return;
    }
    this.#host.creditConnection(length);
    if (stream !== undefined) this.#force(stream, ERROR.streamClosed);
    else if (!streams.isForgiven(streamId)) this.#forceGone(streamId);
  }

  onDataSlice(slice: Buffer, isLast: boolean): void {
    const stream = this.#dataStream;
    if (stream === undefined) return;
    if (stream.isClosed) {
      this.#host.creditConnection(slice.length);
      return;
    }
    const isEnd = isLast && this.#isDataEnd;
    if (slice.length === 0 && !isEnd) return;
    stream.held += slice.length;
    if (isEnd) stream.isRemoteEnded = true;
    stream.user.onData(stream, slice, isEnd);
    if (isEnd) this.#host.onRemoteEnd(stream);
  }

  /** Every block is decoded, whoever it is for: the table stays in step. */
  onHeaders(streamId: number, block: Block, isEndStream: boolean): void {
    const host = this.#host;
    const fields = host.decoder.decode(block.bytes, block.from, block.end);
    if (!fields.ok) {
      host.fail(ERROR.compression, fields.reasonCode);
      return;
    }
    this.#guard.noteUse();
    const stream = host.streams.get(streamId);
    if (stream !== undefined) this.#takeHead(stream, fields, isEndStream);
    else if (this.#isServer) this.#begin(streamId, fields, isEndStream);
    else if (host.streams.isIdle(streamId)) {
      host.fail(ERROR.protocol, 'HEADERS on a stream that nobody has begun');
    } else if (!host.streams.isForgiven(streamId)) {
      host.fail(ERROR.streamClosed, 'HEADERS on a stream that is over');
    }
  }

  #takeHead(stream: H2Stream, fields: ReceivedFields, isEnd: boolean): void {
    if (stream.isRemoteEnded) {
      this.#force(stream, ERROR.streamClosed);
      return;
    }
    /** A second head of a request can only be its trailers, which are the end. */
    if (this.#isServer && !isEnd) {
      this.#force(stream, ERROR.protocol);
      return;
    }
    if (isEnd) stream.isRemoteEnded = true;
    stream.user.onHead(stream, fields, isEnd);
    if (isEnd) this.#host.onRemoteEnd(stream);
  }

  #begin(streamId: number, fields: ReceivedFields, isEnd: boolean): void {
    const host = this.#host;
    const { streams } = host;
    if (streamId % 2 === 0) host.fail(ERROR.protocol, 'a client’s stream with an even id');
    else if (streamId <= streams.lastPeerId) {
      if (!streams.isForgiven(streamId)) {
        host.fail(ERROR.streamClosed, 'HEADERS on a stream that is over');
      }
    } else if (streamId <= streams.finalPeerId) {
      streams.lastPeerId = streamId;
      if (streams.size < MAX_CONCURRENT_STREAMS) host.begin(streamId, fields, isEnd);
      else {
        if (!isEnd) streams.rememberReset(streamId);
        this.#forceGone(streamId, ERROR.refusedStream);
      }
    }
  }

  onReset(streamId: number, code: number): void {
    const { streams } = this.#host;
    const stream = streams.get(streamId);
    if (stream === undefined && streams.isIdle(streamId)) {
      this.#host.fail(ERROR.protocol, 'RST_STREAM on a stream that nobody has begun');
      return;
    }
    if (this.#isServer && this.#isTooMuch('resets', 'too many streams were reset')) return;
    if (stream !== undefined) this.#host.closeStream(stream, code);
  }

  onSettings(payload: Buffer): void {
    const host = this.#host;
    if (this.#isTooMuch('settings', 'too many SETTINGS')) return;
    const before = host.settings.initialWindowBytes;
    const refusal = host.settings.take(payload, !this.#isServer);
    if (refusal !== undefined) {
      host.fail(refusal.code, refusal.reason);
      return;
    }
    host.frames.settingsAck();
    host.plan();
    const change = host.settings.initialWindowBytes - before;
    if (change !== 0) {
      for (const stream of host.streams.values()) {
        stream.sendWindow += change;
        if (stream.sendWindow > MAX_WINDOW_BYTES) {
          host.fail(ERROR.flowControl, 'a window beyond its limit');
          return;
        }
        if (change > 0) host.sender.onRoom(stream);
      }
    }
    host.onSettings(change);
  }

  onSettingsAck(): void {
    this.#isTooMuch('settings', 'too many SETTINGS');
  }

  onPing(payload: Buffer, isAck: boolean): void {
    if (this.#isTooMuch('pings', 'too many PINGs') || isAck) return;
    this.#host.frames.pingAck(payload);
    this.#host.plan();
  }

  onGoaway(lastStreamId: number): void {
    if (this.#isTooMuch('settings', 'too many GOAWAYs')) return;
    this.#host.onGoaway(lastStreamId);
  }

  onWindowUpdate(streamId: number, increment: number): void {
    const host = this.#host;
    if (streamId === 0) {
      const isValid = increment > 0 && host.sender.widen(increment, MAX_WINDOW_BYTES);
      const code = increment === 0 ? ERROR.protocol : ERROR.flowControl;
      if (!isValid) host.fail(code, 'WINDOW_UPDATE out of range');
      return;
    }
    const stream = host.streams.get(streamId);
    if (stream === undefined) {
      if (host.streams.isIdle(streamId)) {
        host.fail(ERROR.protocol, 'WINDOW_UPDATE on a stream that nobody has begun');
      } else this.#isTooMuch('empties', 'too many WINDOW_UPDATEs of streams that are over');
      return;
    }
    stream.sendWindow += increment;
    if (increment === 0) this.#force(stream, ERROR.protocol);
    else if (stream.sendWindow > MAX_WINDOW_BYTES) this.#force(stream, ERROR.flowControl);
    else host.sender.onRoom(stream);
  }

  onPriority(): void {
    this.#isTooMuch('empties', 'too many PRIORITYs');
  }

  onUnknown(): void {
    this.#isTooMuch('empties', 'too many frames of unknown kinds');
  }

  #isTooMuch(kind: Wasted, reason: string): boolean {
    const isTooMuch = this.#guard.isTooMuch(kind);
    if (isTooMuch) this.#host.fail(ERROR.enhanceYourCalm, reason);
    return isTooMuch;
  }

  /** Resets a stream for what its peer did: counted as if it had done it itself (CVE-2025-8671). */
  #force(stream: H2Stream, code: number): void {
    if (this.#countReset()) this.#host.reset(stream, code);
  }

  /** The same for a stream that is over, or was never taken. */
  #forceGone(streamId: number, code: number = ERROR.streamClosed): void {
    if (!this.#countReset()) return;
    this.#host.frames.reset(streamId, code);
    this.#host.plan();
  }

  #countReset(): boolean {
    return !this.#isServer || !this.#isTooMuch('resets', 'too many streams had to be reset');
  }

  /** For what only the stream's user can see to be wrong: a malformed message (RFC 9113 §8.1.1). */
  onMalformed(stream: H2Stream): void {
    this.#force(stream, ERROR.protocol);
  }
}
