// Frames that others were drowned with, on real sockets: the connection ends or the request does, the process serves on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { Http2Connection, type Http2Completion } from './http2-proxy.ts';

const DEADLINE_MS = 10_000;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const DATA = 0;
const HEADERS = 1;
const PRIORITY = 2;
const SETTINGS = 4;
const PING = 6;
const CONTINUATION = 9;
const END_HEADERS = 4;
const END_STREAM = 1;
const ACK = 1;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const EMPTY = Buffer.alloc(0);
const SETTINGS_FRAME = frame(SETTINGS, 0, 0, EMPTY);
/** `:method GET`, `:scheme http`, `:path /` by their static indexes, and `:authority a`. */
const REQUEST = Buffer.from([0x82, 0x86, 0x84, 0x01, 0x01, 0x61]);
/** Cookie by its static name, 4,000 bytes, put into the dynamic table: 0x40 | 32, then a length of more than a prefix. */
const COOKIE = Buffer.concat([Buffer.from([0x60, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 0x61)]);
/** The same cookie again, from the table: one byte for 4,000. */
const COOKIE_AGAIN = 0xbe;

interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly completions: readonly Http2Completion[];
  readonly requests: () => number;
}

async function openRig(): Promise<Rig> {
  const completions: Http2Completion[] = [];
  const sockets = new Set<net.Socket>();
  let requests = 0;
  const front = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    const connection = new Http2Connection(
      socket,
      {
        onRequest: () => {
          requests++;
          return { kind: 'respond', status: 200, body: 'ok', reasonCode: '', headers: [] };
        },
        isStillAllowed: () => true,
        onComplete: (completion) => completions.push(completion),
        onClose: () => undefined,
      },
      { idleTimeoutMs: 60_000 },
    );
    socket.once('close', () => connection.cut());
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  const address = front.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    port: address.port,
    completions,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      front.close();
      await once(front, 'close');
    },
  };
}

interface Flood {
  readonly opening?: Buffer;
  /** Sent over and over. */
  readonly wave: Buffer;
  /** Reads nothing of what is answered. */
  readonly isDeaf: boolean;
}

/** Returns when the other side has ended the connection; fails when it does not. */
async function drown(port: number, { opening = EMPTY, wave, isDeaf }: Flood): Promise<number> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  const closed = new Promise<'closed'>((resolve) => socket.once('close', () => resolve('closed')));
  if (!isDeaf) socket.resume();
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  socket.write(Buffer.concat([PREFACE, SETTINGS_FRAME, opening]));
  let sent = 0;
  while (!socket.destroyed && !deadline.aborted) {
    sent += wave.length;
    if (socket.write(wave)) {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    const drained = new Promise<'drained'>((resolve) =>
      socket.once('drain', () => resolve('drained')),
    );
    const expired = new Promise<'expired'>((resolve) =>
      deadline.addEventListener('abort', () => resolve('expired')),
    );
    if ((await Promise.race([drained, closed, expired])) !== 'drained') break;
  }
  socket.destroy();
  assert.ok(!deadline.aborted, `still open after ${sent} bytes`);
  return sent;
}

async function stillServes(rig: Rig): Promise<void> {
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  try {
    const request = client.request({ ':path': '/' });
    const [headers] = await once(request, 'response', { signal: AbortSignal.timeout(5_000) });
    assert.equal(headers[':status'], 200);
  } finally {
    client.destroy();
  }
}

/** `x: ` and 100 bytes, kept in no table. */
const LITERAL = Buffer.concat([Buffer.from([0x00, 0x01, 0x78, 0x64]), Buffer.alloc(100, 0x61)]);
const times = (count: number, one: Buffer): Buffer => Buffer.concat(Array(count).fill(one));
const header = (stream: number, flags: number): Buffer => frame(HEADERS, flags, stream, REQUEST);
const beginning = (flags: number): Buffer => header(1, flags);

