// The load of new connections must be what it says: full or resumed, from this server and no other.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { credentialOf, type Identities, issueIdentities } from '../bench/identities.ts';
import { CALLED, CALLER } from '../bench/policies.ts';
import { GO_DRIVERS } from '../bench/load/go-load.ts';
import type { LoadJob, LoadResult } from '../bench/load/job.ts';

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

const hasGo = (): boolean => {
  try {
    execFileSync('go', ['version']);
    return true;
  } catch {
    return false;
  }
};

/** Counts handshakes that were resumed. */
async function startServer(
  stack: AsyncDisposableStack,
  { bundlePem: ca, ...identities }: Identities,
  secureOptions: number,
): Promise<{ readonly port: number; readonly resumed: () => number }> {
  const own = credentialOf({ bundlePem: ca, ...identities }, CALLED);
  let resumed = 0;
  const server = tls.createServer(
    {
      key: own.keyPem,
      cert: own.chainPem,
      ca,
      requestCert: true,
      minVersion: 'TLSv1.3',
      secureOptions,
    },
    (socket) => {
      if (socket.isSessionReused()) resumed++;
      socket.on('error', () => socket.destroy());
      socket.once('data', () => socket.end(ANSWER));
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { port, resumed: () => resumed };
}

test('new connections are resumed when that is measured, full handshakes otherwise, and with nobody but the named server', {
  skip: !hasGo() && 'there is no Go',
}, async () => {
  await using stack = new AsyncDisposableStack();
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-connections-'));
  stack.defer(() => rm(stateDir, { recursive: true, force: true }));
  const accounts = [CALLER, CALLED];
  const identities = await issueIdentities({ stateDir, namespace: 'shop', accounts });
  const giving = await startServer(stack, identities, 0);
  const keeping = await startServer(stack, identities, constants.SSL_OP_NO_TICKET);
  const load = await GO_DRIVERS.find(({ name }) => name === 'connections')?.start();
  assert.ok(load?.ok);
  const { driver } = stack.use({
    driver: load.driver,
    [Symbol.asyncDispose]: () => load.driver[Symbol.asyncDispose](),
  });
  const { keyPem, chainPem } = credentialOf(identities, CALLER);
  const { bundlePem } = identities;
  const run = (
    port: number,
    more: LoadJob['more'] = {},
    serverId = credentialOf(identities, CALLED).spiffeId,
  ): Promise<LoadResult> =>
    driver.run({
      host: '127.0.0.1',
      port,
      path: '/100b',
      connections: 1,
      durationMs: 400,
      maxRequests: 1_000,
      newConnection: 'handshake',
      more,
      tls: { keyPem, chainPem, bundlePem, serverId },
    });

  const full = await run(giving.port);
  assert.deepEqual([full.failures, full.requests > 1, giving.resumed()], [0, true, 0]);
  const resumed = await run(giving.port, { resumed: 1 });
  assert.deepEqual([resumed.failures, giving.resumed()], [0, resumed.requests - 1]);
  const refused = await run(keeping.port, { resumed: 1 });
  assert.deepEqual([refused.requests, refused.failures], [1, 1]);
  assert.match(refused.firstFailure ?? '', /resumed: false/);
  const other = await run(giving.port, {}, 'spiffe://cluster.local/ns/shop/sa/other');
  assert.equal(other.requests, 0);
  assert.match(other.firstFailure ?? '', /the server is/);
});
