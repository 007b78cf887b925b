// What is gathered of a peer's bytes: in order, bounded, and never overwritten.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Input } from './h1-input.ts';

test('bytes come out as they went in, wherever they were cut', () => {
  const input = new Input();
  const text = 'the quick brown fox jumps over the lazy dog'.repeat(50);
  let out = '';
  for (let at = 0; at < text.length; at += 7) {
    input.append(Buffer.from(text.slice(at, at + 7)));
    if (at % 3 === 0) {
      out += input.bytes.toString('latin1', input.at, input.bytes.length - 1);
      input.at = input.bytes.length - 1;
    }
  }
  assert.equal(out + input.bytes.toString('latin1', input.at), text);
});

test('a reader that always leaves a rest does not make the buffer grow', () => {
  const input = new Input();
  const chunk = Buffer.alloc(65_536);
  for (let round = 0; round < 1_000; round++) {
    input.append(chunk);
    input.at = input.bytes.length - 10;
  }
  assert.ok(input.bytes.length < 4 * chunk.length, `${input.bytes.length} bytes`);
});

test('slices that were given out stay as they are', () => {
  const input = new Input();
  const given: [Buffer, string][] = [];
  for (let round = 0; round < 500; round++) {
    const text = String(round).padStart(40, '0');
    input.append(Buffer.from(text));
    const slice = input.bytes.subarray(input.at, input.bytes.length - 3);
    given.push([slice, slice.toString('latin1')]);
    input.at += slice.length;
  }
  for (const [slice, text] of given) assert.equal(slice.toString('latin1'), text);
});

test('how far was searched moves with the bytes', () => {
  const input = new Input();
  input.append(Buffer.from('consumed|GET / HTTP/1.1\r\nHost: a\r\n'));
  input.at = 9;
  input.markScanned();
  input.append(Buffer.from('\r\n'));
  const end = input.bytes.indexOf('\r\n\r\n', input.scanFrom);
  assert.equal(
    input.bytes.toString('latin1', input.at, end + 4),
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  );
});

test('what has been read whole is held no longer, what has not stays', () => {
  const input = new Input();
  input.append(Buffer.from('GET /'));
  input.at = 4;
  input.forgetRead();
  assert.equal(input.bytes.toString('latin1', input.at), '/');
  input.at = 5;
  input.forgetRead();
  assert.equal(input.bytes.length, 0);
  input.append(Buffer.from('next'));
  assert.equal(input.bytes.toString('latin1', input.at), 'next');
});