const FLOODS: readonly (readonly [string, Flood])[] = [
  ['settings (CVE-2019-9515)', { wave: times(2_000, SETTINGS_FRAME), isDeaf: true }],
  [
    'pings (CVE-2019-9512)',
    { wave: times(2_000, frame(PING, 0, 0, Buffer.alloc(8))), isDeaf: true },
  ],
  [
    'headers without end (CVE-2024-27919, CVE-2024-30255)',
    {
      opening: beginning(0),
      wave: times(100, frame(CONTINUATION, 0, 1, LITERAL)),
      isDeaf: false,
    },
  ],
  [
    'empty continuations (CVE-2019-9518)',
    { opening: beginning(0), wave: times(2_000, frame(CONTINUATION, 0, 1, EMPTY)), isDeaf: false },
  ],
  [
    'empty data (CVE-2019-9518)',
    { opening: beginning(END_HEADERS), wave: times(500, frame(DATA, 0, 1, EMPTY)), isDeaf: false },
  ],
];
for (const [claim, flood] of FLOODS) {
  test(`a flood of ${claim} ends its connection, and others are served`, async () => {
    await using rig = await openRig();
    await drown(rig.port, flood);
    await stillServes(rig);
  });
}

/** How many requests of one cookie told so many times get as far as the rules. */
async function cookiesServed(count: number, first: Buffer): Promise<number> {
  await using rig = await openRig();
  const block = Buffer.concat([REQUEST, COOKIE, Buffer.alloc(count, COOKIE_AGAIN)]);
  const socket = net.connect(rig.port, '127.0.0.1');
  socket.on('error', () => undefined);
  const answered = new Promise<void>((resolve) => {
    let received = '';
    socket.once('close', () => resolve());
    socket.on('data', (part) => {
      received += part.toString('latin1');
      /** The answer to a ping comes after what was sent before it has been read. */
      if (received.includes('weftping')) resolve();
    });
  });
  const request = frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
  const ping = frame(PING, 0, 0, Buffer.from('weftping'));
  socket.write(Buffer.concat([PREFACE, SETTINGS_FRAME, first, request, ping]));
  await answered;
  socket.destroy();
  await stillServes(rig);
  return rig.requests() - 1;
}

for (const [claim, first] of [
  ['a peer that has acknowledged the settings', frame(SETTINGS, ACK, 0, EMPTY)],
  ['a peer that acknowledges nothing', EMPTY],
] as const) {
  test(`one cookie told 60 times in one byte each is counted 60 times: the rules are not asked, of ${claim} (CVE-2026-47774)`, async () => {
    assert.equal(await cookiesServed(3, first), 1);
    assert.equal(await cookiesServed(60, first), 0);
  });
}

test('a header block that is cut off in its middle ends quietly (CVE-2024-27983)', async () => {
  await using rig = await openRig();
  for (let round = 0; round < 20; round++) {
    const socket = net.connect(rig.port, '127.0.0.1');
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await once(socket, 'connect');
    socket.write(Buffer.concat([PREFACE, SETTINGS_FRAME, header(1, 0)]), () =>
      socket.resetAndDestroy(),
    );
    await closed;
  }
  assert.equal(rig.requests(), 0);
  await stillServes(rig);
});

test('frames of streams that are not there, and of no kind at all, are no requests', async () => {
  await using rig = await openRig();
  for (const bad of [
    frame(DATA, 0, 7, Buffer.from('x')),
    frame(PRIORITY, 0, 1, Buffer.alloc(5)),
    frame(HEADERS, END_HEADERS, 2, REQUEST),
    frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])),
    frame(200, 255, 1, Buffer.alloc(100)),
  ]) {
    const socket = net.connect(rig.port, '127.0.0.1');
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    socket.end(Buffer.concat([PREFACE, SETTINGS_FRAME, bad]));
    await closed;
  }
  assert.equal(rig.requests(), 0);
  await stillServes(rig);
});
