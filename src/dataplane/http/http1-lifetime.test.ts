// How HTTP/1 connections end: timeouts, drain, changed rules, old versions, upgrades, readers that do not read.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { createBackend, createRig, RawClient, type Rig } from './http1-rig.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Calls `answer` with each request's head. */
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

test('slow loris: a head that does not come whole in time is answered 408', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port, { options: { headTimeoutMs: 60 } });
  using client = new RawClient(rig.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n');
  assert.match(await client.ended(), /^HTTP\/1\.1 408 .*connection: close\r\n\r\nhead-timeout\n$/s);
  assert.deepEqual(
    rig.completions.map(({ head, status, reasonCode }) => [head, status, reasonCode]),
    [[undefined, 408, 'head-timeout']],
  );
});

test('slow loris: bytes that trickle in do not move the deadline', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port, { options: { headTimeoutMs: 100 } });
  using client = new RawClient(rig.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n');
  const trickle = setInterval(() => client.write('x: y\r\n'), 20);
  try {
    assert.match(await client.ended(), /^HTTP\/1\.1 408 /);
  } finally {
    clearInterval(trickle);
  }
});

test('an idle connection is closed, before and after requests', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port, { options: { idleTimeoutMs: 60 } });
  using silent = new RawClient(rig.port);
  assert.equal(await silent.ended(), '');
  using client = new RawClient(rig.port);
  client.write(GET);
  assert.equal(await client.ended(), OK);
  assert.equal(rig.completions.length, 1);
});

test('an upstream that does not answer in time is a 504 and is blamed', async () => {
  await using backend = await createBackend(() => undefined);
  await using rig = await createRig(backend.port, { options: { responseTimeoutMs: 60 } });
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until(
    (text) => text.includes('504 Gateway Timeout') && text.endsWith('upstream-timeout\n'),
  );
  assert.deepEqual(rig.upstream.reports, [0]);
  assert.equal(rig.completions[0]?.reasonCode, 'upstream-timeout');
});

test('a body that stalls is cut after the idle timeout', async () => {
  await using backend = await createBackend((socket) => void socket.resume());
  await using rig = await createRig(backend.port, { options: { idleTimeoutMs: 60 } });
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf');
  await client.ended();
  await rig.completed(1);
  assert.equal(rig.completions[0]?.reasonCode, 'stream-idle-timeout');
});

test('drain() closes an idle connection after a notice', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  rig.connections[0]?.drain();
  assert.equal(await client.ended(), OK);
});

test('drain() answers the request that was on its way to an idle connection, and closes after it', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  rig.connections[0]?.drain();
  client.write(GET);
  assert.match(await client.ended(), /ok[^]*Connection: close[^]*ok$/i);
});

