// Frames are read alike however they arrive, and what breaks RFC 9113 §4 to §6 ends the connection with the right error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { data, frame, GREETING, headers, uint32 } from '../../../test/support/http2-frames.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { ERROR, FLAG, FRAME, PREFACE } from './frames.ts';

/** What the reader said, with DATA put together again. */
function read(chunks: readonly Buffer[], isServer = true): string[] {
  const seen: string[] = [];
  let slices: Buffer[] = [];
  const sink: FrameSink = {
    onDataHead: (id, length, padding, isEnd) =>
      void seen.push(`data ${id} ${length} ${padding}${isEnd ? ' end' : ''}`),
    onDataSlice: (slice, isLast) => {
      slices.push(slice);
      if (!isLast) return;
      seen.push(`is ${Buffer.concat(slices).toString()}`);
      slices = [];
    },
    onHeaders: (id, block, isEnd) =>
      void seen.push(
        `headers ${id} ${block.bytes.toString('utf8', block.from, block.end)}${isEnd ? ' end' : ''}`,
      ),
    onPriority: () => void seen.push('priority'),
    onReset: (id, code) => void seen.push(`reset ${id} ${code}`),
    onSettings: (payload) => void seen.push(`settings ${payload.toString('hex')}`),
    onSettingsAck: () => void seen.push('ack'),
    onPing: (payload, isAck) => void seen.push(`ping ${payload.toString()} ${isAck}`),
    onGoaway: (last, code) => void seen.push(`goaway ${last} ${code}`),
    onWindowUpdate: (id, increment) => void seen.push(`window ${id} ${increment}`),
    onUnknown: () => void seen.push('unknown'),
    onBroken: (code) => void seen.push(`broken ${code}`),
  };
  const reader = new FrameReader(sink, isServer);
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

const text = (value: string): Buffer => Buffer.from(value);
const padded = Buffer.concat([Buffer.from([3]), text('body'), Buffer.alloc(3)]);
const prioritized = Buffer.concat([uint32(0), Buffer.from([9]), text('block')]);

const EVERYTHING = Buffer.concat([
  GREETING,
  frame(FRAME.settings, 0, 0, Buffer.from('000300000064', 'hex')),
  frame(FRAME.settings, FLAG.ack, 0),
  headers(1, text('one')),
  frame(FRAME.data, FLAG.padded, 1, padded),
  data(1, Buffer.alloc(0)),
  data(1, text('last'), true),
  frame(FRAME.headers, FLAG.priority | FLAG.endStream, 3, prioritized),
  frame(FRAME.continuation, 0, 3, text(' goes')),
  frame(FRAME.continuation, FLAG.endHeaders, 3, text(' on')),
  frame(FRAME.priority, 0, 5, Buffer.concat([uint32(3), Buffer.from([1])])),
  frame(FRAME.ping, 0, 0, text('12345678')),
  frame(200, 255, 9, text('nobody knows')),
  frame(FRAME.windowUpdate, 0, 0, uint32(7)),
  frame(FRAME.windowUpdate, 0, 3, uint32(2 ** 31 + 8)),
  frame(FRAME.reset, 0, 3, uint32(ERROR.cancel)),
  frame(FRAME.goaway, 0, 0, Buffer.concat([uint32(3, 0), text('bye')])),
]);

const EXPECTED = [
  'settings ',
  'settings 000300000064',
  'ack',
  'headers 1 one',
  'data 1 8 4',
  'is body',
  'data 1 0 0',
  'is ',
  'data 1 4 0 end',
  'is last',
  'headers 3 block goes on end',
  'priority',
  'ping 12345678 false',
  'unknown',
  'window 0 7',
  'window 3 8',
  'reset 3 8',
  'goaway 3 0',
];

test('frames are read alike, in whatever chunks they come', () => {
  assert.deepEqual(read([EVERYTHING]), EXPECTED);
  const bytes = Array.from(EVERYTHING, (_byte, at) => EVERYTHING.subarray(at, at + 1));
  assert.deepEqual(read(bytes), EXPECTED);
  const cuts = fc.array(fc.integer({ min: 0, max: EVERYTHING.length }), { maxLength: 12 });
  fc.assert(
    fc.property(cuts, (places) => {
      const ends = [0, ...places.toSorted((a, b) => a - b), EVERYTHING.length];
      const chunks = ends.slice(1).map((end, at) => EVERYTHING.subarray(ends[at], end));
      assert.deepEqual(read(chunks), EXPECTED);
    }),
  );
});

const protocol = `broken ${ERROR.protocol}`;
const size = `broken ${ERROR.frameSize}`;
const calm = `broken ${ERROR.enhanceYourCalm}`;

for (const [claim, bytes, expected] of [
  ['DATA on stream 0', data(0, text('x')), protocol],
  ['HEADERS on stream 0', headers(0, text('x')), protocol],
  ['RST_STREAM on stream 0', frame(FRAME.reset, 0, 0, uint32(0)), protocol],
  ['SETTINGS on a stream', frame(FRAME.settings, 0, 1), protocol],
  ['PING on a stream', frame(FRAME.ping, 0, 1, text('12345678')), protocol],
  ['GOAWAY on a stream', frame(FRAME.goaway, 0, 1, uint32(0, 0)), protocol],
  ['PUSH_PROMISE', frame(FRAME.pushPromise, FLAG.endHeaders, 1, uint32(2)), protocol],
  ['SETTINGS of 5 bytes', frame(FRAME.settings, 0, 0, Buffer.alloc(5)), size],
  ['an acknowledgement that says something', frame(FRAME.settings, 1, 0, Buffer.alloc(6)), size],
  ['PING of 7 bytes', frame(FRAME.ping, 0, 0, Buffer.alloc(7)), size],
  ['RST_STREAM of 3 bytes', frame(FRAME.reset, 0, 1, Buffer.alloc(3)), size],
  ['WINDOW_UPDATE of 5 bytes', frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(5)), size],
  ['PRIORITY of 4 bytes', frame(FRAME.priority, 0, 1, Buffer.alloc(4)), size],
  ['GOAWAY of 7 bytes', frame(FRAME.goaway, 0, 0, Buffer.alloc(7)), size],
  ['a frame of 16,385 bytes', data(1, Buffer.alloc(16_385)), size],
  [
    'padding longer than its DATA',
    frame(FRAME.data, FLAG.padded, 1, Buffer.from([4, 0])),
    protocol,
  ],
  ['padding in DATA of no bytes', frame(FRAME.data, FLAG.padded, 1), size],
  ['padding longer than its HEADERS', frame(FRAME.headers, 12, 1, Buffer.from([4, 0])), protocol],
  ['HEADERS shorter than their priority', frame(FRAME.headers, 36, 1, Buffer.alloc(4)), protocol],
  [
    'a stream that depends on itself',
    frame(FRAME.priority, 0, 1, Buffer.from('0000000100', 'hex')),
    protocol,
  ],
  ['CONTINUATION of nothing', frame(FRAME.continuation, FLAG.endHeaders, 1, text('x')), protocol],
  [
    'another frame between HEADERS and CONTINUATION',
    Buffer.concat([
      frame(FRAME.headers, 0, 1, text('x')),
      frame(FRAME.ping, 0, 0, text('12345678')),
    ]),
    protocol,
  ],
  [
    'CONTINUATION of another stream',
    Buffer.concat([
      frame(FRAME.headers, 0, 1, text('x')),
      frame(FRAME.continuation, 4, 3, text('x')),
    ]),
    protocol,
  ],
  [
    'a block beyond 64 KiB (CVE-2024-27919)',
    Buffer.concat([
      frame(FRAME.headers, 0, 1, text('x')),
      ...Array<Buffer>(4).fill(frame(FRAME.continuation, 0, 1, Buffer.alloc(16_384))),
    ]),
    calm,
  ],
  [
    '33 continuations (CVE-2019-9518)',
    Buffer.concat([
      frame(FRAME.headers, 0, 1, text('x')),
      ...Array<Buffer>(33).fill(frame(FRAME.continuation, 0, 1)),
    ]),
    calm,
  ],
] as const) {
  test(`${claim} ends the connection, and nothing is read after it`, () => {
    const seen = read([
      Buffer.concat([GREETING, bytes, frame(FRAME.ping, 0, 0, text('12345678'))]),
    ]);
    assert.equal(seen[0], 'settings ');
    assert.equal(seen.at(-1), expected);
  });
}

test('a connection that does not begin as HTTP/2 does is none', () => {
  assert.deepEqual(read([text('GET / HTTP/1.1\r\n')]), [protocol]);
  assert.deepEqual(read([PREFACE.subarray(0, 10), text('?')]), [protocol]);
  assert.deepEqual(read([Buffer.concat([PREFACE, data(1, text('x'))])]), [protocol]);
  assert.deepEqual(read([frame(FRAME.settings, FLAG.ack, 0)], false), [protocol]);
});
