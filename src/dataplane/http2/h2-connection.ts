// One HTTP/2 connection, as server or as client: opens and ends its streams, sends for them, and ends when its time has come.
import type { Socket } from 'node:net';
import { ConnectionOutput } from './connection-output.ts';
import { DataSender } from './data-sender.ts';
import { FrameReader } from './frame-reader.ts';
import { FrameReceiver } from './frame-receiver.ts';
import type { FrameWriter } from './frame-writer.ts';
import { ERROR, MAX_STREAM_ID } from './frames.ts';
import {
  H2Stream,
  type Fields,
  type ReceivedFields,
  type StreamHost,
  type StreamUser,
} from './h2-stream.ts';
import { HEADER_LIST_BYTES_MAX } from './header-list.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import {
  CLIENT_SETTINGS,
  PeerSettings,
  SERVER_SETTINGS,
  STREAM_WINDOW_BYTES,
} from './peer-settings.ts';
import { ReceiveWindow, WindowPool } from './receive-window.ts';
import { StreamTable } from './stream-table.ts';

/** Whose connection it is. */
export interface ConnectionOwner {
  /** A server's: a request has begun. @returns who takes the stream. */
  onStream(stream: H2Stream, fields: ReceivedFields, isEnd: boolean): void;
  /** It takes no new streams from now on; those under way go on. */
  onRetired(): void;
  /** The peer has said what it takes. */
  onSettings(): void;
  /** A stream has ended. */
  onRoom(): void;
  /** The socket has closed; its streams have been told. */
  onClosed(): void;
}

export interface H2ConnectionOptions {
  readonly socket: Socket;
  readonly role: 'server' | 'client';
  readonly owner: ConnectionOwner;
  /** Ended after so long without a stream and without a byte; cut when there are streams and the peer takes nothing. */
  readonly idleTimeoutMs: number;
}

/** 1 s: a peer that still sends when we have ended would lose our GOAWAY to a RST. */
const LINGER_MS = 1_000;
/** 30 s without a byte taken: who wants the rest of the answers reads faster. */
const END_TIMEOUT_MS = 30_000;
/** What our decoder keeps: the size that everybody begins with. */
const TABLE_BYTES = 4_096;

/** Fields of one list. */
const MAX_FIELDS = 256;

const windows = new WindowPool();

/** What a stream has before its owner has taken it. */
const NOBODY: StreamUser = {
  onHead: () => undefined,
  onData: (stream, slice) => stream.credit(slice.length),
  onSent: () => undefined,
  onClose: () => undefined,
};

export class H2Connection implements StreamHost {
  readonly streams: StreamTable;
  readonly settings = new PeerSettings();
  readonly sender: DataSender;
  readonly window = new ReceiveWindow(windows);
  readonly decoder = new HpackDecoder({
    maxTableBytes: TABLE_BYTES,
    maxListBytes: HEADER_LIST_BYTES_MAX,
    maxFields: MAX_FIELDS,
  });
  readonly frames: FrameWriter;
  readonly #encoder = new HpackEncoder();
  readonly #isServer: boolean;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #output: ConnectionOutput;
  readonly #reader: FrameReader;
  readonly #receiver: FrameReceiver;
  #isRetired = false;
  /** Nothing is said any more. */
  #isOver = false;
  #isPaused = false;

