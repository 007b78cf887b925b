// Answers' heads and bodies: what we take of an upstream, and what we send on of it, is what Node's parser reads.
import assert from 'node:assert/strict';
import http from 'node:http';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { Body } from './h1-body.ts';
import { UNEDITED, writeResponseHead, writeTrailers } from './h1-edit.ts';
import { DEFAULT_HEAD_LIMITS, Framing } from './h1-head.ts';
import { Http1ResponseHead } from './h1-response.ts';

const OPTIONS = { limits: DEFAULT_HEAD_LIMITS, isHead: false };

function read(text: string, options = OPTIONS): { head: Http1ResponseHead; end: number } {
  const head = new Http1ResponseHead();
  return { head, end: head.read(Buffer.from(text, 'latin1'), 0, 0, options) };
}

const FRAMINGS: readonly (readonly [
  title: string,
  text: string,
  isHead: boolean,
  framing: number,
])[] = [
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', false, Framing.Length],
  ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', false, Framing.Chunked],
  ['neither', 'HTTP/1.1 200 OK\r\n\r\n', false, Framing.UntilClose],
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', true, Framing.None],
  ['HEAD in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', true, Framing.None],
  ['204', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', false, Framing.None],
  ['304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', false, Framing.None],
  ['103', 'HTTP/1.1 103 Early Hints\r\n\r\n', false, Framing.None],
  ['no reason phrase', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', false, Framing.Length],
];

for (const [title, text, isHead, framing] of FRAMINGS) {
  test(`an answer's framing: ${title}`, () => {
    const { head, end } = read(text, { ...OPTIONS, isHead });
    assert.equal(end, text.length);
    assert.equal(head.facts.framing, framing);
  });
}

const KEPT: readonly (readonly [text: string, isKeepAlive: boolean])[] = [
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', true],
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n', false],
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, close\r\n\r\n', false],
  ['HTTP/1.1 200 OK\r\n\r\n', false],
  ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', false],
  ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n', true],
];

for (const [text, isKeepAlive] of KEPT) {
  test(`a connection is ${isKeepAlive ? '' : 'not '}kept after ${JSON.stringify(text)}`, () => {
    assert.equal(read(text).head.isKeepAlive, isKeepAlive);
  });
}

test('an answer without fields of one hop is the very text that came', () => {
  const text = 'HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n\r\n';
  assert.equal(writeResponseHead(read(text).head, UNEDITED), text);
});

test('fields of one hop, and those that Connection names, are taken out of an answer', () => {
  const text =
    'HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nA: b\r\nx-mine: 1\r\n' +
    'Proxy-Connection: close\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n';
  const expected = 'HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n';
  assert.equal(writeResponseHead(read(text).head, UNEDITED), expected);
});

test('trailers that mean something only in a head are taken out', () => {
  const text =
    'A: b\r\nContent-Length: 5\r\nHost: x\r\nX-Weft-Peer: me\r\nx_weft_peer: me\r\nSet-Cookie: a\r\nC: d\r\n\r\n';
  const isRemoved = (name: string): boolean => name.startsWith('x-weft-');
  assert.equal(writeTrailers(text, isRemoved), 'A: b\r\nC: d\r\n\r\n');
  assert.equal(writeTrailers('A : b\r\n\r\n', isRemoved), undefined);
});

interface Answer {
  readonly status: number;
  readonly fields: readonly string[];
  readonly body: string;
}

/** Node's client as the second opinion; `undefined` when it refuses. */
function readByNode(text: string): Promise<Answer | undefined> {
  const [client, server] = duplexPair();
  server.once('data', () => server.end(Buffer.from(text, 'latin1')));
  server.on('error', () => undefined);
  return new Promise((resolve) => {
    const request = http.request({ createConnection: () => client, host: 'a' });
    request.on('error', () => resolve(undefined));
    request.on('response', (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
      response.on('error', () => resolve(undefined));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, fields: response.rawHeaders, body });
      });
    });
    request.end();
  });
}

const answers = fc
  .record({
    line: fc.constantFrom('HTTP/1.1 200 OK', 'HTTP/1.1 404', 'HTTP/1.0 200 OK', 'HTTP/1.1 204 No'),
    fields: fc.array(
      fc.constantFrom(
        'A: b',
        'Connection: close',
        'Connection: keep-alive',
        'Keep-Alive: timeout=5',
        'Content-Length: 5',
        'Transfer-Encoding: chunked',
        'B:',
        'C: caf\xe9 \t',
      ),
      { maxLength: 4 },
    ),
    body: fc.constantFrom(
      'hello',
      '5\r\nhello\r\n0\r\n\r\n',
      '5\r\nhello\r\n0\r\nT: u\r\n\r\n',
      '',
    ),
    nasty: fc.array(
      fc.tuple(fc.nat({ max: 90 }), fc.constantFrom('\r', '\n', ' ', '\0', ':', '\t', 'x')),
      {
        maxLength: 2,
      },
    ),
  })
  .map(({ line, fields, body, nasty }) => {
    let text = [line, ...fields, '', body].join('\r\n');
    for (const [at, piece] of nasty) text = text.slice(0, at) + piece + text.slice(at);
    return text;
  });

test('property: answers that we take, and what we send on of them, are the same for Node', async () => {
  let compared = 0;
  const property = fc.asyncProperty(answers, async (text) => {
    const { head, end } = read(text);
    if (end <= 0 || head.status < 200) return;
    const bytes = Buffer.from(text, 'latin1');
    const body = new Body();
    body.begin(head.facts.framing, head.facts.contentLength);
    body.unwrapChunks();
    const bodyEnd = body.isDone ? end : body.consume(bytes, end);
    if (body.reasonCode !== '' || (!body.isDone && !body.isUntilClose)) return;
    const trailers = body.trailerText === '' ? '' : writeTrailers(body.trailerText, () => false);
    if (trailers === undefined) return;
    const whole = text.slice(0, bodyEnd);
    const theirs = await readByNode(whole);
    assert.notEqual(theirs, undefined, 'Node refuses what we take');
    assert.equal(theirs?.status, head.status);
    const ranges = body.ranges ?? [end, bodyEnd];
    let data = '';
    for (let at = 0; at < ranges.length; at += 2) data += text.slice(ranges[at], ranges[at + 1]);
    assert.equal(theirs?.body, data);
    const sent = writeResponseHead(head, UNEDITED) + text.slice(end, body.passEnd) + trailers;
    const relayed = await readByNode(sent);
    assert.deepEqual([relayed?.status, relayed?.body], [theirs?.status, theirs?.body]);
    assert.ok(
      !relayed?.fields.some(
        (field) => field.toLowerCase() === 'keep-alive' && field !== 'keep-alive',
      ),
    );
    compared++;
  });
  await fc.assert(property, { numRuns: runs(1_000), seed: 1 });
  assert.ok(compared > 200, `compared ${compared}`);
});
