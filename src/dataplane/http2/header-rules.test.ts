import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HpackDecoder, type DecodedFields } from './hpack/decoder.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { contentLengthOf, requestFlaw, responseFlaw, trailersFlaw } from './header-rules.ts';

/** As a decoder gives it: twice, so that the second comes from the tables. */
function listsOf(raw: readonly string[]): readonly DecodedFields[] {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder({ maxListBytes: 65_536, maxFields: 128 });
  return [0, 1].map(() => {
    const list = decoder.decode(Buffer.from(encoder.encode(raw)));
    assert.ok(list.ok);
    assert.deepEqual(list.raw, raw);
    return { ...list, marks: list.marks.slice() };
  });
}

type Judge = typeof requestFlaw;
function flawOf(judge: Judge, raw: readonly string[]): string | undefined {
  const [first, again] = listsOf(raw).map((list) => judge(list));
  assert.equal(again, first, 'from the tables');
  return first;
}

const GET = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'];

const REQUESTS: readonly (readonly [string, readonly string[], string | undefined])[] = [
  ['the four pseudo-headers', GET, undefined],
  [
    'pseudo-headers in another order',
    [':path', '/', ':authority', 'a', ':scheme', 'https', ':method', 'POST'],
    undefined,
  ],
  ['host in place of :authority', [...GET.slice(0, 6), 'host', 'a:80'], undefined],
  [
    'CONNECT, which has an authority alone',
    [':method', 'CONNECT', ':authority', 'a:80'],
    undefined,
  ],
  ['te: trailers', [...GET, 'te', 'trailers'], undefined],
  [
    'values with spaces inside, high bytes and nothing',
    [...GET, 'x', 'a b\tc\xff', 'y', ''],
    undefined,
  ],
  ['cookies in pieces', [...GET, 'cookie', 'a=1', 'cookie', 'b=2'], undefined],
  ['every letter that a name may have', [...GET, "a!#$%&'*+-.^_`|~09z", 'b'], undefined],
  ['no pseudo-headers', ['a', 'b'], 'pseudo-header-missing'],
  ['nothing', [], 'pseudo-header-missing'],
  ['no method', GET.slice(2), 'pseudo-header-missing'],
  ['no scheme', [':method', 'GET', ':path', '/'], 'pseudo-header-missing'],
  ['no path', [':method', 'GET', ':scheme', 'http'], 'pseudo-header-missing'],
  [
    'CONNECT with a path',
    [':method', 'CONNECT', ':path', '/', ':authority', 'a:80'],
    'pseudo-header-missing',
  ],
  [
    'CONNECT with scheme and path',
    [':method', 'CONNECT', ...GET.slice(2)],
    'pseudo-header-misplaced',
  ],
  [
    'extended CONNECT, which was not offered',
    [':method', 'CONNECT', ':protocol', 'websocket', ...GET.slice(2)],
    'pseudo-header-unknown',
  ],
  ['two methods', [':method', 'GET', ...GET], 'pseudo-header-twice'],
  ['two paths', [...GET, ':path', '/'], 'pseudo-header-twice'],
  ['two authorities', [...GET, ':authority', 'a'], 'pseudo-header-twice'],
  ['a pseudo-header of responses', [...GET, ':status', '200'], 'pseudo-header-misplaced'],
  ['an unknown pseudo-header', [...GET, ':host', 'a'], 'pseudo-header-unknown'],
  ['a pseudo-header without a name', [...GET, ':', 'a'], 'pseudo-header-unknown'],
  [
    'a pseudo-header behind a field',
    [...GET.slice(0, 6), 'x', 'y', ':authority', 'a'],
    'pseudo-header-late',
  ],
  [
    'a pseudo-header behind host',
    [...GET.slice(0, 4), 'host', 'a', ':path', '/'],
    'pseudo-header-late',
  ],
  ['two hosts', [...GET, 'host', 'a', 'host', 'a'], 'two-hosts'],
  ['an empty path', [':method', 'GET', ':scheme', 'http', ':path', ''], 'path-bad'],
  ['a path with a space', [':method', 'GET', ':scheme', 'http', ':path', '/a b'], 'path-bad'],
  [
    'a path with a line end',
    [':method', 'GET', ':scheme', 'http', ':path', '/a\r\nb: c'],
    'path-bad',
  ],
  ['an empty method', [':method', '', ...GET.slice(2)], 'method-bad'],
  ['a method with a space', [':method', 'GET /', ...GET.slice(2)], 'method-bad'],
  ['an empty scheme', [':method', 'GET', ':scheme', '', ':path', '/'], 'scheme-bad'],
  ['a scheme with a slash', [':method', 'GET', ':scheme', 'http:/', ':path', '/'], 'scheme-bad'],
  ['user information', [...GET.slice(0, 6), ':authority', 'b@a'], 'host-bad'],
  ['user information in host', [...GET, 'host', 'b@a'], 'host-bad'],
  ['a path in the authority', [...GET.slice(0, 6), ':authority', 'a/b'], 'host-bad'],
  ['an upper-case name', [...GET, 'X-A', 'b'], 'field-name-bad'],
  ['an upper-case name of a known field', [...GET, 'Host', 'b'], 'field-name-bad'],
  ['an empty name', [...GET, '', 'b'], 'field-name-bad'],
  ['a name with a space', [...GET, 'a ', 'b'], 'field-name-bad'],
  ['a name with a colon', [...GET, 'a:', 'b'], 'field-name-bad'],
  ['a name with a high byte', [...GET, 'a\xe9', 'b'], 'field-name-bad'],
  ['a name with NUL', [...GET, 'a\0', 'b'], 'field-name-bad'],
  ['a value with NUL', [...GET, 'a', 'b\0c'], 'field-value-bad'],
  ['a value with CR', [...GET, 'a', 'b\rc'], 'field-value-bad'],
  ['a value with LF', [...GET, 'a', 'b\nc'], 'field-value-bad'],
  ['a value with DEL', [...GET, 'a', 'b\x7fc'], 'field-value-bad'],
  ['a value that begins with a space', [...GET, 'a', ' b'], 'field-value-bad'],
  ['a value that ends with a tab', [...GET, 'a', 'b\t'], 'field-value-bad'],
  ['a value of one space', [...GET, 'a', ' '], 'field-value-bad'],
  ['connection', [...GET, 'connection', 'close'], 'field-of-one-hop'],
  ['keep-alive', [...GET, 'keep-alive', '1'], 'field-of-one-hop'],
  ['proxy-connection', [...GET, 'proxy-connection', 'close'], 'field-of-one-hop'],
  ['transfer-encoding', [...GET, 'transfer-encoding', 'chunked'], 'field-of-one-hop'],
  ['upgrade', [...GET, 'upgrade', 'h2c'], 'field-of-one-hop'],
  ['te of another value', [...GET, 'te', 'gzip'], 'te-bad'],
  ['te of two values', [...GET, 'te', 'trailers, gzip'], 'te-bad'],
  ['content-length of letters', [...GET, 'content-length', 'a'], 'content-length-bad'],
  ['content-length with a sign', [...GET, 'content-length', '+5'], 'content-length-bad'],
  ['content-length of nothing', [...GET, 'content-length', ''], 'content-length-bad'],
  ['content-length as a list', [...GET, 'content-length', '5, 5'], 'content-length-bad'],
  [
    'content-length beyond exact numbers',
    [...GET, 'content-length', '9'.repeat(16)],
    'content-length-bad',
  ],
  [
    'two content-lengths',
    [...GET, 'content-length', '5', 'content-length', '6'],
    'two-content-lengths',
  ],
  [
    'two equal content-lengths',
    [...GET, 'content-length', '5', 'content-length', '5'],
    'two-content-lengths',
  ],
];