test('drain() lets the request under way finish, and says that it is the last', async () => {
  const asked = Promise.withResolvers<Socket>();
  await using backend = await createBackend(onHeads((_head, socket) => asked.resolve(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  const socket = await asked.promise;
  rig.connections[0]?.drain();
  socket.write(OK);
  const answer = await client.ended();
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok$/);
  assert.equal(rig.upstream.released, 1);
});

test('Connection: close is kept, and what follows it is not read', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n${GET}`);
  assert.match(await client.ended(), /connection: close\r\n\r\nok$/);
  assert.equal(rig.completions.length, 1);
  client.socket.end();
  await once(client.socket, 'close');
});

async function underWay(
  rig: Rig,
  client: RawClient,
  answer: string,
  socket: Socket,
): Promise<void> {
  socket.write(answer);
  await client.until((text) => text.endsWith('half'));
  assert.equal(rig.completions.length, 0);
}

test('rejudge(): changed rules refuse a request that is not answered yet', async () => {
  const asked = Promise.withResolvers<Socket>();
  await using backend = await createBackend(onHeads((_head, socket) => asked.resolve(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await asked.promise;
  rig.connections[0]?.rejudge();
  assert.equal(rig.completions.length, 0);
  rig.allow = () => false;
  rig.connections[0]?.rejudge();
  await client.until((text) => text.includes('403 Forbidden') && text.endsWith('policy-changed\n'));
  assert.equal(rig.completions[0]?.reasonCode, 'policy-changed');
  assert.equal(rig.upstream.discarded, 1);
});

test('rejudge(): changed rules cut an answer that has begun', async () => {
  const asked = Promise.withResolvers<Socket>();
  await using backend = await createBackend(onHeads((_head, socket) => asked.resolve(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await underWay(
    rig,
    client,
    'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf',
    await asked.promise,
  );
  rig.allow = () => false;
  rig.connections[0]?.rejudge();
  await client.ended();
  assert.deepEqual(
    rig.completions.map(({ status, reasonCode }) => [status, reasonCode]),
    [[200, 'policy-changed']],
  );
});

test('rejudge(): a judgement that comes later cuts its own request, and never the next', async () => {
  const heads: Socket[] = [];
  await using backend = await createBackend(onHeads((_head, socket) => void heads.push(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  const [first, second] = [Promise.withResolvers<boolean>(), Promise.withResolvers<boolean>()];
  const isAsked = async (count: number): Promise<void> => {
    while (heads.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  client.write(GET);
  await isAsked(1);
  rig.allow = () => first.promise;
  rig.connections[0]?.rejudge();
  heads[0]?.write(OK);
  await rig.completed(1);
  client.write(GET);
  await isAsked(2);
  first.resolve(false);
  await first.promise;
  rig.allow = () => second.promise;
  rig.connections[0]?.rejudge();
  assert.equal(rig.completions.length, 1, 'what was judged is over');
  second.resolve(false);
  await client.until((text) => text.endsWith('policy-changed\n'));
  assert.equal(rig.completions[1]?.reasonCode, 'policy-changed');
});

test('an answer that ends with its connection is put into chunks, and ours goes on', async () => {
  await using backend = await createBackend(
    onHeads((_head, socket) => void socket.end('HTTP/1.1 200 OK\r\nX: y\r\n\r\nall of it')),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  const answer =
    'HTTP/1.1 200 OK\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n';
  client.write(GET);
  await client.until((text) => text === answer);
  client.write(GET);
  await client.until((text) => text === answer + answer);
  assert.equal(rig.completions[0]?.reasonCode, '');
});

test('an answer that ends with its connection ends ours for an HTTP/1.0 client', async () => {
  await using backend = await createBackend(
    onHeads((_head, socket) => void socket.end('HTTP/1.1 200 OK\r\nX: y\r\n\r\nall of it')),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('GET / HTTP/1.0\r\n\r\n');
  assert.equal(
    await client.ended(),
    'HTTP/1.1 200 OK\r\nX: y\r\nconnection: close\r\n\r\nall of it',
  );
});

test('HTTP/1.0 servers are understood', async () => {
  await using backend = await createBackend(
    onHeads((_head, socket) => void socket.end('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok')),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  assert.equal(await client.until((text) => text.endsWith('ok')), OK);
  assert.equal(rig.upstream.released, 0);
});

test('HTTP/1.0 clients get no chunks, no interim answers, and a closed connection', async () => {
  let asked = '';
  await using backend = await createBackend(
    onHeads((head, socket) => {
      asked = head;
      socket.write(
        'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      socket.write('5\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n');
    }),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  assert.equal(await client.ended(), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello!');
  assert.equal(asked, 'GET / HTTP/1.1\r\nhost: \r\n\r\n');
  assert.equal(rig.upstream.released, 1);
});

const UPGRADE =
  'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n';
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n';

test('early data: no byte reaches the upstream before its 101 (CVE-2025-64763)', async () => {
  let seen = '';
  const asked = Promise.withResolvers<Socket>();
  const told = Promise.withResolvers<undefined>();
  await using backend = await createBackend((socket) => {
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString('latin1');
      if (seen.endsWith('\r\n\r\n')) asked.resolve(socket);
      if (seen.endsWith('frame')) told.resolve(undefined);
    });
  });
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(`${UPGRADE}early `);
  const socket = await asked.promise;
  assert.ok(!seen.includes('early'));
  assert.match(seen, /connection: upgrade\r\nupgrade: websocket\r\n\r\n$/);
  socket.write(`${SWITCH}first frame`);
  await client.until((text) => text.endsWith('first frame'));
  assert.match(
    client.text,
    /^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\nconnection: upgrade\r\n\r\n/,
  );
  client.write('frame');
  await told.promise;
  assert.ok(seen.endsWith('\r\n\r\nearly frame'));
  assert.equal(rig.completions.length, 0, 'the tunnel is the request');
  client.socket.end();
  await once(socket, 'end');
  socket.end('last');
  assert.ok((await client.ended()).endsWith('last'), 'half-close passes');
  await rig.completed(1);
  const { status, reasonCode, bytesReceived, bytesSent } = rig.completions[0] ?? {};
  assert.deepEqual([status, reasonCode, bytesReceived, bytesSent], [101, '', 11, 15]);
  assert.equal(rig.upstream.discarded, 1);
});

test('an upgrade that is refused leaves an ordinary connection', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(UPGRADE + GET);
  await client.until((text) => text === OK + OK);
  assert.equal(rig.requests.length, 2);
  assert.equal(rig.upstream.all.size, 1);
});

test('an upgrade to what is not listed is not asked for', async () => {
  let asked = '';
  await using backend = await createBackend(
    onHeads((head, socket) => {
      asked = head;
      socket.write(OK);
    }),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
  );
  await client.until((text) => text === OK);
  assert.equal(asked, GET);
});

test('an upgrade with a body is refused', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(UPGRADE.replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\nhello'));
  assert.match(await client.ended(), /^HTTP\/1\.1 400 .*upgrade-with-body\n$/s);
  assert.equal(rig.upstream.wants.length, 0);
});

test('rejudge() cuts a tunnel', async () => {
  await using backend = await createBackend(always(`${SWITCH}hello`));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(UPGRADE);
  await client.until((text) => text.endsWith('hello'));
  rig.allow = () => false;
  rig.connections[0]?.rejudge();
  await client.ended();
  await rig.completed(1);
  assert.equal(rig.completions[0]?.reasonCode, 'policy-changed');
});

test('garbage on the port is answered 400 at once, and nothing throws', async () => {
  await using backend = await createBackend(always(OK));
  await using rig = await createRig(backend.port);
  const garbage = [
    '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03',
    '\0\0\0\0',
    '\r\n\r\n\r\n',
    'GET\r\n\r\n',
    '*1\r\n$4\r\nPING\r\n\r\n',
  ];
  for (const text of garbage) {
    using client = new RawClient(rig.port);
    client.write(text);
    assert.match(await client.ended(), /^HTTP\/1\.1 400 Bad Request\r\n/, JSON.stringify(text));
  }
  assert.equal(rig.upstream.wants.length, 0);
  assert.ok(rig.completions.every((completion) => completion.head === undefined));
});

test('cut() ends the connection with the request on it', async () => {
  const asked = Promise.withResolvers<Socket>();
  await using backend = await createBackend(onHeads((_head, socket) => asked.resolve(socket)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  const socket = await asked.promise;
  const closed = once(socket, 'end');
  rig.connections[0]?.cut();
  await client.ended();
  await closed;
  assert.equal(rig.completions[0]?.reasonCode, 'cut');
});
