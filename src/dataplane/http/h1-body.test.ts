// Where bodies end, which chunked bodies are refused, and that it does not matter how the bytes are cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Body, ChunkedBody } from './h1-body.ts';
import { Framing } from './h1-head.ts';

/** Feeds `text` in pieces; what passed, what was held back, what was left over. */
function feed(
  text: string,
  cuts: readonly number[] = [],
): { passed: string; trailers: string; rest: string; reasonCode: string; isDone: boolean } {
  const body = new ChunkedBody();
  let passed = '';
  let from = 0;
  let consumed = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), text.length]) {
    const bytes = Buffer.from(text.slice(from, cut), 'latin1');
    if (bytes.length > 0 && !body.isDone && !body.isFailed) {
      const end = body.consume(bytes, 0);
      passed += bytes.toString('latin1', 0, body.passEnd);
      consumed = from + end;
    }
    from = cut;
  }
  const { trailerText: trailers, reasonCode, isDone } = body;
  return { passed, trailers, rest: text.slice(consumed), reasonCode, isDone };
}

test('a chunked body passes as it came, and what follows is not part of it', () => {
  const text = '5\r\nhello\r\nA;x=y;z;w="a \\" b"\r\n0123456789\r\n0\r\n\r\n';
  const outcome = feed(`${text}GET /`);
  assert.deepEqual(outcome, {
    passed: text,
    trailers: '',
    rest: 'GET /',
    reasonCode: '',
    isDone: true,
  });
});

test('trailers are held back until they are whole', () => {
  const outcome = feed('1\r\na\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\nrest');
  assert.equal(outcome.passed, '1\r\na\r\n0\r\n');
  assert.equal(outcome.trailers, 'x-sum: 1\r\ny: 2\r\n\r\n');
  assert.equal(outcome.rest, 'rest');
});

const REFUSED: readonly (readonly [title: string, text: string, reasonCode: string])[] = [
  ['no size', '\r\n', 'chunk-size-bad'],
  ['a space before the size', ' 5\r\n', 'chunk-size-bad'],
  ['a space behind the size', '5 \r\n', 'chunk-size-bad'],
  ['0x before the size', '0x5\r\n', 'chunk-size-bad'],
  ['a sign', '+5\r\n', 'chunk-size-bad'],
  ['a negative size', '-5\r\n', 'chunk-size-bad'],
  ['an underscore (as some languages read numbers)', '1_0\r\n', 'chunk-size-bad'],
  ['more than 16 digits', '00000000000000005\r\n', 'chunk-size-too-large'],
  ['a size beyond exact numbers', 'ffffffffffffffff\r\n', 'chunk-size-too-large'],
  ['a bare LF behind the size', '5\nhello', 'chunk-size-bad'],
  ['a bare CR behind the size', '5\rhello', 'chunk-bare-cr'],
  ['a bare LF in an extension (TERM.EXT)', '5;a\nxx\r\n', 'chunk-extension-bad'],
  ['a bare CR in an extension', '5;a\rb\r\n', 'chunk-bare-cr'],
  ['an extension without a name', '5;\r\n', 'chunk-extension-bad'],
  ['a blank in an extension', '5; a\r\n', 'chunk-extension-bad'],
  ['an extension without its value', '5;a=\r\n', 'chunk-extension-bad'],
  ['a line end within quotes', '5;a="\r\n', 'chunk-extension-bad'],
  ['a value behind quotes', '5;a="b"c\r\n', 'chunk-extension-bad'],
  ['a high byte in an extension', '5;\xe9\r\n', 'chunk-extension-bad'],
  ['data longer than said (SPILL.TERM)', '5\r\nhelloX\r\n', 'chunk-without-end'],
  ['a bare LF behind the data', '5\r\nhello\n', 'chunk-without-end'],
  ['two bytes for the end of data', '5\r\nhelloXX', 'chunk-without-end'],
  ['endless extensions (CVE-2024-22019)', `5;${'a'.repeat(17_000)}`, 'chunk-extensions-too-large'],
  [
    'extensions that are endless in sum',
    '1;aaaaaaaaaa\r\na\r\n'.repeat(2_000),
    'chunk-extensions-too-large',
  ],
  ['endless trailers', `0\r\n${'a: b\r\n'.repeat(4_000)}`, 'trailers-too-large'],
  ['a bare LF in trailers', '0\r\na: b\n\r\n', 'bare-lf'],
];

for (const [title, text, reasonCode] of REFUSED) {
  test(`request smuggling: a chunked body is refused: ${title}`, () => {
    assert.equal(feed(text).reasonCode, reasonCode);
  });
}

test('property: a body ends at the same place however its bytes are cut', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '0\r\n\r\n',
      '5\r\nhello\r\n',
      '1;a=b\r\nx\r\n',
      'x: y\r\n',
      '\r\n',
      'F\r\n',
      '\n',
    ),
    fc.string({ maxLength: 6 }),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
      fc.array(fc.nat({ max: 60 }), { maxLength: 12 }),
      (text, cuts) => {
        const whole = feed(text);
        const cut = feed(
          text,
          cuts.filter((at) => at <= text.length),
        );
        assert.equal(cut.isDone, whole.isDone);
        assert.equal(cut.reasonCode, whole.reasonCode);
        if (!whole.isDone) return;
        assert.equal(cut.rest, whole.rest);
        const trailersOf = (trailers: string): string => (trailers === '' ? '\r\n' : trailers);
        const passedWhole =
          whole.trailers === '' ? whole.passed : whole.passed + trailersOf(whole.trailers);
        const passedCut = cut.trailers === '' ? cut.passed : cut.passed + trailersOf(cut.trailers);
        assert.equal(passedCut, passedWhole);
      },
    ),
    { numRuns: 2_000 },
  );
});

test('cost per byte: 1-byte chunks are read without an allocation for each (CVE-2020-8659)', () => {
  const body = new Body();
  body.begin(Framing.Chunked, 0);
  const bytes = Buffer.from('1\r\na\r\n'.repeat(200_000));
  const before = process.memoryUsage().heapUsed;
  assert.equal(body.consume(bytes, 0), bytes.length);
  const grownBytes = process.memoryUsage().heapUsed - before;
  assert.ok(grownBytes < 4_000_000, `grew by ${grownBytes} for 200,000 chunks`);
});

test('a body of a given length ends there, and one without a length when the connection does', () => {
  const body = new Body();
  body.begin(Framing.Length, 5);
  assert.equal(body.consume(Buffer.from('hel'), 0), 3);
  assert.equal(body.isDone, false);
  assert.equal(body.consume(Buffer.from('loGET'), 0), 2);
  assert.equal(body.isDone, true);
  body.begin(Framing.UntilClose, 0);
  assert.equal(body.consume(Buffer.from('hello'), 0), 5);
  assert.equal(body.isDone, false);
});
