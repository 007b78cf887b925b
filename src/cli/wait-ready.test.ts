// Waiting for a sidecar ends with its readiness, or with the reason of the last moment.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { waitUntilReady } from './wait-ready.ts';

async function sidecarThatIsReadyAt(
  ask: number,
): Promise<AsyncDisposable & { readonly port: number; readonly asked: () => number }> {
  let asked = 0;
  const server = http.createServer((_request, response) => {
    const isReady = ++asked >= ask;
    response.writeHead(isReady ? 200 : 503).end(isReady ? 'LIVE\n' : 'NOT READY: enrolment\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test('waitUntilReady() asks until the sidecar is ready', async () => {
  await using sidecar = await sidecarThatIsReadyAt(3);
  const target = { host: '127.0.0.1', port: sidecar.port };
  const answer = await waitUntilReady(target, { waitMs: 10_000 });
  assert.equal(answer.status, 200);
  assert.equal(sidecar.asked(), 3);
});

test('waitUntilReady() gives the reason when the time is over, and asks once when there is none', async () => {
  await using sidecar = await sidecarThatIsReadyAt(1_000_000);
  const target = { host: '127.0.0.1', port: sidecar.port };
  const answer = await waitUntilReady(target, { waitMs: 0 });
  assert.equal(answer.status, 503);
  assert.match(answer.body, /enrolment/);
  assert.equal(sidecar.asked(), 1);
});

test('waitUntilReady() throws where nobody answers until the time is over', async () => {
  let port: number;
  {
    await using sidecar = await sidecarThatIsReadyAt(1);
    ({ port } = sidecar);
  }
  await assert.rejects(waitUntilReady({ host: '127.0.0.1', port }, { waitMs: 0 }), /Cannot ask/);
});
