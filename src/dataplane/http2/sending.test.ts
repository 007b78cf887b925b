// Who may send how much and when: fair turns within windows, what waits, what peers may send, and what wears a budget out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteQueue } from './byte-queue.ts';
import { DataSender } from './data-sender.ts';
import { FloodGuard } from './flood-guard.ts';
import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES } from './frames.ts';
import { H2Stream } from './h2-stream.ts';
import { ReceiveWindow, WindowPool } from './receive-window.ts';

test('ByteQueue gives back what it was given, in order, in pieces as small as asked', () => {
  const slices = fc.array(fc.uint8Array({ maxLength: 20_000 }), { maxLength: 20 });
  const limits = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(slices, limits, (given, sizes) => {
      const queue = new ByteQueue();
      const taken: Buffer[] = [];
      given.forEach((slice, at) => {
        queue.push(Buffer.from(slice));
        if (at % 3 === 2 && queue.bytes > 0) taken.push(queue.take(sizes[at % sizes.length] ?? 1));
      });
      const whole = Buffer.concat(given);
      for (let at = 0; queue.bytes > 0; at++) {
        const size = sizes[at % sizes.length] ?? 1;
        const piece = queue.take(size);
        assert.ok(piece.length > 0 && piece.length <= size);
        taken.push(piece);
      }
      assert.deepEqual(Buffer.concat(taken), whole);
    }),
    { numRuns: 50 },
  );
});

test('ByteQueue keeps a million slices of one byte in no more than they count', () => {
  const queue = new ByteQueue();
  const chunk = Buffer.alloc(65_536);
  for (let count = 0; count < 1_000_000; count++) queue.push(chunk.subarray(0, 1));
  assert.equal(queue.bytes, 1_000_000);
  assert.ok(queue.length < 300, `${queue.length} slices`);
});

/** A sender whose output is a list of `stream:bytes`, and streams to send on. */
function createSender() {
  const sent: string[] = [];
  const outlet = {
    isBlocked: false,
    writeData: (stream: H2Stream, payload: Buffer, isEnd: boolean) => {
      sent.push(`${stream.id}:${payload.length}${isEnd ? '.' : ''}`);
    },
    writeTrailers: (stream: H2Stream) => void sent.push(`${stream.id}:trailers`),
  };
  const sender = new DataSender(outlet);
  const nothing = (): void => undefined;
  const host = {
    sendHead: nothing,
    sendData: nothing,
    sendTrailers: nothing,
    reset: nothing,
    credit: nothing,
  };
  const user = { onHead: nothing, onData: nothing, onSent: nothing, onClose: nothing };
  const open = (id: number, window = MAX_WINDOW_BYTES): H2Stream =>
    new H2Stream(host, id, user, window);
  return { sent, outlet, sender, open };
}

const bytes = (length: number): Buffer => Buffer.alloc(length);

test('streams that wait send a frame each in turn, whoever has most', () => {
  const { sent, outlet, sender, open } = createSender();
  const [long, short] = [open(1), open(3)];
  outlet.isBlocked = true;
  for (let count = 0; count < 3; count++) sender.send(long, bytes(16_384), false);
  sender.send(short, bytes(10), true);
  assert.deepEqual(sent, []);
  outlet.isBlocked = false;
  sender.pump();
  assert.deepEqual(sent, ['1:16384', '3:10.', '1:16384', '1:16384']);
});

test('nothing goes beyond the connection’s window, and what waits goes when it widens', () => {
  const { sent, sender, open } = createSender();
  const stream = open(1);
  for (let count = 0; count < 5; count++) sender.send(stream, bytes(16_384), count === 4);
  assert.equal(DEFAULT_WINDOW_BYTES, 3 * 16_384 + 16_383);
  assert.deepEqual(sent, ['1:16384', '1:16384', '1:16384', '1:16383']);
  assert.ok(sender.widen(1, MAX_WINDOW_BYTES));
  assert.deepEqual(sent.at(-1), '1:1');
  assert.ok(sender.widen(100_000, MAX_WINDOW_BYTES));
  assert.deepEqual(sent.at(-1), '1:16384.');
  assert.ok(!sender.widen(MAX_WINDOW_BYTES, MAX_WINDOW_BYTES));
});

