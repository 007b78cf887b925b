// The edges of HTTP/1 exchanges: heads in pieces, TLS, last answers to slow readers, bodies nobody wants, the end.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { selfSigned } from '../../../test/support/mesh-pki.ts';
import { createBackend, createRig, RawClient, type RigOptions } from './http1-rig.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Calls `answer` with each request's head; bodies are not looked at. */
function onHeads(answer: (head: string, socket: Socket) => void) {
  return (socket: Socket): void => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      while (text.includes('\r\n\r\n')) {
        const end = text.indexOf('\r\n\r\n') + 4;
        const head = text.slice(0, end);
        text = text.slice(end);
        answer(head, socket);
      }
    });
  };
}

const always = (answer: string) => onHeads((_head, socket) => void socket.write(answer, 'latin1'));

const REFUSING: RigOptions = {
  act: () => ({ kind: 'respond', status: 403, body: 'no\n', reasonCode: 'denied', headers: [] }),
};

/** Writes `text` byte by byte, each in a packet of its own. */
async function trickle(socket: Socket, text: string): Promise<void> {
  for (const letter of text) {
    await new Promise<void>((resolve, reject) => {
      socket.write(letter, 'latin1', (error) => (error ? reject(error) : resolve()));
    });
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('requests and answers that come byte by byte are read as if at once', async () => {
  const answer =
    'HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nx-t: 1\r\n\r\n';
  let seen = '';
  await using backend = await createBackend((socket) => {
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString('latin1');
      if (seen.endsWith('0\r\nx-a: b\r\n\r\n')) void trickle(socket, answer);
    });
  });
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  const body = '2\r\nhi\r\n0\r\nx-a: b\r\n\r\n';
  await trickle(
    client.socket,
    `\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
  );
  await client.until((text) => text === answer);
  assert.equal(seen, `POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n${body}`);
  await rig.completed(1);
  assert.equal(rig.upstream.released, 1);
});

test('TLS: exchanges pass, and a broken answer does not look whole', async () => {
  let count = 0;
  await using backend = await createBackend(
    onHeads((_head, socket) => {
      if (count++ === 0) socket.write(OK);
      else socket.write('HTTP/1.1 200 OK\r\n\r\nhalf');
    }),
  );
  const credential = selfSigned({ uris: ['spiffe://mesh.test/ns/a/sa/b'] });
  await using rig = await createRig(backend.port, { credential });
  const client = tls.connect({ port: rig.port, host: '127.0.0.1', rejectUnauthorized: false });
  let text = '';
  const has = async (end: string): Promise<void> => {
    while (!text.endsWith(end)) await once(client, 'data');
  };
  client.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  client.write(GET);
  await has('ok');
  client.write(GET);
  await has('half\r\n');
  const failed = once(client, 'close');
  for (const socket of backend.sockets) socket.resetAndDestroy();
  await failed;
  await rig.completed(2);
  assert.equal(rig.completions[1]?.reasonCode, 'upstream-reset');
  assert.ok(text.endsWith('\r\n4\r\nhalf\r\n'), 'the last chunk never came');
});

test('a last answer reaches a slow reader whole', async () => {
  const size = 8 * 1024 * 1024;
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`;
  await using backend = await createBackend(always(head + 'x'.repeat(size)));
  await using rig = await createRig(backend.port);
  const client = net.connect(rig.port, '127.0.0.1');
  let received = 0;
  let stops = 0;
  client.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (stops++ > 8) return;
    client.pause();
    setTimeout(() => client.resume(), 15);
  });
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await once(client, 'end');
  assert.equal(received, size + head.length + 'connection: close\r\n'.length);
});

test('a refusal is read by a client that still sends its body', async () => {
  await using rig = await createRig(1, REFUSING);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n');
  for (let part = 0; part < 20; part++) client.write('x'.repeat(50_000));
  assert.match(await client.ended(), /^HTTP\/1\.1 403 .*connection: close\r\n\r\nno\n$/s);
});

test('a small body that is refused is read past, and the connection goes on', async () => {
  await using rig = await createRig(1, REFUSING);
  using client = new RawClient(rig.port);
  client.write('POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf');
  await client.until((text) => text.endsWith('no\n'));
  client.write(
    `&half!POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`,
  );
  await client.until((text) => text.split('403').length === 3);
  client.write(`0\r\n\r\n${GET}`);
  await client.until((text) => text.split('403').length === 4);
  assert.deepEqual(
    rig.requests.map((request) => request.path),
    ['/a', '/b', '/'],
  );
  assert.ok(!client.text.includes('connection: close'));
});

test('a chunked body without end that is refused ends the connection', async () => {
  await using rig = await createRig(1, REFUSING);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
  for (let part = 0; part < 40; part++) client.write(`1000\r\n${'x'.repeat(4_096)}\r\n`);
  assert.ok((await client.ended()).endsWith('no\n'));
  assert.equal(rig.requests.length, 1);
});

test('drain() in the midst of an answer lets it finish, then closes', async () => {
  const asked = Promise.withResolvers<Socket>();
  await using backend = await createBackend(onHeads((_head, socket) => asked.resolve(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  const socket = await asked.promise;
  socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf');
  await client.until((text) => text.endsWith('half'));
  rig.connections[0]?.drain();
  socket.write('half');
  assert.ok((await client.ended()).endsWith('halfhalf'));
  assert.equal(rig.completions[0]?.reasonCode, '');
});

test('a client that goes while its answer is awaited frees the upstream, and is told of once', async () => {
  const asked = Promise.withResolvers<Socket>();
  await using backend = await createBackend(onHeads((_head, socket) => asked.resolve(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  const socket = await asked.promise;
  const closed = once(socket, 'end');
  client.socket.end();
  await closed;
  await client.ended();
  assert.deepEqual(
    rig.completions.map(({ status, reasonCode }) => [status, reasonCode]),
    [[0, 'client-closed']],
  );
  assert.equal(rig.closes, 1);
});

test('absolute form: what is judged and sent on is the origin form', async () => {
  let asked = '';
  await using backend = await createBackend(
    onHeads((head, socket) => {
      asked = head;
      socket.write(OK);
    }),
  );
  await using rig = await createRig(backend.port, { options: { allowAbsoluteForm: true } });
  using client = new RawClient(rig.port);
  client.write('GET http://shop:8080/a?b HTTP/1.1\r\nHost: shop:8080\r\n\r\n');
  await client.until((text) => text.endsWith('ok'));
  assert.deepEqual(rig.requests, [{ method: 'GET', path: '/a?b', authority: 'shop:8080' }]);
  assert.equal(asked, 'GET /a?b HTTP/1.1\r\nHost: shop:8080\r\n\r\n');
});

test('a 204 with a length does not make the client wait for a body', async () => {
  await using backend = await createBackend(
    always('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  assert.equal(
    await client.until((text) => text.endsWith('\r\n\r\n')),
    'HTTP/1.1 204 No Content\r\n\r\n',
  );
});
