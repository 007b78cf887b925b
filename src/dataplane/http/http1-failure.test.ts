// What a client sees when its upstream, or the client itself, fails or misbehaves in the midst of an HTTP/1 exchange.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { test } from 'node:test';
import { createBackend, createRig, listen, RawClient } from './http1-rig.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers each request's head (there are no bodies) with what `answer` says. */
function answering(answer: (count: number, socket: Socket) => string | undefined) {
  let count = 0;
  return (socket: Socket): void => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      while (text.includes('\r\n\r\n')) {
        text = text.slice(text.indexOf('\r\n\r\n') + 4);
        const out = answer(count++, socket);
        if (out !== undefined) socket.write(out, 'latin1');
      }
    });
  };
}

const closedPort = async (): Promise<number> => {
  const server = net.createServer();
  const port = await listen(server);
  server.close();
  await once(server, 'close');
  return port;
};

const BROKEN: readonly (readonly [title: string, head: string])[] = [
  ['of known length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'],
  ['in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
  ['until close', 'HTTP/1.1 200 OK\r\n\r\nhalf'],
];

for (const [title, head] of BROKEN) {
  test(`truncation is seen: the upstream dies in the midst of a body ${title}`, async () => {
    await using backend = await createBackend(answering(() => head));
    await using rig = await createRig(backend.port);
    using client = new RawClient(rig.port);
    client.write(GET);
    await client.until((text) => text.includes('half'));
    for (const socket of backend.sockets) socket.resetAndDestroy();
    await client.ended();
    await rig.completed(1);
    assert.ok(!client.text.endsWith('0\r\n\r\n'));
    assert.equal(rig.completions[0]?.reasonCode, 'upstream-reset');
    assert.equal(rig.completions[0]?.status, 200);
    assert.deepEqual(rig.upstream.reports, [200, 0]);
  });
}

test('truncation is seen: an HTTP/1.0 client, whose answers end with the connection, is reset', async () => {
  await using backend = await createBackend(answering(() => 'HTTP/1.1 200 OK\r\n\r\nhalf'));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('GET / HTTP/1.0\r\n\r\n');
  await client.until((text) => text.endsWith('half'));
  for (const socket of backend.sockets) socket.resetAndDestroy();
  await client.ended();
  assert.equal(client.error, 'ECONNRESET');
});

test('that nothing was delivered is believed of sidecars alone: an application that says so is not asked twice', async () => {
  const said = 'HTTP/1.1 503 Gone\r\nConnection: weft-undelivered\r\nContent-Length: 4\r\n\r\ngone';
  await using backend = await createBackend(answering(() => said));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('gone'));
  await rig.completed(1);
  assert.equal(backend.sockets.size, 1);
  assert.equal(client.text.includes('weft-undelivered'), false);
  assert.deepEqual(rig.upstream.reports, [503]);
});

for (const tellsUndelivered of [false, true]) {
  const who = tellsUndelivered ? 'a sidecar is told' : 'nobody but a sidecar is told';
  test(`an upstream that cannot be reached: ${who} that nothing was delivered`, async () => {
    await using rig = await createRig(await closedPort(), { options: { tellsUndelivered } });
    using client = new RawClient(rig.port);
    client.write(GET);
    await client.until((text) => text.endsWith('upstream-connect-failed\n'));
    assert.equal(/\r\nconnection: weft-undelivered\r\n/.test(client.text), tellsUndelivered);
  });
}

test('an upstream that closes before it answers is a 503, and the connection goes on', async () => {
  await using backend = await createBackend(
    answering((count, socket) => {
      if (count > 0) return OK;
      socket.destroy();
      return undefined;
    }),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.includes('503') && text.endsWith('upstream-reset\n'));
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  assert.deepEqual(rig.upstream.reports, [0, 200]);
  assert.deepEqual(
    rig.completions.map(({ status, reasonCode }) => [status, reasonCode]),
    [
      [503, 'upstream-reset'],
      [200, ''],
    ],
  );
});

/** The second request on a pooled connection is met with its end. */
const closingOnSecond = answering((count, socket) => {
  if (count !== 1) return OK;
  socket.destroy();
  return undefined;
});