  constructor({ socket, role, owner, idleTimeoutMs }: H2ConnectionOptions) {
    this.#isServer = role === 'server';
    this.#socket = socket;
    this.#owner = owner;
    this.streams = new StreamTable(this.#isServer);
    this.#output = new ConnectionOutput(socket, this);
    this.frames = this.#output.frames;
    this.sender = new DataSender(this);
    this.#receiver = new FrameReceiver(this, this.#isServer);
    this.#reader = new FrameReader(this.#receiver, this.#isServer);
    this.#greet();
    socket.setTimeout(idleTimeoutMs, () => {
      if (this.streams.size === 0) this.retire();
      /** Not a byte of its answers was taken in all this time. */ else if (this.isBlocked)
        this.cut();
    });
    socket.on('error', () => socket.destroy());
    /** It may be half-open for TCP's sake; a peer that has ended cannot take part any more. */
    socket.once('end', () => socket.destroy());
    socket.once('close', () => this.#onClose());
    socket.on('data', (chunk: Buffer) => this.#onChunk(chunk));
    /** Whoever looked at the first bytes has stopped it. */
    socket.resume();
  }

  #greet(): void {
    if (!this.#isServer) this.frames.preface();
    this.frames.settings(this.#isServer ? SERVER_SETTINGS : CLIENT_SETTINGS);
    const increment = this.window.open();
    if (increment > 0) this.frames.windowUpdate(0, increment);
    this.plan();
  }

  #onChunk(chunk: Buffer): void {
    this.#reader.push(chunk);
    if (!this.#output.isStuffed || this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  get isBlocked(): boolean {
    return this.#output.isBlocked;
  }

  onDrain(): void {
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#socket.resume();
    }
    this.sender.pump();
  }

  onOverflow(): void {
    this.#socket.destroy();
  }

  plan(): void {
    this.#output.plan();
  }

  /** Whether another stream may be opened, now or once there is room. */
  get isTaking(): boolean {
    const isOpen = !this.#isRetired && !this.#isOver && !this.#socket.destroyed;
    return isOpen && this.streams.hasOwnIds;
  }

  get hasRoom(): boolean {
    return this.streams.size < this.settings.maxConcurrentStreams;
  }

  /** Begins a request; only while `isTaking`. */
  open(user: StreamUser, fields: Fields, isEnd: boolean): H2Stream {
    const { initialWindowBytes } = this.settings;
    const stream = new H2Stream(this, this.streams.takeOwnId(), user, initialWindowBytes);
    if (this.streams.size === 0) this.#socket.ref();
    this.streams.add(stream);
    this.sendHead(stream, fields, isEnd);
    return stream;
  }

  begin(streamId: number, fields: ReceivedFields, isEnd: boolean): void {
    const stream = new H2Stream(this, streamId, NOBODY, this.settings.initialWindowBytes);
    stream.isRemoteEnded = isEnd;
    this.streams.add(stream);
    this.#owner.onStream(stream, fields, isEnd);
  }

  sendHead(stream: H2Stream, fields: Fields, isEnd: boolean): void {
    this.frames.fields(this.#encoder, stream.id, fields, isEnd);
    this.plan();
    if (isEnd) this.#onLocalEnd(stream);
  }

  sendData(stream: H2Stream, slice: Buffer, isEnd: boolean): void {
    this.sender.send(stream, slice, isEnd);
  }

  sendTrailers(stream: H2Stream, fields: Fields): void {
    stream.trailersWaiting = fields;
    this.sender.sendTrailers(stream);
  }

  writeData(stream: H2Stream, payload: Buffer, isEnd: boolean): void {
    this.frames.data(stream.id, payload, isEnd);
    this.plan();
    if (payload.length > 0) stream.user.onSent(stream, payload.length);
    if (isEnd) this.#onLocalEnd(stream);
  }

  writeTrailers(stream: H2Stream): void {
    if (stream.trailersWaiting !== undefined) this.sendHead(stream, stream.trailersWaiting, true);
  }

  #onLocalEnd(stream: H2Stream): void {
    stream.isLocalEnded = true;
    if (stream.isRemoteEnded) this.closeStream(stream, ERROR.none);
  }

  onRemoteEnd(stream: H2Stream): void {
    if (stream.isLocalEnded) this.closeStream(stream, ERROR.none);
  }

  reset(stream: H2Stream, code: number): void {
    if (stream.isClosed) return;
    this.frames.reset(stream.id, code);
    this.plan();
    if (!stream.isRemoteEnded) this.streams.rememberReset(stream.id);
    this.closeStream(stream, code);
  }

  /** A message that its user has found malformed: its peer's doing (RFC 9113 §8.1.1). */
  refuseMalformed(stream: H2Stream): void {
    if (!stream.isClosed) this.#receiver.onMalformed(stream);
  }

  closeStream(stream: H2Stream, code: number): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    this.streams.delete(stream);
    this.sender.forget(stream);
    if (code !== ERROR.none && stream.held > 0) {
      const { held } = stream;
      stream.held = 0;
      this.creditConnection(held);
    }
    stream.user.onClose(stream, code);
    if (this.streams.size === 0) this.#onQuiet();
    this.#owner.onRoom();
  }

  #onQuiet(): void {
    if (this.#isRetired) this.#end(ERROR.none, '');
    else if (!this.#isServer) this.#socket.unref();
  }

  credit(stream: H2Stream, bytes: number): void {
    stream.held -= bytes;
    if (!stream.isClosed && !stream.isRemoteEnded) {
      stream.owed += bytes;
      if (stream.owed * 2 >= STREAM_WINDOW_BYTES) {
        this.frames.windowUpdate(stream.id, stream.owed);
        stream.receiveLeft += stream.owed;
        stream.owed = 0;
        this.plan();
      }
    }
    this.creditConnection(bytes);
  }

  creditConnection(bytes: number): void {
    if (bytes === 0 || this.#isOver) return;
    const increment = this.window.credit(bytes);
    if (increment === 0) return;
    this.frames.windowUpdate(0, increment);
    this.plan();
  }

  onSettings(): void {
    this.#encoder.setPeerTableBytes(this.settings.headerTableBytes);
    this.#owner.onSettings();
  }

  /** Streams beyond the last were not processed (RFC 9113 §6.8); the others go on. */
  onGoaway(lastStreamId: number): void {
    if (this.#isServer) return;
    if (!this.#isRetired) {
      this.#isRetired = true;
      this.#owner.onRetired();
    }
    for (const stream of this.streams.values()) {
      if (stream.id > lastStreamId) this.closeStream(stream, ERROR.refusedStream);
    }
    if (this.streams.size === 0) this.#end(ERROR.none, '');
  }

  /** A GOAWAY that refuses nothing yet, so that streams already on their way are still served (RFC 9113 §6.8). */
  announceRetirement(): void {
    if (this.#isOver) return;
    this.frames.goaway(MAX_STREAM_ID, ERROR.none, '');
    this.plan();
  }

  /** No new streams; ended when those in flight are done. */
  retire(): void {
    if (this.#isOver || this.#isRetired) return;
    this.#isRetired = true;
    this.#owner.onRetired();
    if (this.streams.size === 0) {
      this.#end(ERROR.none, '');
    } else if (this.#isServer) {
      this.streams.finalPeerId = this.streams.lastPeerId;
      this.frames.goaway(this.streams.lastPeerId, ERROR.none, '');
      this.plan();
    }
  }

  fail(code: number, reason: string): void {
    this.#end(code, reason);
    for (const stream of this.streams.values()) this.closeStream(stream, ERROR.internal);
  }

  #end(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#reader.stop();
    if (!this.#isRetired) {
      this.#isRetired = true;
      this.#owner.onRetired();
    }
    this.frames.goaway(this.streams.lastPeerId, code, reason);
    this.#output.end();
    const socket = this.#socket;
    const linger = (): void => {
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    };
    socket.setTimeout(END_TIMEOUT_MS, () => socket.destroy());
    /** Who has broken the rules need not take the rest; others get what was sent to them last. */
    if (code === ERROR.none && !socket.writableFinished) socket.once('finish', linger);
    else linger();
  }

  /** At once, whatever is under way. */
  cut(): void {
    this.#socket.destroy();
  }

  #onClose(): void {
    this.#isOver = true;
    this.#reader.stop();
    if (!this.#isRetired) {
      this.#isRetired = true;
      this.#owner.onRetired();
    }
    for (const stream of this.streams.values()) this.closeStream(stream, ERROR.internal);
    this.window[Symbol.dispose]();
    this.#owner.onClosed();
  }
}
