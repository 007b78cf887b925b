// Which request heads are read, and which are refused with what reason code.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_HEAD_LIMITS, Framing } from './h1-head.ts';
import { Http1RequestHead } from './h1-request.ts';

const OPTIONS = { limits: DEFAULT_HEAD_LIMITS, allowAbsoluteForm: false };
const EXPLICIT = { ...OPTIONS, allowAbsoluteForm: true };

function read(text: string, options = OPTIONS): { head: Http1RequestHead; end: number } {
  const head = new Http1RequestHead();
  return { head, end: head.read(Buffer.from(text, 'latin1'), 0, 0, options) };
}

function reasonOf(text: string, options = OPTIONS): string {
  const { head, end } = read(text, options);
  if (end > 0) return 'accepted';
  return end === 0 ? 'incomplete' : `${head.status} ${head.reasonCode}`;
}

const get = (fields: string): string => `GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

test('a plain head is read whole', () => {
  const text =
    'POST /a/b?c=d HTTP/1.1\r\nHost: Shop.example:8080\r\nX-A:  1 \r\nx-a:2\r\nContent-Length: 5\r\n\r\nhello';
  const { head, end } = read(text);
  assert.equal(end, text.length - 5);
  assert.deepEqual(
    [head.method, head.path, head.authority, head.isHttp10, head.isKeepAlive, head.hasBody],
    ['POST', '/a/b?c=d', 'Shop.example:8080', false, true, true],
  );
  assert.deepEqual(head.header('x-a'), ['1', '2']);
  assert.equal(head.header('x-b'), undefined);
  assert.deepEqual([head.facts.framing, head.facts.contentLength], [Framing.Length, 5]);
});

test('a head that comes byte by byte is incomplete until its last byte', () => {
  const text = 'GET / HTTP/1.1\r\nHost: a\r\nx: y\r\n\r\n';
  const head = new Http1RequestHead();
  let scanFrom = 0;
  for (let size = 1; size < text.length; size++) {
    const bytes = Buffer.from(text.slice(0, size));
    assert.equal(head.read(bytes, 0, scanFrom, OPTIONS), 0, `after ${size} bytes`);
    scanFrom = Math.max(0, size - 3);
  }
  assert.equal(head.read(Buffer.from(text), 0, scanFrom, OPTIONS), text.length);
});

const REFUSED: readonly (readonly [title: string, text: string, outcome: string])[] = [
  [
    'two Content-Length',
    get('Content-Length: 5\r\nContent-Length: 6\r\n'),
    '400 two-content-lengths',
  ],
  [
    'two equal Content-Length',
    get('Content-Length: 5\r\ncontent-length: 5\r\n'),
    '400 two-content-lengths',
  ],
  ['a list in Content-Length', get('Content-Length: 5, 5\r\n'), '400 content-length-bad'],
  ['a sign in Content-Length', get('Content-Length: +5\r\n'), '400 content-length-bad'],
  ['a negative Content-Length', get('Content-Length: -1\r\n'), '400 content-length-bad'],
  ['a hexadecimal Content-Length', get('Content-Length: 0x10\r\n'), '400 content-length-bad'],
  ['an octal-looking Content-Length', get('Content-Length: 010\r\n'), '400 content-length-bad'],
  ['an empty Content-Length', get('Content-Length:\r\n'), '400 content-length-bad'],
  [
    'a Content-Length beyond exact numbers',
    get('Content-Length: 9007199254740993\r\n'),
    '400 content-length-bad',
  ],
  [
    'Content-Length with Transfer-Encoding (CL.TE)',
    get('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'),
    '400 content-length-and-transfer-encoding',
  ],
  [
    'Transfer-Encoding with Content-Length (TE.CL)',
    get('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'),
    '400 content-length-and-transfer-encoding',
  ],
  ['an unknown coding', get('Transfer-Encoding: xchunked\r\n'), '400 transfer-encoding-unknown'],
  [
    'chunked that is not last (CVE-2022-32213)',
    get('Transfer-Encoding: chunked, identity\r\n'),
    '400 transfer-encoding-unknown',
  ],
  [
    'gzip before chunked',
    get('Transfer-Encoding: gzip, chunked\r\n'),
    '400 transfer-encoding-unknown',
  ],
  [
    'chunked twice',
    get('Transfer-Encoding: chunked, chunked\r\n'),
    '400 transfer-encoding-unknown',
  ],
  [
    'two Transfer-Encoding (CVE-2022-32215)',
    get('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'),
    '400 two-transfer-encodings',
  ],
  [
    'a vertical tab before chunked',
    get('Transfer-Encoding: \x0bchunked\r\n'),
    '400 field-value-bad-byte',
  ],
  [
    'chunked from HTTP/1.0',
    'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n',
    '400 chunked-in-http10',
  ],
  [
    'a tab behind chunked',
    get('Transfer-Encoding: chunked\t\r\n'),
    '400 transfer-encoding-unknown',
  ],
  ['a tab behind a length', get('Content-Length: 5\t\r\n'), '400 content-length-bad'],
  ['a folded line', get('X: a\r\n b\r\n'), '400 folded-line'],
  ['a folded first line', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', '400 folded-line'],
  [
    'a space before the colon (CVE-2021-22959)',
    get('Content-Length : 5\r\n'),
    '400 space-before-colon',
  ],
  ['a tab before the colon', get('X\t: 5\r\n'), '400 space-before-colon'],
  ['a bare LF between lines', 'GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n', '400 bare-lf'],
  ['a bare LF behind a name (CVE-2022-32214)', get('X\n: y\r\n'), '400 bare-lf'],
  ['bare LFs only', 'GET / HTTP/1.1\nHost: a\n\n', '400 bare-lf'],
  ['a bare CR in a value', get('X: a\rb\r\n'), '400 bare-cr'],
  [
    'a bare CR as line end (CVE-2023-30589)',
    get('X: a\rTransfer-Encoding: chunked\r\n'),
    '400 bare-cr',
  ],
  ['NUL in a value', get('X: a\0b\r\n'), '400 field-value-bad-byte'],
  ['DEL in a value', get('X: a\x7fb\r\n'), '400 field-value-bad-byte'],
  ['NUL in a name', get('X\0: a\r\n'), '400 field-name-bad-byte'],
  ['a high byte in a name', get('X\xe9: a\r\n'), '400 field-name-bad-byte'],
  ['parentheses in a name', get('X(a): a\r\n'), '400 field-name-bad-byte'],
  ['an empty name', get(': a\r\n'), '400 field-name-empty'],
  ['a line without colon', get('nonsense\r\n'), '400 line-without-colon'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', '400 no-host'],
  ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', '400 no-host'],
  ['two Host', get('Host: a\r\n'), '400 two-hosts'],
  ['a path in Host', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', '400 host-bad'],
  ['user information in Host', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', '400 host-bad'],
  ['a list in Host', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', '400 host-bad'],
  ['a port that is none in Host', 'GET / HTTP/1.1\r\nHost: a:b\r\n\r\n', '400 host-bad'],
  ['two ports in Host', 'GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n', '400 host-bad'],
  ['an open bracket in Host', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n', '400 host-bad'],
  [
    'a target without slash (CVE-2026-33186)',
    'GET admin HTTP/1.1\r\nHost: a\r\n\r\n',
    '400 target-without-slash',
  ],
  ['a target that is a fragment', 'GET #/ HTTP/1.1\r\nHost: a\r\n\r\n', '400 target-without-slash'],
  ['* for GET', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', '400 target-without-slash'],
  [
    'absolute form where no proxy was asked for',
    'GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    '400 absolute-form-refused',
  ],
  ['a tab in the target', 'GET /\ta HTTP/1.1\r\nHost: a\r\n\r\n', '400 target-bad-byte'],
  ['a high byte in the target', 'GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n', '400 target-bad-byte'],
  ['a second space before the target', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n', '400 version-bad'],
  ['a second space before the version', 'GET /  HTTP/1.1\r\nHost: a\r\n\r\n', '400 version-bad'],
  ['HTTP/0.9', 'GET /\r\n\r\n', '400 version-missing'],
  ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', '400 version-bad'],
  ['HTTP/1.10', 'GET / HTTP/1.10\r\nHost: a\r\n\r\n', '400 version-bad'],
  ['a lower-case version', 'GET / http/1.1\r\nHost: a\r\n\r\n', '400 version-bad'],
  ['a space behind the version', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n', '400 version-bad'],
  ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', '405 connect-refused'],
  ['a lower-case method', 'get / HTTP/1.1\r\nHost: a\r\n\r\n', '400 request-line-bad'],
  ['a method of mixed case', 'Get / HTTP/1.1\r\nHost: a\r\n\r\n', '400 method-bad'],
  [
    'a method that is too long',
    `${'A'.repeat(25)} / HTTP/1.1\r\nHost: a\r\n\r\n`,
    '400 method-bad',
  ],
  ['an unknown expectation', get('Expect: tea\r\n'), '417 expectation-unknown'],
  ['two expectations', get('Expect: 100-continue\r\nExpect: 100-continue\r\n'), '400 two-expects'],
  [
    'Connection that names Host',
    get('Connection: close, host\r\n'),
    '400 connection-names-protected-field',
  ],
  [
    'Connection that names XFCC',
    get('Connection: X-Forwarded-Client-Cert\r\n'),
    '400 connection-names-protected-field',
  ],
  [
    'Connection that names x-weft-*',
    get('Connection: x-weft-peer\r\n'),
    '400 connection-names-protected-field',
  ],
  [
    'Connection that names Authorization',
    get('Connection: keep-alive, authorization\r\n'),
    '400 connection-names-protected-field',
  ],
  [
    'Connection that names Content-Length',
    get('Connection: content-length\r\n'),
    '400 connection-names-protected-field',
  ],
  ['a Connection option that is no token', get('Connection: a b\r\n'), '400 connection-option-bad'],
  ['TLS on the port', '\x16\x03\x01\x02\0\x01\0\x01\xfc', '400 not-http'],
  ['129 fields', get('x: y\r\n'.repeat(128)), '431 too-many-fields'],
  ['ten thousand fields', get('x: y\r\n'.repeat(10_000)), '431 too-many-fields'],
  ['a head over 64 KiB', get(`x: ${'y'.repeat(66_000)}\r\n`), '431 head-too-large'],
  ['an endless head', `GET / HTTP/1.1\r\nx: ${'y'.repeat(66_000)}`, '431 head-too-large'],
  [
    'a target over 16 KiB',
    `GET /${'a'.repeat(17_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    '414 request-line-too-long',
  ],
  ['an endless request line', `GET /${'a'.repeat(17_000)}`, '414 request-line-too-long'],
];

