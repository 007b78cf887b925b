// Clients that make the proxy work for nothing, on real sockets: each is told to go, after a bounded number of requests, and others are served.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { test } from 'node:test';
import { once } from 'node:events';
import { createRig } from '../../../test/support/http2-rig.ts';
import { data, frame, GREETING, RawPeer, uint32 } from '../../../test/support/http2-frames.ts';
import { FLAG, FRAME } from './frames.ts';
import type { Http2Action } from './http2-contract.ts';

const PROTOCOL_ERROR = 1;
const FLOW_CONTROL_ERROR = 3;
const COMPRESSION_ERROR = 9;
const ENHANCE_YOUR_CALM = 11;
/** `:method GET`, `:scheme http`, `:path /`, `:authority a`, in no table. */
const REQUEST = Buffer.from([0x82, 0x86, 0x84, 0x01, 0x01, 0x61]);
/** The same, and `content-length: 1`. */
const ONE_BYTE = Buffer.concat([REQUEST, Buffer.from([0x0f, 0x0d, 0x01, 0x31])]);
/** The same, and a name with an upper-case letter. */
const MALFORMED = Buffer.concat([REQUEST, Buffer.from([0x00, 0x01, 0x41, 0x01, 0x62])]);
const INITIAL_WINDOW_SIZE = Buffer.from([0, 4]);
const settings = (...values: readonly number[]): Buffer =>
  frame(
    FRAME.settings,
    0,
    0,
    Buffer.concat(values.flatMap((value) => [INITIAL_WINDOW_SIZE, uint32(value)])),
  );
const MAX_WINDOW = 2 ** 31 - 1;

const OK: Http2Action = { kind: 'respond', status: 200, body: 'ok', reasonCode: '', headers: [] };

interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly requests: () => number;
}

/** @param act what is done with a request; default: it waits for ever. */
async function openRig(act: () => Http2Action | Promise<Http2Action>): Promise<Rig> {
  let requests = 0;
  const rig = await createRig(1, () => {
    requests++;
    return act() as Http2Action;
  });
  return {
    port: rig.port,
    requests: () => requests,
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
}

async function stillServes({ port }: Rig): Promise<void> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  try {
    const request = session.request({ ':path': '/' });
    const [headers] = await once(request, 'response', { signal: AbortSignal.timeout(5_000) });
    assert.equal(headers[':status'], 200);
  } finally {
    session.destroy();
  }
}

const PER_WAVE = 100;
/** More than any budget has, with what refills it in the time that this takes. */
const MAX_WAVES = 200;

async function connect({ port }: Rig): Promise<RawPeer> {
  const peer = await RawPeer.connect(port);
  peer.write(GREETING);
  return peer;
}

/** Everything that was sent before has been dealt with, or the connection is over. */
async function settle(peer: RawPeer, name = 'settle'): Promise<void> {
  await peer.ping(name).catch((error: unknown) => {
    if (!peer.socket.destroyed) throw error;
  });
}

const goawayOf = (peer: RawPeer): number | undefined =>
  peer.frames.find(({ type }) => type === FRAME.goaway)?.payload.readUInt32BE(4);

/**
 * Sends waves until it is told to go.
 * @param wave by a stream's id that has not been used
 * @returns the code that it is told
 */
async function flood(peer: RawPeer, wave: (id: number) => Buffer): Promise<number | undefined> {
  for (let round = 0; round < MAX_WAVES && goawayOf(peer) === undefined; round++) {
    const ids = Array.from({ length: PER_WAVE }, (_, at) => 2 * (round * PER_WAVE + at) + 1);
    peer.write(...ids.map((id) => wave(id)));
    await settle(peer, String(round));
    if (peer.socket.destroyed) break;
  }
  return goawayOf(peer);
}

const headers = (id: number, flags: number, block: Uint8Array = REQUEST): Buffer =>
  frame(FRAME.headers, flags | FLAG.endHeaders, id, block);
const bytes = (id: number, count: number, isEnd = false): Buffer =>
  data(id, Buffer.alloc(count), isEnd);
const widen = (id: number, bytes: number): Buffer =>
  frame(FRAME.windowUpdate, 0, id, uint32(bytes));

/** Frames that make the server reset a stream of its own accord: each begins a request and spoils it. */
const MADE_RESETS: readonly (readonly [string, (id: number) => Buffer])[] = [
  [
    'a window update of nothing',
    (id) => Buffer.concat([headers(id, FLAG.endStream), widen(id, 0)]),
  ],
  [
    'a window beyond its limit',
    (id) => Buffer.concat([headers(id, FLAG.endStream), widen(id, MAX_WINDOW)]),
  ],
  ['data after the end', (id) => Buffer.concat([headers(id, FLAG.endStream), bytes(id, 1)])],
  [
    'headers after the end',
    (id) => Buffer.concat([headers(id, FLAG.endStream), headers(id, FLAG.endStream)]),
  ],
  ['headers that are no trailers', (id) => Buffer.concat([headers(id, 0), headers(id, 0)])],
  ['more data than was promised', (id) => Buffer.concat([headers(id, 0, ONE_BYTE), bytes(id, 2)])],
  [
    'less data than was promised',
    (id) => Buffer.concat([headers(id, 0, ONE_BYTE), bytes(id, 0, true)]),
  ],
  ['a malformed request', (id) => headers(id, FLAG.endStream, MALFORMED)],
];

const never = (): Promise<Http2Action> => new Promise(() => undefined);

for (const [what, wave] of MADE_RESETS) {
  test(`${what}, over and over, is counted as if the client had reset its streams (MadeYouReset, CVE-2025-8671)`, async () => {
    let isFlood = true;
    await using rig = await openRig(() => (isFlood ? never() : OK));
    using peer = await connect(rig);
    assert.equal(await flood(peer, wave), ENHANCE_YOUR_CALM);
    assert.ok(rig.requests() <= 2_000, `${rig.requests()} requests`);
    isFlood = false;
    await stillServes(rig);
  });
}

