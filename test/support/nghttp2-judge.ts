// What nghttp2, through node:http2, makes of header blocks: the second opinion on our HPACK and our rules.
import http2, { type Http2Session, type IncomingHttpHeaders } from 'node:http2';
import { once } from 'node:events';
import net from 'node:net';
import { duplexPair, type Duplex } from 'node:stream';
import { FLAG, FRAME, FRAME_HEAD_BYTES, PREFACE } from '@weft/dataplane/http2/frames';
import { frame, GREETING, headers, uint32 } from './http2-frames.ts';

const HEADER_TABLE_SIZE = Buffer.from([0, 1]);

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Gives the frames of what comes in pieces. */
class FrameSplitter {
  #bytes: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      if (this.#bytes.length < FRAME_HEAD_BYTES) return frames;
      const end = FRAME_HEAD_BYTES + this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < end) return frames;
      frames.push({
        type: this.#bytes[3] ?? 0,
        flags: this.#bytes[4] ?? 0,
        stream: this.#bytes.readUInt32BE(5) & 0x7fffffff,
        payload: this.#bytes.subarray(FRAME_HEAD_BYTES, end),
      });
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}

export interface Verdicts {
  /** By block: the fields of the request that came of it; none where it was refused. */
  readonly lists: readonly (readonly string[] | undefined)[];
  /** The code of GOAWAY, when the connection was ended. */
  readonly errorCode: number | undefined;
}

/** Sends each block as a request without a body, on one connection. */
export async function judgeBlocks(blocks: readonly Uint8Array[]): Promise<Verdicts> {
  const [near, far] = duplexPair();
  const session = http2.performServerHandshake(far, { settings: { maxHeaderListSize: 65_536 } });
  session.on('error', () => far.destroy());
  const lists: (readonly string[] | undefined)[] = blocks.map(() => undefined);
  session.on('stream', (stream, _headers, _flags, rawHeaders) => {
    stream.on('error', () => undefined);
    lists[((stream.id ?? 1) - 1) / 2] = rawHeaders;
  });
  const verdict = untilAnswered(near);
  near.write(
    Buffer.concat([
      GREETING,
      ...blocks.map((block, at) => headers(2 * at + 1, block, true)),
      frame(FRAME.ping, 0, 0, Buffer.alloc(8, 1)),
    ]),
  );
  const errorCode = await verdict;
  end(session, near);
  return { lists, errorCode };
}

/** @returns the code of GOAWAY, or `undefined` when the ping behind everything was answered. */
async function untilAnswered(near: Duplex): Promise<number | undefined> {
  const splitter = new FrameSplitter();
  for await (const chunk of near) {
    for (const { type, payload } of splitter.push(chunk)) {
      if (type === FRAME.goaway) return payload.readUInt32BE(4);
      if (type === FRAME.ping) return undefined;
    }
  }
  throw new Error('Cannot read a verdict: nghttp2 said nothing before the end');
}

function end(session: Http2Session, near: Duplex): void {
  session.destroy();
  near.destroy();
}

export interface SentBlocks {
  /** One a request, in order. */
  readonly blocks: readonly Buffer[];
}

/**
 * Lets nghttp2 encode requests, one after the other on one connection.
 * @param tableBytes what its peer's SETTINGS_HEADER_TABLE_SIZE says before each request
 */
export async function encodeRequests(
  requests: readonly { readonly headers: IncomingHttpHeaders; readonly tableBytes: number }[],
): Promise<SentBlocks> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
  session.on('error', () => undefined);
  const [near] = (await once(server, 'connection')) as [net.Socket];
  server.close();
  const blocks: Buffer[] = [];
  const splitter = new FrameSplitter();
  let preface = PREFACE.length;
  near.on('data', (chunk: Buffer) => {
    const skipped = Math.min(preface, chunk.length);
    preface -= skipped;
    for (const { type, flags, stream, payload } of splitter.push(chunk.subarray(skipped))) {
      if (type === FRAME.headers)
        blocks.push(payload.subarray((flags & FLAG.priority) === 0 ? 0 : 5));
      if (type === FRAME.headers) near.emit(`stream-${stream}`);
    }
  });
  for (const [at, { headers, tableBytes }] of requests.entries()) {
    near.write(frame(FRAME.settings, 0, 0, Buffer.concat([HEADER_TABLE_SIZE, uint32(tableBytes)])));
    await once(session, 'remoteSettings');
    const sent = once(near, `stream-${2 * at + 1}`);
    session.request(headers, { endStream: true }).on('error', () => undefined);
    await sent;
  }
  end(session, near);
  return { blocks };
}