for (const [title, text, outcome] of REFUSED) {
  test(`request smuggling (llhttp CVE classes): refused: ${title}`, () => {
    assert.equal(reasonOf(text), outcome);
  });
}

const ACCEPTED: readonly (readonly [title: string, text: string])[] = [
  ['* for OPTIONS', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['HTTP/1.0 without Host', 'GET / HTTP/1.0\r\n\r\n'],
  ['an IPv6 Host with port', 'GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n'],
  ['high bytes in a value', get('X: caf\xe9\r\n')],
  ['tabs around a value', get('X:\ta\t\r\n')],
  ['an empty value', get('X:\r\n')],
  ['M-SEARCH', 'M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a field named __proto__ (CVE-2026-21710)', get('__proto__: a\r\n')],
  ['chunked in any case', get('Transfer-Encoding: Chunked\r\n')],
  ['128 fields', get('x: y\r\n'.repeat(127))],
];

for (const [title, text] of ACCEPTED) {
  test(`accepted: ${title}`, () => assert.equal(reasonOf(text), 'accepted'));
}

test('a fragment is not part of the path (CVE-2021-39156)', () => {
  assert.equal(read('GET /a#/../b?c HTTP/1.1\r\nHost: a\r\n\r\n').head.path, '/a');
});

const ABSOLUTE: readonly (readonly [target: string, host: string, outcome: string])[] = [
  ['http://shop:80/a?b', 'Shop:80', 'shop:80 /a?b'],
  ['HTTP://shop', 'shop', 'shop /'],
  ['http://shop?q', 'shop', 'shop /?q'],
  ['http://shop/a#b', 'shop', 'shop /a'],
  ['http://shop/', 'admin', '400 host-differs'],
  ['http://a@shop/', 'shop', '400 target-authority-bad'],
  ['http:///a', 'shop', '400 target-authority-bad'],
  ['http://shop\\admin/', 'shop', '400 target-authority-bad'],
  ['https://shop/', 'shop', '400 target-without-slash'],
  ['ftp://shop/', 'shop', '400 target-without-slash'],
];

for (const [target, host, outcome] of ABSOLUTE) {
  test(`absolute form ${target} with Host ${host}: ${outcome}`, () => {
    const text = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    const { head, end } = read(text, EXPLICIT);
    assert.equal(end > 0 ? `${head.authority} ${head.path}` : reasonOf(text, EXPLICIT), outcome);
  });
}
