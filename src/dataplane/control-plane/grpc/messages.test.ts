import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frameMessage, MessageReader } from './messages.ts';
import { CallFailure, STATUS } from './status.ts';

const readAll = (chunks: readonly Buffer[], maxBytes = 1_000): readonly string[] => {
  const reader = new MessageReader(maxBytes);
  const taken: string[] = [];
  for (const chunk of chunks) reader.read(chunk, (bytes) => taken.push(bytes.toString('latin1')));
  return taken;
};

test('MessageReader gives the messages that were framed, however their bytes are cut', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(messages, cuts, (sent, sizes) => {
      const bytes = Buffer.concat(sent.map(frameMessage));
      const chunks: Buffer[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = sizes[turn % sizes.length] ?? 1;
        chunks.push(bytes.subarray(at, at + size));
        at += size;
      }
      assert.deepEqual(
        readAll(chunks),
        sent.map((message) => Buffer.from(message).toString('latin1')),
      );
    }),
  );
});

test('a message longer than the limit is refused by its length, before it has come', () => {
  const head = Buffer.from([0, 0, 0, 3, 233]);
  assert.throws(
    () => readAll([head]),
    (error) => error instanceof CallFailure && error.code === STATUS.RESOURCE_EXHAUSTED,
  );
  assert.deepEqual(readAll([Buffer.from([0, 0, 0, 3, 232])]), []);
});

test('a compressed message is refused: nobody offered to read it', () => {
  assert.throws(
    () => readAll([Buffer.from([1, 0, 0, 0, 0])]),
    (error) => error instanceof CallFailure && error.code === STATUS.INTERNAL,
  );
});
