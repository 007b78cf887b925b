// What the writer writes is what the wire format asks for, in few pieces, and its buffers come back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { data, frame, headers, uint32 } from '../../../test/support/http2-frames.ts';
import { FrameWriter } from './frame-writer.ts';
import { ERROR, FLAG, FRAME, PREFACE } from './frames.ts';
import { OUTPUT_BUFFER_BYTES, OutputBuffers } from './output-buffers.ts';

const text = (value: string): Buffer => Buffer.from(value);

test('frames are written as they are to be read, in one piece', () => {
  const writer = new FrameWriter(new OutputBuffers());
  writer.preface();
  writer.settings([3, 256, 4, 1_048_576]);
  writer.settingsAck();
  writer.pingAck(text('12345678'));
  writer.headers(1, text('block'), false);
  writer.headers(3, text('ends'), true);
  writer.data(1, text('body'), false);
  writer.data(1, Buffer.alloc(0), true);
  writer.reset(3, ERROR.cancel);
  writer.windowUpdate(0, 65_536);
  writer.goaway(3, ERROR.enhanceYourCalm, 'too much');
  writer.goaway(3, ERROR.none, 'nobody is told');
  const { pieces, bytes, lent } = writer.take();
  const expected = Buffer.concat([
    PREFACE,
    frame(FRAME.settings, 0, 0, Buffer.from('000300000100000400100000', 'hex')),
    frame(FRAME.settings, FLAG.ack, 0),
    frame(FRAME.ping, FLAG.ack, 0, text('12345678')),
    headers(1, text('block')),
    headers(3, text('ends'), true),
    data(1, text('body')),
    data(1, Buffer.alloc(0), true),
    frame(FRAME.reset, 0, 3, uint32(ERROR.cancel)),
    frame(FRAME.windowUpdate, 0, 0, uint32(65_536)),
    frame(FRAME.goaway, 0, 0, Buffer.concat([uint32(3, ERROR.enhanceYourCalm), text('too much')])),
    frame(FRAME.goaway, 0, 0, uint32(3, 0)),
  ]);
  assert.equal(pieces.length, 1);
  assert.equal(lent.length, 1);
  assert.deepEqual(pieces[0], expected);
  assert.equal(bytes, expected.length);
  assert.equal(writer.pendingBytes, 0);
  assert.deepEqual(writer.take().pieces, []);
});

test('a long payload goes out as the bytes it came in, its head before it', () => {
  const writer = new FrameWriter(new OutputBuffers());
  const payload = Buffer.alloc(10_000, 'x');
  writer.data(1, text('short'), false);
  writer.data(1, payload, true);
  writer.reset(3, 0);
  const { pieces } = writer.take();
  assert.equal(pieces.length, 3);
  assert.equal(pieces[1], payload);
  const expected = [
    data(1, text('short')),
    data(1, payload, true),
    frame(FRAME.reset, 0, 3, uint32(0)),
  ];
  assert.deepEqual(Buffer.concat(pieces), Buffer.concat(expected));
});

test('what does not fit one buffer goes on in the next, and a block longer than a frame in CONTINUATION', () => {
  const writer = new FrameWriter(new OutputBuffers());
  const block = Buffer.alloc(40_000, 'b');
  writer.headers(1, block, true);
  for (let count = 0; count < 10; count++) writer.data(3, Buffer.alloc(4_000, 'd'), false);
  const { pieces, lent } = writer.take();
  const expected = [
    frame(FRAME.headers, FLAG.endStream, 1, block.subarray(0, 16_384)),
    frame(FRAME.continuation, 0, 1, block.subarray(16_384, 32_768)),
    frame(FRAME.continuation, FLAG.endHeaders, 1, block.subarray(32_768)),
    ...Array<Buffer>(10).fill(data(3, Buffer.alloc(4_000, 'd'))),
  ];
  assert.deepEqual(Buffer.concat(pieces), Buffer.concat(expected));
  assert.ok(lent.length <= 6, `${lent.length} buffers`);
});

test('a buffer that was given back is lent again', () => {
  const buffers = new OutputBuffers();
  const first = buffers.take();
  assert.equal(first.length, OUTPUT_BUFFER_BYTES);
  assert.notEqual(buffers.take(), first);
  buffers.give(first);
  assert.equal(buffers.take(), first);
});
