// The first bytes of a connection: what is recognised, what is refused, what waits.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import fc from 'fast-check';
import { parseClientHello } from './client-hello.ts';
import { detect } from './detect.ts';

/** The bytes a real TLS client sends first. */
async function realHello(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as net.AddressInfo;
  const accepted = once(server, 'connection');
  const client = tls.connect({ host: '127.0.0.1', port: address.port, ...options });
  client.on('error', () => client.destroy());
  const [socket] = (await accepted) as [net.Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}

const variants: readonly (readonly [string, tls.ConnectionOptions])[] = [
  ['TLS 1.3 only (CVE-2020-8660)', { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' }],
  ['TLS 1.2 only', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }],
  ['both versions', {}],
];

for (const [name, options] of variants) {
  test(`detect() recognises a client that speaks ${name}`, async () => {
    const bytes = await realHello({
      ...options,
      servername: 'Shop.Example',
      ALPNProtocols: ['weft-h2', 'h2'],
    });
    assert.deepEqual(detect(bytes), {
      kind: 'tls',
      hello: { serverName: 'shop.example', alpn: ['weft-h2', 'h2'] },
    });
    for (let length = 1; length < bytes.length; length++) {
      assert.deepEqual(detect(bytes.subarray(0, length)), { kind: 'more' }, `${length} bytes`);
    }
  });
}

test('detect() puts a hello together that is split over many records', async () => {
  const bytes = await realHello({ servername: 'a.b' });
  const body = bytes.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < body.length; at += 7) {
    const part = body.subarray(at, at + 7);
    records.push(Buffer.from([22, 3, 1, 0, part.length]), part);
  }
  assert.equal(detect(Buffer.concat(records)).kind, 'tls');
});

const lines: readonly (readonly [string, string])[] = [
  ['GET / HTTP/1.1\r\n', 'http1'],
  ['OPTIONS * HTTP/1.1\r\n', 'http1'],
  ['CONNECT a:1 HTTP/1.1\r\n', 'http1'],
  ['M-SEARCH / HTTP/1.1\r\n', 'http1'],
  ['GET / HTTP', 'more'],
  ['GET', 'more'],
  ['GET / FTP/1.1\r\n', 'other'],
  ['PING\r\n', 'other'],
  ['get / HTTP/1.1\r\n', 'other'],
  ['\r\n', 'other'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'h2c'],
  ['PRI * HTTP/2.0\r\n', 'more'],
  ['\x16\x03\x01\x00\x00', 'malformed'],
  ['\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00', 'malformed'],
  ['\x16\x09', 'other'],
];
for (const [text, kind] of lines) {
  test(`detect() says ${kind} of ${JSON.stringify(text)}`, () => {
    assert.equal(detect(Buffer.from(text, 'latin1')).kind, kind);
  });
}

test('detect() stops waiting for a request line that never ends', () => {
  assert.equal(detect(Buffer.from(`GET /${'a'.repeat(9000)}`)).kind, 'http1');
});

test('parseClientHello() and detect() never throw, whatever the bytes', async () => {
  const hello = await realHello({ servername: 'shop.example', ALPNProtocols: ['h2'] });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 8 }),
      fc.nat(hello.length),
      (edits, length) => {
        const bytes = Buffer.from(hello.subarray(0, length));
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
        parseClientHello(bytes);
        detect(bytes);
      },
    ),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      detect(Buffer.from(bytes));
    }),
  );
});
