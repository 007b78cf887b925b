// Slow readers and fast writers: what the proxy holds in memory stays bounded, and nothing is lost.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { test } from 'node:test';
import { createBackend, createRig, RawClient } from './http1-rig.ts';

/** What a socket queues beyond the kernel's buffers: a few chunks of 64 KiB. */
const MAX_QUEUED_BYTES = 1_000_000;
/** Several times what the kernel keeps for all the sockets on the way. */
const BODY_BYTES = 64 * 1024 * 1024;
const PIECE = Buffer.alloc(65_536, 'x');

async function writeBody(socket: Socket): Promise<void> {
  for (let sent = 0; sent < BODY_BYTES; sent += PIECE.length) {
    if (!socket.write(PIECE)) await once(socket, 'drain');
  }
}

const queuedBytes = (socket: Socket | undefined): number =>
  socket === undefined ? 0 : socket.writableLength + socket.readableLength;

test('back-pressure: 64 MiB for a slow reader are not gathered in memory', async () => {
  await using backend = await createBackend((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
      void writeBody(socket).catch(() => socket.destroy());
    });
  });
  await using rig = await createRig(backend.port);
  const client = net.connect(rig.port, '127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  let received = 0;
  let most = 0;
  let stops = 0;
  const done = Promise.withResolvers<undefined>();
  client.on('data', (chunk: Buffer) => {
    received += chunk.length;
    for (const socket of [rig.sockets[0], ...rig.upstream.all])
      most = Math.max(most, queuedBytes(socket));
    if (received >= BODY_BYTES) done.resolve(undefined);
    else if (received > stops * 8 * 1024 * 1024) {
      stops++;
      client.pause();
      setTimeout(() => client.resume(), 20);
    }
  });
  await done.promise;
  client.destroy();
  assert.ok(most < MAX_QUEUED_BYTES, `queued ${most} bytes`);
  await rig.completed(1);
  assert.equal(rig.completions[0]?.bytesSent, BODY_BYTES);
});

test('back-pressure: 64 MiB for an upstream that reads slowly are not gathered in memory', async () => {
  let received = 0;
  let most = 0;
  await using backend = await createBackend((socket) => {
    let stops = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
      for (const one of [rig.sockets[0], ...rig.upstream.all])
        most = Math.max(most, queuedBytes(one));
      if (received >= BODY_BYTES) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else if (received > stops * 8 * 1024 * 1024) {
        stops++;
        socket.pause();
        setTimeout(() => socket.resume(), 20);
      }
    });
  });
  await using rig = await createRig(backend.port);
  using client = new RawClient(rig.port);
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
  await writeBody(client.socket);
  await client.until((text) => text.endsWith('ok'));
  assert.ok(most < MAX_QUEUED_BYTES, `queued ${most} bytes`);
  assert.equal(rig.completions[0]?.bytesReceived, BODY_BYTES);
  assert.equal(rig.upstream.released, 1);
});

test('pipelined refusals to a client that does not read stop the reading of requests (CVE-2020-8661)', async () => {
  await using rig = await createRig(1, {
    act: () => ({
      kind: 'respond',
      status: 403,
      body: 'x'.repeat(1_000),
      reasonCode: 'denied',
      headers: [],
    }),
  });
  const client = net.connect(rig.port, '127.0.0.1');
  client.pause();
  const requests = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2_000);
  let isBlocked = false;
  for (let round = 0; round < 500 && !isBlocked; round++) {
    if (client.write(requests)) continue;
    isBlocked = await Promise.race([
      once(client, 'drain').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300)),
    ]);
  }
  assert.ok(isBlocked, 'the proxy stops reading');
  const queued = queuedBytes(rig.sockets[0]);
  assert.ok(queued < MAX_QUEUED_BYTES, `queued ${queued} bytes`);
  client.destroy();
});
