import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestReader } from './request-reader.ts';

const TEXT = [
  'GET /a HTTP/1.1\r\nhost: x\r\n\r\n',
  'PUT /b HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\n\r\n12\r\n\r',
  'PUT /c HTTP/1.1\r\ncontent-length: 0\r\n\r\n',
  'GET /d HTTP/1.1\r\n\r\n',
].join('');

test('RequestReader tells each request once, however its bytes are cut', () => {
  for (let size = 1; size <= TEXT.length; size++) {
    const paths: string[] = [];
    const reader = new RequestReader((path) => paths.push(path));
    for (let at = 0; at < TEXT.length; at += size) {
      reader.read(Buffer.from(TEXT.slice(at, at + size)));
    }
    assert.deepEqual(paths, ['/a', '/b', '/c', '/d'], `pieces of ${size}`);
  }
});

test('RequestReader does not tell of a request whose body has not come', () => {
  const paths: string[] = [];
  const reader = new RequestReader((path) => paths.push(path));
  reader.read(Buffer.from('PUT /b HTTP/1.1\r\ncontent-length: 5\r\n\r\n1234'));
  assert.deepEqual(paths, []);
});
