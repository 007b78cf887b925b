// Pieces of one turn become one write, none waits beyond it, order stays, and a full target says so.
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { GatheredWrites } from './gathered-writes.ts';

const RECORD = 16_384;
const piece = (letter: string, length = RECORD): Buffer => Buffer.alloc(length, letter);
const shapeOf = (bytes: Buffer): string => `${String.fromCharCode(bytes[0] ?? 0)}${bytes.length}`;

/** Notes each write as the kernel would see it; `isStuck`: takes nothing more. */
function createTarget() {
  const writes: string[][] = [];
  const target = {
    writes,
    isStuck: false,
    stream: new Writable({
      highWaterMark: 65_536,
      write: (chunk: Buffer, _encoding, done) => take([chunk], done),
      writev: (chunks, done) =>
        take(
          chunks.map(({ chunk }) => chunk),
          done,
        ),
    }),
  };
  const take = (chunks: Buffer[], done: () => void): void => {
    writes.push(chunks.map(shapeOf));
    if (!target.isStuck) done();
  };
  return target;
}

test('four records of one turn are one write', () => {
  const { stream, writes } = createTarget();
  const pieces = new GatheredWrites(stream);
  const isRoomy = ['a', 'b', 'c', 'd'].map((letter) => pieces.write(piece(letter)));
  assert.deepEqual(writes, [['a16384', 'b16384', 'c16384', 'd16384']]);
  assert.deepEqual(isRoomy, [true, true, true, true]);
});

test('what one turn brought is written at its end, without anything that follows', async () => {
  const { stream, writes } = createTarget();
  const pieces = new GatheredWrites(stream);
  pieces.write(piece('a'));
  pieces.write(piece('b'));
  assert.deepEqual(writes, []);
  await turn();
  assert.deepEqual(writes, [['a16384', 'b16384']]);
});

test('a short piece goes out at once, and what waits goes with it', () => {
  const { stream, writes } = createTarget();
  const pieces = new GatheredWrites(stream);
  pieces.write(piece('a', 100));
  assert.deepEqual(writes, [['a100']]);
  pieces.write(piece('b'));
  pieces.write(piece('c', 100));
  assert.deepEqual(writes, [['a100'], ['b16384', 'c100']]);
});

test('a piece that is long enough does not wait', () => {
  const { stream, writes } = createTarget();
  new GatheredWrites(stream).write(piece('a', 65_536));
  assert.deepEqual(writes, [['a65536']]);
});

test('a target that takes nothing more is told of, and drains', async () => {
  const target = createTarget();
  target.isStuck = true;
  const pieces = new GatheredWrites(target.stream);
  const isRoomy = ['a', 'b', 'c', 'd'].map((letter) => pieces.write(piece(letter)));
  assert.deepEqual(isRoomy, [true, true, true, false]);
  await turn();
  assert.equal(target.writes.length, 1);
});

test('what waits for the target of before goes there', () => {
  const [first, second] = [createTarget(), createTarget()];
  const pieces = new GatheredWrites(first.stream);
  pieces.write(piece('a'));
  pieces.setTarget(second.stream);
  pieces.write(piece('b'));
  pieces.flush();
  assert.deepEqual([first.writes, second.writes], [[['a16384']], [['b16384']]]);
});

test('a stream that ends takes with it what waits', () => {
  const { stream, writes } = createTarget();
  new GatheredWrites(stream).write(piece('a'));
  stream.end();
  assert.deepEqual(writes, [['a16384']]);
});