test('a stream without a window of its own does not hold up others, and goes on when it has one', () => {
  const { sent, sender, open } = createSender();
  const [stalled, other] = [open(1, 5), open(3)];
  sender.send(stalled, bytes(10), false);
  sender.send(other, bytes(10), false);
  assert.deepEqual(sent, ['1:5', '3:10']);
  stalled.sendWindow += 3;
  sender.onRoom(stalled);
  assert.deepEqual(sent.slice(2), ['1:3']);
});

test('trailers wait for the data before them', () => {
  const { sent, sender, open } = createSender();
  const stream = open(1, 5);
  sender.send(stream, bytes(10), false);
  stream.trailersWaiting = { raw: [], neverIndexed: undefined };
  sender.sendTrailers(stream);
  assert.deepEqual(sent, ['1:5']);
  stream.sendWindow += 5;
  sender.onRoom(stream);
  assert.deepEqual(sent.slice(1), ['1:5', '1:trailers']);
});

test('a stream that is over sends nothing that it had left', () => {
  const { sent, sender, open } = createSender();
  const stream = open(1, 5);
  sender.send(stream, bytes(10), true);
  sender.forget(stream);
  stream.sendWindow += 100;
  sender.onRoom(stream);
  assert.deepEqual(sent, ['1:5']);
});

const FIRST_WINDOW_BYTES = 262_144;

test('a connection’s window grows for a peer that uses it, within what all peers may be promised', () => {
  const pool = new WindowPool(600_000);
  const first = new ReceiveWindow(pool);
  assert.equal(first.open(), FIRST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
  assert.ok(first.receive(250_000));
  const increment = first.credit(250_000);
  assert.equal(increment, 250_000 + FIRST_WINDOW_BYTES, 'what has gone on, and as much again');
  const second = new ReceiveWindow(pool);
  assert.equal(
    second.open(),
    600_000 - (2 * FIRST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES),
    'the rest',
  );
  const third = new ReceiveWindow(pool);
  assert.equal(third.open(), 0);
  assert.ok(third.receive(DEFAULT_WINDOW_BYTES));
  assert.ok(!third.receive(1), 'and not a byte more');
  first[Symbol.dispose]();
  const fourth = new ReceiveWindow(pool);
  assert.equal(fourth.open(), FIRST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
});

test('a connection’s window grows to 16 MiB and no further', () => {
  const window = new ReceiveWindow(new WindowPool());
  let size = DEFAULT_WINDOW_BYTES + window.open();
  for (let round = 0; round < 20; round++) {
    assert.ok(window.receive(size));
    size += window.credit(size) - size;
  }
  assert.equal(size, 16_777_216);
});

test('a connection’s window does not grow while what it took is not taken from us', () => {
  const window = new ReceiveWindow(new WindowPool());
  window.open();
  assert.ok(window.receive(FIRST_WINDOW_BYTES));
  assert.equal(window.credit(150_000), 150_000);
});

test('a budget is worn out by a flood, refills with time, and with use where use asks for it', () => {
  let now = 0;
  const guard = new FloodGuard(() => now);
  const spend = (kind: 'resets' | 'pings', count: number): boolean =>
    Array.from({ length: count }, () => guard.isTooMuch(kind)).includes(true);
  assert.ok(!spend('resets', 1_000));
  assert.ok(spend('resets', 1));
  now += 10_000;
  assert.ok(!spend('resets', 300));
  assert.ok(spend('resets', 100));
  for (let count = 0; count < 50_000; count++) {
    guard.noteUse();
    assert.ok(!guard.isTooMuch('pings'), 'gRPC’s pings beside its data are no flood');
  }
});