test('a stale pooled connection is tried again, once, on a fresh one', async () => {
  await using backend = await createBackend(
    answering((count, socket) => {
      if (count !== 1) return OK;
      socket.destroy();
      return undefined;
    }),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  client.take();
  client.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi');
  await client.until((text) => text.endsWith('ok'));
  assert.deepEqual(
    rig.upstream.wants.map((want) => want.mustBeFresh),
    [false, false, true],
  );
});

test('a stale connection is tried again for a body of which nothing was sent', async () => {
  const heads: string[] = [];
  await using backend = await createBackend((socket) => {
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      heads.push(text);
      if (heads.length === 2) socket.destroy();
      else if (text.startsWith('PUT')) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      else socket.write(OK);
    });
  });
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  client.take();
  const put = 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n';
  client.write(put);
  await client.until((text) => text.endsWith('100 Continue\r\n\r\n'));
  client.write('hi');
  await client.until((text) => text.endsWith('ok'));
  assert.deepEqual(heads, [GET, put, put, 'hi']);
});

test('a POST is not sent twice: a stale connection is a 503', async () => {
  await using backend = await createBackend(closingOnSecond);
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi');
  await client.until((text) => text.includes('503') && text.endsWith('upstream-reset\n'));
  assert.equal(rig.upstream.wants.length, 2);
});

test('a pooled connection that is already closed is passed over, for a POST as well', async () => {
  await using backend = await createBackend(answering(() => OK));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  client.take();
  for (const socket of rig.upstream.idle) socket.destroy();
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi');
  await client.until((text) => text.endsWith('ok'));
});

test('an endpoint that cannot be reached is passed over for another', async () => {
  await using backend = await createBackend(answering(() => OK));
  await using rig = await createRig(backend.port);
  const dead = await closedPort();
  rig.upstream.port = (attempt) => (attempt === 0 ? dead : backend.port);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi');
  await client.until((text) => text.endsWith('ok'));
  assert.deepEqual([...(rig.upstream.wants[1]?.tried ?? [])], [`127.0.0.1:${dead}`]);
  assert.equal(rig.completions[0]?.upstream, `127.0.0.1:${backend.port}`);
});

test('without a reachable endpoint the answer is 503, after as many retries as are allowed', async () => {
  await using rig = await createRig(await closedPort());
  const ports = [await closedPort(), await closedPort(), await closedPort()];
  rig.upstream.connectRetries = 2;
  rig.upstream.port = (attempt) => ports[attempt] ?? 0;
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.includes('503') && text.endsWith('upstream-connect-failed\n'));
  assert.equal(rig.upstream.wants.length, 3);
  assert.equal(rig.completions[0]?.reasonCode, 'upstream-connect-failed');
});

const MALFORMED: readonly (readonly [title: string, answer: string, reasonCode: string])[] = [
  ['garbage', 'SSH-2.0-OpenSSH\r\n\r\n', 'upstream-status-line-bad'],
  ['binary garbage', '\x15\x03\x01\0\x02\x02\x28', 'upstream-not-http'],
  ['HTTP/2', 'HTTP/2 200\r\n\r\n', 'upstream-status-line-bad'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n', 'upstream-status-line-bad'],
  ['status 000', 'HTTP/1.1 000 OK\r\n\r\n', 'upstream-status-line-bad'],
  [
    'two Content-Length',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'upstream-two-content-lengths',
  ],
  [
    'Content-Length with chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'upstream-content-length-and-transfer-encoding',
  ],
  [
    'an unknown coding',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
    'upstream-transfer-encoding-unknown',
  ],
  [
    'chunks in HTTP/1.0',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    'upstream-chunked-in-http10',
  ],
  ['a folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n', 'upstream-folded-line'],
  [
    'a bare CR (response splitting)',
    'HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n',
    'upstream-bare-cr',
  ],
  [
    'a 101 that nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    'upstream-unasked-upgrade',
  ],
  [
    'endless interim answers',
    'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100),
    'upstream-too-many-interim-answers',
  ],
  ['an endless head', `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(70_000)}`, 'upstream-head-too-large'],
];

for (const [title, answer, reasonCode] of MALFORMED) {
  test(`an upstream's answer is refused with 502: ${title}`, async () => {
    await using backend = await createBackend(answering(() => answer));
    await using rig = await createRig(backend.port);
    using client = new RawClient(rig.port);
    client.write(GET);
    await client.until(
      (text) => text.includes('HTTP/1.1 502 ') && text.endsWith(`${reasonCode}\n`),
    );
    assert.equal(rig.completions[0]?.reasonCode, reasonCode);
    assert.equal(rig.upstream.discarded, 1);
    assert.equal(rig.upstream.released, 0);
  });
}

test('a malformed chunk in an answer cuts the client', async () => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  await using backend = await createBackend(answering(() => `${head}2\r\nok\r\nzz\r\n`));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.ended();
  await rig.completed(1);
  assert.equal(rig.completions[0]?.reasonCode, 'upstream-chunk-size-bad');
});