for (const [what, raw, flaw] of REQUESTS) {
  test(`requestFlaw() ${flaw === undefined ? 'takes' : 'refuses'} ${what}`, () => {
    assert.equal(flawOf(requestFlaw, raw), flaw);
  });
}

const RESPONSES: readonly (readonly [string, readonly string[], string | undefined])[] = [
  ['a status', [':status', '200'], undefined],
  ['an interim one', [':status', '103', 'link', '</a>'], undefined],
  ['204 with a content-length of nothing', [':status', '204', 'content-length', '0'], undefined],
  ['a status that nobody knows', [':status', '999'], undefined],
  ['no status', ['a', 'b'], 'pseudo-header-missing'],
  ['a status of two digits', [':status', '20'], 'status-bad'],
  ['a status of four digits', [':status', '2000'], 'status-bad'],
  ['a status below 100', [':status', '099'], 'status-bad'],
  ['a status of letters', [':status', '2x0'], 'status-bad'],
  ['101, where there is nothing to switch to', [':status', '101'], 'status-bad'],
  ['two statuses', [':status', '200', ':status', '200'], 'pseudo-header-twice'],
  ['a status behind a field', ['a', 'b', ':status', '200'], 'pseudo-header-late'],
  ['a pseudo-header of requests', [':status', '200', ':path', '/'], 'pseudo-header-misplaced'],
  [
    '100 with a content-length',
    [':status', '100', 'content-length', '5'],
    'content-length-misplaced',
  ],
  [
    '204 with a content-length',
    [':status', '204', 'content-length', '5'],
    'content-length-misplaced',
  ],
  ['connection', [':status', '200', 'connection', 'close'], 'field-of-one-hop'],
  ['a value that would end a line', [':status', '200', 'a', 'b\r\nc: d'], 'field-value-bad'],
];

for (const [what, raw, flaw] of RESPONSES) {
  test(`responseFlaw() ${flaw === undefined ? 'takes' : 'refuses'} ${what}`, () => {
    assert.equal(flawOf(responseFlaw, raw), flaw);
  });
}

test('trailersFlaw() takes fields, and none that frame, route or begin with a colon', () => {
  const flaw = (...raw: string[]): string | undefined => flawOf(trailersFlaw, raw);
  assert.equal(flaw(), undefined);
  assert.equal(flaw('grpc-status', '0', 'grpc-message', ''), undefined);
  assert.equal(flaw(':status', '200'), 'pseudo-header-misplaced');
  assert.equal(flaw('a', 'b', ':path', '/'), 'pseudo-header-misplaced');
  assert.equal(flaw(':unknown', '/'), 'pseudo-header-unknown');
  assert.equal(flaw('content-length', '5'), 'field-not-in-trailers');
  assert.equal(flaw('host', 'a'), 'field-not-in-trailers');
  assert.equal(flaw('transfer-encoding', 'chunked'), 'field-of-one-hop');
  assert.equal(flaw('A', 'b'), 'field-name-bad');
});

test('contentLengthOf() reads the length, if there is one', () => {
  const [list] = listsOf([...GET, 'content-length', '120']);
  const [without] = listsOf(GET);
  assert.ok(list !== undefined && without !== undefined);
  assert.equal(contentLengthOf(list), 120);
  assert.equal(contentLengthOf(without), undefined);
});
