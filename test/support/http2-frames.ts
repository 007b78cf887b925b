// HTTP/2 frames as bytes, and a raw peer that speaks them on a socket: for what no library would send.
import { once } from 'node:events';
import net from 'node:net';
import { FLAG, FRAME, PREFACE } from '@weft/dataplane/http2/frames';
import { deadline } from './servers.ts';

const EMPTY = Buffer.alloc(0);

export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = EMPTY,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32BE(value, index * 4));
  return bytes;
}

export const SETTINGS: Buffer = frame(FRAME.settings, 0, 0);
export const GREETING: Buffer = Buffer.concat([PREFACE, SETTINGS]);
/** `:method POST`, `:scheme http`, `:path /` by their static indexes, and `:authority a`. */
export const POST: Buffer = Buffer.from([0x83, 0x86, 0x84, 0x01, 0x01, 0x61]);
/** `:status 200`. */
export const OK: Buffer = Buffer.from([0x88]);

/** A field that no table keeps. */
export const field = (name: string, value: string): Buffer =>
  Buffer.concat([
    Buffer.from([0x00, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);

export const headers = (streamId: number, block: Uint8Array, isEnd = false): Buffer =>
  frame(FRAME.headers, FLAG.endHeaders | (isEnd ? FLAG.endStream : 0), streamId, block);

export const data = (streamId: number, payload: Uint8Array, isEnd = false): Buffer =>
  frame(FRAME.data, isEnd ? FLAG.endStream : 0, streamId, payload);

export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** What has come on a socket, as frames. */
export class RawPeer implements Disposable {
  readonly socket: net.Socket;
  readonly frames: RawFrame[] = [];
  #rest: Buffer = EMPTY;
  #wake = Promise.withResolvers<void>();

  /** @param preface bytes that come before the frames. */
  constructor(socket: net.Socket, preface = 0) {
    this.socket = socket;
    let skipped = preface;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, chunk]);
      if (this.#rest.length < skipped) return;
      this.#rest = this.#rest.subarray(skipped);
      skipped = 0;
      this.#read();
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
    socket.once('close', () => this.#wake.resolve());
  }

  static async connect(port: number): Promise<RawPeer> {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect', { signal: deadline() });
    return new RawPeer(socket);
  }

  #read(): void {
    for (;;) {
      if (this.#rest.length < 9) return;
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      this.frames.push({
        type: this.#rest[3] ?? 0,
        flags: this.#rest[4] ?? 0,
        streamId: this.#rest.readUInt32BE(5),
        payload: Buffer.from(this.#rest.subarray(9, 9 + length)),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
  }

  write(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The first frame that fits, now or soon. */
  async next(fits: (frame: RawFrame) => boolean): Promise<RawFrame> {
    const signal = deadline();
    for (;;) {
      const found = this.frames.find(fits);
      if (found !== undefined) return found;
      if (this.socket.destroyed) throw new Error('the connection has ended without such a frame');
      signal.throwIfAborted();
      await Promise.race([this.#wake.promise, once(signal, 'abort')]);
    }
  }

  /** When this is back, everything that was sent before has been read by the other side. */
  async ping(name: string): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.write(name);
    this.write(frame(FRAME.ping, 0, 0, payload));
    await this.next(({ type, payload: echoed }) => type === FRAME.ping && echoed.equals(payload));
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
