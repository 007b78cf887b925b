// Differential fuzz of whole HTTP/2 connections: a request that reaches the application through the proxy must be one that nghttp2 reads from the same bytes, with the same fields, body and trailers, unless nghttp2 has ended the connection before.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { duplexPair } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { FLAG, FRAME, PREFACE } from '@weft/dataplane/http2/frames';
import { HpackEncoder } from '@weft/dataplane/http2/hpack/encoder';
import { frame, uint32 } from '../support/http2-frames.ts';
import { createRig, listen } from '../support/http2-rig.ts';
import { type FuzzLength, fuzzLength } from '../support/fuzz-length.ts';
import { createRandom, type Random } from '../support/random.ts';

/** By path, which is used once: what came whole. */
type Requests = Map<string, string>;

const flip = (random: Random, one: number): boolean => random(one) === 0;

/** What makes one request, and the fields that the proxy may add. */
function record(requests: Requests, stream: ServerHttp2Stream, raw: readonly string[]): void {
  const chunks: Buffer[] = [];
  let trailers: readonly string[] = [];
  stream.on('error', () => undefined);
  stream.on('trailers', (_headers, _flags, rawTrailers: readonly string[]) => {
    trailers = rawTrailers;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => {
    if (stream.aborted || stream.rstCode !== 0) return;
    const path = raw[raw.indexOf(':path') + 1] ?? '';
    requests.set(path, JSON.stringify([raw, Buffer.concat(chunks).toString('hex'), trailers]));
    if (stream.destroyed || stream.headersSent) return;
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
}

const NAMES = ['x-a', 'x-b', 'cookie', 'te', 'content-length', 'Bad', ':path', 'connection'];
const VALUES = ['a', 'trailers', '3', '', ' b', 'c\n'];

class Writer {
  readonly frames: Buffer[] = [];
  readonly #random: Random;
  readonly #encoder = new HpackEncoder();
  readonly #prefix: string;
  #nextId = 1;

  constructor(random: Random, prefix: string) {
    this.#random = random;
    this.#prefix = prefix;
  }

  #anyId(): number {
    const random = this.#random;
    return flip(random, 10) ? random(2 * this.#nextId) : 1 + 2 * random((this.#nextId + 1) / 2);
  }

  #headers(id: number, raw: readonly string[]): void {
    const random = this.#random;
    const block = Buffer.from(this.#encoder.encode(raw));
    let flags = flip(random, 2) ? FLAG.endStream : 0;
    let payload: Buffer = block;
    if (flip(random, 6)) {
      flags |= FLAG.priority;
      payload = Buffer.concat([uint32(random(5)), Buffer.from([random(256)]), payload]);
    }
    if (flip(random, 6)) {
      flags |= FLAG.padded;
      const padding = random(10);
      payload = Buffer.concat([Buffer.from([padding]), payload, Buffer.alloc(padding)]);
    }
    if (!flip(random, 4)) {
      this.frames.push(frame(FRAME.headers, flags | FLAG.endHeaders, id, payload));
      return;
    }
    const cut = random(payload.length);
    this.frames.push(frame(FRAME.headers, flags, id, payload.subarray(0, cut)));
    if (flip(random, 30)) this.#one();
    this.frames.push(frame(FRAME.continuation, FLAG.endHeaders, id, payload.subarray(cut)));
  }

  #request(): void {
    const random = this.#random;
    const id = this.#nextId;
    this.#nextId += flip(random, 20) ? 4 : 2;
    const raw = [':method', 'POST', ':scheme', 'http', ':path', `${this.#prefix}/${id}`];
    raw.push(':authority', 'a');
    for (let count = random(4); count > 0; count--) {
      const names = flip(random, 4) ? NAMES.length : 3;
      raw.push(
        NAMES[random(names)] ?? '',
        VALUES[random(flip(random, 4) ? VALUES.length : 3)] ?? '',
      );
    }
    if (flip(random, 4)) raw.push('content-length', String(random(8)));
    this.#headers(id, raw);
  }

  #data(): void {
    const random = this.#random;
    const flags = (flip(random, 2) ? FLAG.endStream : 0) | (flip(random, 5) ? FLAG.padded : 0);
    const bytes = Buffer.alloc(random(8), 0x30 + random(10));
    const padding = random(flip(random, 6) ? 12 : 1);
    const payload =
      (flags & FLAG.padded) === 0
        ? bytes
        : Buffer.concat([
            Buffer.from([padding]),
            bytes,
            Buffer.alloc(flip(random, 9) ? 0 : padding),
          ]);
    this.frames.push(frame(FRAME.data, flags, this.#anyId(), payload));
  }

  #one(): void {
    const random = this.#random;
    switch (random(12)) {
      case 0:
        this.frames.push(frame(FRAME.reset, 0, this.#anyId(), uint32(random(14))));
        break;
      case 1:
        this.frames.push(frame(FRAME.windowUpdate, 0, this.#anyId(), uint32(1 + random(3))));
        break;
      case 2:
        this.frames.push(frame(FRAME.priority, 0, this.#anyId(), Buffer.alloc(5, random(3))));
        break;
      case 3:
        this.frames.push(
          frame(
            FRAME.settings,
            0,
            0,
            Buffer.concat([Buffer.from([0, random(8)]), uint32(random(99_999))]),
          ),
        );
        break;
      case 4:
        this.frames.push(
          frame(10 + random(240), random(256), this.#anyId(), Buffer.alloc(random(9))),
        );
        break;
      case 5:
        this.#headers(this.#anyId(), [
          'x-trailer',
          'a',
          ...(flip(random, 4) ? [':path', '/'] : []),
        ]);
        break;
      case 6:
      case 7:
      case 8:
        this.#request();
        break;
      default:
        this.#data();
    }
  }

  write(): void {
    this.#request();
    for (let count = 2 + this.#random(14); count > 0; count--) this.#one();
    if (!flip(this.#random, 4)) return;
    const at = this.#random(this.frames.length);
    const spoilt = Buffer.from(this.frames[at] ?? []);
    spoilt[this.#random(spoilt.length)] = this.#random(256);
    this.frames[at] = spoilt;
  }
}

/**
 * nghttp2 alone, frame by frame, so that what was whole before an error has been told.
 * @returns whether it has ended the connection, as it does where RFC 9113 asks for no more than the end of a stream
 */
async function readByNghttp2(frames: readonly Buffer[], requests: Requests): Promise<boolean> {
  const [near, far] = duplexPair();
  const session = http2.performServerHandshake(far);
  session.on('error', () => undefined);
  session.on('stream', (stream, _headers, _flags, raw: readonly string[]) =>
    record(requests, stream, raw),
  );
  near.on('error', () => undefined);
  near.resume();
  near.write(PREFACE);
  near.write(frame(FRAME.settings, 0, 0));
  for (const one of frames) {
    if (session.destroyed) break;
    near.write(one);
    for (let turn = 0; turn < 3; turn++) await setImmediate();
  }
  const isEnded = session.destroyed || session.closed;
  session.destroy();
  near.destroy();
  return isEnded;
}

/** Sends it all at once, and waits for an answer to what comes last, or for the end. */
async function sendToProxy(port: number, frames: readonly Buffer[], random: Random): Promise<void> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const answered = new Promise<void>((resolve) => {
    let tail = '';
    socket.on('data', (chunk) => {
      tail = (tail + chunk.toString('latin1')).slice(-1_000);
      if (tail.includes('weftping')) resolve();
    });
  });
  const ping = frame(FRAME.ping, 0, 0, Buffer.from('weftping'));
  const bytes = Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0), ...frames, ping]);
  const cut = random(bytes.length);
  socket.write(bytes.subarray(0, cut));
  await setImmediate();
  socket.write(bytes.subarray(cut));
  await Promise.race([answered, closed, once(AbortSignal.timeout(5_000), 'abort')]);
  socket.destroy();
}

export interface ConnectionsFuzzOutcome {
  readonly connections: number;
  /** Requests that came whole through the proxy and to nghttp2. */
  readonly requests: number;
}

/** @throws AssertionError, with seed and input in its message, when the proxy passes on what nghttp2 reads otherwise. */
export async function fuzzHttp2Connections(
  options: FuzzLength & { readonly seed: number },
): Promise<ConnectionsFuzzOutcome> {
  const random = createRandom(options.seed);
  const theirs: Requests = new Map();
  const ours: Requests = new Map();
  const inputs: string[] = [];
  const ended = new Set<number>();
  const backend = http2.createServer();
  backend.on('stream', (stream: ServerHttp2Stream, _headers, _flags, raw: readonly string[]) =>
    record(ours, stream, raw),
  );
  const sessions = new Set<http2.ServerHttp2Session>();
  backend.on('session', (session) => sessions.add(session));
  const port = await listen(backend);
  const rig = await createRig(port);
  let requests = 0;
  const goesOn = fuzzLength(options);
  while (goesOn()) {
    const writer = new Writer(random, `/${inputs.length}`);
    writer.write();
    inputs.push(writer.frames.map((one) => one.toString('hex')).join(' '));
    if (await readByNghttp2(writer.frames, theirs)) ended.add(inputs.length - 1);
    await sendToProxy(rig.port, writer.frames, random);
  }
  await rig[Symbol.asyncDispose]();
  for (const session of sessions) if (!session.destroyed) await once(session, 'close');
  backend.close();
  for (const [path, request] of ours) {
    const index = Number(path.split('/')[1]);
    const known = theirs.get(path);
    if (known === undefined && ended.has(index)) continue;
    const where = `seed ${options.seed}, connection ${index}: ${inputs[index]}`;
    assert.equal(request, known, where);
    requests++;
  }
  return { connections: inputs.length, requests };
}

if (import.meta.main) {
  const seconds = Number(process.env['FUZZ_SECONDS'] ?? 20);
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
  const { connections, requests } = await fuzzHttp2Connections({ seconds, seed });
  process.stdout.write(`seed ${seed}: ${connections} connections, ${requests} requests\n`);
}