test('rapid reset: requests that are taken back at once end the connection (CVE-2023-44487, CVE-2019-9514)', async () => {
  let isFlood = true;
  await using rig = await openRig(() => (isFlood ? never() : OK));
  using peer = await connect(rig);
  const wave = (id: number): Buffer =>
    Buffer.concat([headers(id, 0), frame(FRAME.reset, 0, id, uint32(8))]);
  assert.equal(await flood(peer, wave), ENHANCE_YOUR_CALM);
  assert.ok(rig.requests() <= 2_000, `${rig.requests()} requests`);
  isFlood = false;
  await stillServes(rig);
});

test('requests beyond the limit of streams are refused, then the connection ends, and the rules are not asked', async () => {
  let isFlood = true;
  await using rig = await openRig(() => (isFlood ? never() : OK));
  using peer = await connect(rig);
  assert.equal(await flood(peer, (id) => headers(id, 0)), ENHANCE_YOUR_CALM);
  assert.ok(rig.requests() <= 256, `${rig.requests()} requests`);
  isFlood = false;
  await stillServes(rig);
});

/** Frames for nothing, all about one request that is waiting. */
const NOTHINGS: readonly (readonly [string, Buffer])[] = [
  ['priorities (CVE-2019-9513)', frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 3, 16]))],
  ['priorities of streams to come (CVE-2019-9513)', frame(FRAME.priority, 0, 99, Buffer.alloc(5))],
  ['empty data (CVE-2019-9518)', bytes(1, 0)],
  ['data of nothing but padding (CVE-2019-9518)', frame(FRAME.data, 8, 1, Buffer.from([2, 0, 0]))],
  ['frames of no known kind', frame(200, 0, 1, Buffer.alloc(8))],
  ['settings (CVE-2019-9515)', settings()],
  ['settings that change every window (CVE-2019-9515)', settings(1, 2)],
  ['pings (CVE-2019-9512)', frame(FRAME.ping, 0, 0, Buffer.alloc(8, 7))],
];

for (const [what, one] of NOTHINGS) {
  test(`a flood of ${what} ends the connection, read or not`, async () => {
    await using rig = await openRig(() => OK);
    using peer = await connect(rig);
    peer.write(headers(1, 0));
    assert.equal(await flood(peer, () => one), ENHANCE_YOUR_CALM);
    assert.ok(rig.requests() <= 1);
    await stillServes(rig);
  });
}

const BREACHES: readonly (readonly [string, number, Buffer])[] = [
  ['the connection’s window goes beyond its limit', FLOW_CONTROL_ERROR, widen(0, MAX_WINDOW)],
  ['the connection’s window grows by nothing', PROTOCOL_ERROR, widen(0, 0)],
  [
    'settings push a stream’s window beyond its limit',
    FLOW_CONTROL_ERROR,
    Buffer.concat([headers(1, 0), widen(1, MAX_WINDOW - 65_535), settings(65_536)]),
  ],
  ['a window is set beyond its limit', FLOW_CONTROL_ERROR, settings(2 ** 31)],
  [
    'a header block is no HPACK (CVE-2025-59465)',
    COMPRESSION_ERROR,
    headers(1, FLAG.endStream, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
  ],
  [
    'the table is to be larger than it may',
    COMPRESSION_ERROR,
    headers(1, FLAG.endStream, Buffer.concat([Buffer.from([0x3f, 0xe2, 0x1f]), REQUEST])),
  ],
  [
    'a header block is followed by another stream’s',
    PROTOCOL_ERROR,
    Buffer.concat([frame(FRAME.headers, 0, 1, REQUEST), headers(3, 0)]),
  ],
  [
    'a stream is pushed',
    PROTOCOL_ERROR,
    frame(FRAME.pushPromise, FLAG.endHeaders, 1, Buffer.concat([uint32(2), REQUEST])),
  ],
];

for (const [what, code, breach] of BREACHES) {
  test(`the connection ends when ${what}`, async () => {
    let isBroken = true;
    await using rig = await openRig(() => (isBroken ? never() : OK));
    using peer = await connect(rig);
    peer.write(breach);
    await settle(peer);
    assert.equal(goawayOf(peer), code);
    isBroken = false;
    await stillServes(rig);
  });
}

/** `x: ` and 3,000 bytes, put into the table, then said again in one byte each (CVE-2016-6581). */
const BOMB = Buffer.concat([
  REQUEST,
  Buffer.from([0x40, 0x01, 0x78, 0x7f, 0xb9, 0x16]),
  Buffer.alloc(3_000, 0x61),
  Buffer.alloc(10_000, 0xbe),
]);
/** A field of no name and no value, as often as there is room (CVE-2019-9516). */
const EMPTY_NAMES = Buffer.concat([REQUEST, Buffer.alloc(12_000, 0)]);

for (const [what, block] of [
  ['one long field told ten thousand times in a byte each (CVE-2016-6581)', BOMB],
  ['thousands of fields without name and value (CVE-2019-9516)', EMPTY_NAMES],
] as const) {
  test(`${what} is no request, and the next one on the connection is served`, async () => {
    await using rig = await openRig(() => OK);
    using peer = await connect(rig);
    peer.write(headers(1, FLAG.endStream, block));
    await settle(peer);
    assert.equal(rig.requests(), 0);
    peer.write(headers(3, FLAG.endStream));
    await peer.next(({ type, streamId }) => type === FRAME.headers && streamId === 3);
    assert.equal(rig.requests(), 1);
  });
}