test("response desync: bytes behind an answer are nobody else's answer", async () => {
  await using backend = await createBackend(
    answering((count) =>
      count === 0 ? `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil` : OK,
    ),
  );
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  client.write(GET);
  await client.until((text) => text.split('HTTP/1.1 200').length === 3);
  assert.ok(!client.text.includes('evil'));
  assert.equal(rig.upstream.discarded, 1);
  assert.equal(backend.sockets.size, 2);
});

test('an upstream that closes after its answer is not used again', async () => {
  const answer = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok';
  await using backend = await createBackend(answering(() => answer));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(GET + GET);
  const text = await client.until((all) => all.split('HTTP/1.1 200').length === 3);
  assert.ok(!text.toLowerCase().includes('connection'), "its close is not the client's");
  assert.equal(rig.upstream.released, 0);
  assert.equal(backend.sockets.size, 2);
});

test("an early answer passes while the request's body is still on its way", async () => {
  const answer = 'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno';
  await using backend = await createBackend(answering((count) => (count === 0 ? answer : OK)));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nfirst');
  await client.until((text) => text.endsWith('no'));
  assert.equal(rig.upstream.released, 0, 'half a request is left on it');
  client.take();
  client.write('x'.repeat(995) + GET);
  await client.until((text) => text.endsWith('ok'));
  assert.deepEqual(
    rig.completions.map((completion) => completion.status),
    [413, 200],
  );
});

test('an early answer to a body without end closes the connection', async () => {
  const answer = 'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno';
  await using backend = await createBackend(answering(() => answer));
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nfirst');
  await client.until((text) => text.endsWith('no'));
  client.write('x'.repeat(100_000));
  assert.ok((await client.ended()).endsWith('no'));
});

test('a client that dies in the midst of its body takes the upstream connection with it', async () => {
  const gone = Promise.withResolvers<undefined>();
  const begun = Promise.withResolvers<undefined>();
  await using backend = await createBackend((socket) => {
    socket.on('data', () => begun.resolve(undefined));
    socket.on('close', () => gone.resolve(undefined));
    socket.on('end', () => socket.end());
  });
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nfirst');
  await begun.promise;
  client.socket.resetAndDestroy();
  await gone.promise;
  await rig.completed(1);
  assert.equal(rig.completions[0]?.reasonCode, 'client-closed');
  assert.equal(rig.completions[0]?.status, 0);
  assert.equal(rig.upstream.released, 0);
});

test('a malformed chunk in a request is answered 400, and reaches no upstream when it comes at once', async () => {
  await using backend = await createBackend(answering(() => OK));
  await using rig = await createRig(backend.port);
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  using client = new RawClient(rig.port);
  client.write(`${head}5;\nxx\r\n`);
  assert.match(
    await client.ended(),
    /^HTTP\/1\.1 400 .*connection: close\r\n\r\nchunk-extension-bad\n$/s,
  );
  assert.equal(rig.upstream.wants.length, 0);
  assert.equal(rig.completions[0]?.reasonCode, 'chunk-extension-bad');
});

test('a malformed chunk later in a request is answered 400, and the upstream never sees it', async () => {
  let seen = '';
  const begun = Promise.withResolvers<undefined>();
  await using backend = await createBackend((socket) => {
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString('latin1');
      if (seen.includes('hello')) begun.resolve(undefined);
    });
  });
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
  await begun.promise;
  client.write('+5\r\nworld\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n');
  assert.match(await client.ended(), /400 .*chunk-size-bad\n$/s);
  assert.ok(!seen.includes('world') && !seen.includes('smuggled'));
});
