// Frames of HTTP/2 as bytes, for tests that say what no library would (RFC 9113 §4.1).

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const TYPE = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

const HEAD_BYTES = 9;

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const settings = (...pairs: readonly (readonly [id: number, value: number])[]): Buffer =>
  frame(
    TYPE.settings,
    0,
    0,
    Buffer.concat(pairs.flatMap(([id, value]) => [Buffer.from([0, id]), uint32(value)])),
  );

/** Gives the frames of what comes in pieces. */
export class FrameSplitter {
  #bytes: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      if (this.#bytes.length < HEAD_BYTES) return frames;
      const end = HEAD_BYTES + this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < end) return frames;
      frames.push({
        type: this.#bytes[3] ?? 0,
        flags: this.#bytes[4] ?? 0,
        stream: this.#bytes.readUInt32BE(5) & 0x7fffffff,
        payload: this.#bytes.subarray(HEAD_BYTES, end),
      });
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}
