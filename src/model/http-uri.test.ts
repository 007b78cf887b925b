// Which addresses are read, and which are refused because parsers disagree about them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseHttpUri } from './http-uri.ts';

const GOOD: readonly (readonly [string, string])[] = [
  ['https://a.test', 'tls a.test 443 /'],
  ['http://a.test/', 'a.test 80 /'],
  ['HTTPS://A.test/Keys?x=1/y', 'tls a.test 443 /Keys?x=1/y'],
  ['http://a.test?x', 'a.test 80 /?x'],
  ['https://a.test:8443/k', 'tls a.test 8443 /k'],
  ['http://10.0.0.1:80/k', '10.0.0.1 80 /k'],
  ['http://[::1]:8080/k', '::1 8080 /k'],
  ['http://[fd00::1]', 'fd00::1 80 /'],
  ['http://keys/k', 'keys 80 /k'],
];
for (const [text, expected] of GOOD) {
  test(`${text} is read`, () => {
    const uri = parseHttpUri(text);
    assert.ok(uri !== undefined);
    const { isTls, host, port, target } = uri;
    assert.equal(`${isTls ? 'tls ' : ''}${host} ${port} ${target}`, expected);
  });
}

const BAD: readonly string[] = [
  '',
  'a.test',
  '//a.test',
  'ftp://a.test',
  'file:///etc/passwd',
  'http:/a.test',
  'http://',
  'http:///k',
  'http://:80/',
  'http://a.test:',
  'http://a.test:0',
  'http://a.test:65536',
  'http://a.test:80:80',
  'http://a.test:8a',
  'http://u@a.test',
  'http://u:p@a.test',
  'http://a.test\\@b.test',
  'http://a.test/#x',
  'http://a.test/a b',
  'http://a.test/\r\nx: y',
  'http://ä.test',
  'http://127.1/',
  'http://2130706433/',
  'http://0x7f.0.0.1/',
  'http://0x7f000001/',
  'http://0177.0.0.1/',
  'http://127.0.0.01/',
  'http://1.2.3.4.5/',
  'http://[::1',
  'http://[::1]x',
  'http://[a.test]',
  'http://[fe80::1%25eth0]/',
  'http://a..test',
  'http://-a.test',
];
for (const text of BAD) {
  test(`${JSON.stringify(text)} is refused`, () => assert.equal(parseHttpUri(text), undefined));
}

/** Not `fc.webUrl()`, which lists all of Unicode first and takes a second for it. */
const webUrl = fc
  .tuple(
    fc.constantFrom('http', 'https'),
    fc.oneof(fc.domain(), fc.ipV4()),
    fc.oneof(
      fc.constant(''),
      fc.nat(65_535).map((port) => `:${port}`),
    ),
    fc.stringMatching(
      /^(?:\/[\w.~!$&'()*+,;=:@%-]{0,8}){0,4}(?:\?[\w.~!$&'()*+,;=:@%/?-]{0,12})?$/,
    ),
  )
  .map(([scheme, host, port, target]) => `${scheme}://${host}${port}${target}`);

test('what is read leads where other parsers think that it leads', () => {
  fc.assert(
    fc.property(fc.oneof(webUrl, fc.string()), (text) => {
      const uri = parseHttpUri(text);
      if (uri === undefined) return;
      const other = new URL(text);
      assert.equal(other.hostname, uri.host);
      assert.equal(Number(other.port) || (uri.isTls ? 443 : 80), uri.port);
    }),
  );
});
