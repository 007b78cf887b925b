import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '@weft/model/clock';
import { drainEnvoy } from './drain.ts';
import { EnvoyAdmin } from './envoy-admin.ts';

async function createRig(figures: (asked: number) => Readonly<Record<string, number>>) {
  await using making = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-drain-'));
  making.defer(() => rm(folder, { recursive: true, force: true }));
  const posted: string[] = [];
  let count = 0;
  const server = http.createServer((request, response) => {
    if (request.method === 'POST') {
      posted.push(request.url ?? '');
      response.end('OK\n');
      return;
    }
    const lines = Object.entries(figures(count++)).map(([name, value]) => `${name}: ${value}\n`);
    response.end(lines.join(''));
  });
  const path = join(folder, 'admin.sock');
  server.listen(path);
  await once(server, 'listening');
  making.defer(() => void server.close());
  const owned = making.move();
  const drain = (limitMs: number, drainsOutbound = false): Promise<number> =>
    drainEnvoy({ admin: new EnvoyAdmin(path), limitMs, drainsOutbound, clock: systemClock });
  return { drain, posted, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const QUIET = {
  'http.inbound_8080.downstream_cx_active': 3,
  'http.inbound_8080.downstream_rq_active': 0,
  'http.outbound_80__x.downstream_cx_active': 1,
  'http.outbound_80__x.downstream_rq_active': 0,
  'listener.0.0.0.0_15006.downstream_cx_active': 3,
  'listener.10.0.0.1_80.downstream_cx_active': 1,
  'listener.admin.downstream_cx_active': 1,
};

test('clients are told to leave, and open connections of HTTP without a request are not waited for', async () => {
  await using rig = await createRig(() => QUIET);
  assert.equal(await rig.drain(60_000), 0);
  assert.deepEqual(rig.posted, [
    '/healthcheck/fail',
    '/drain_listeners?graceful&inboundonly&skip_exit',
  ]);
});

const BUSY: readonly (readonly [string, Readonly<Record<string, number>>])[] = [
  ['a request', { 'http.inbound_8080.downstream_rq_active': 1 }],
  ['a connection of TCP', { 'listener.0.0.0.0_15006.downstream_cx_active': 4 }],
];
for (const [what, figures] of BUSY) {
  test(`${what} is waited for, and counted at the limit`, async () => {
    await using rig = await createRig((asked) => ({ ...QUIET, ...(asked < 3 && figures) }));
    assert.equal(await rig.drain(60_000), 0);
    await using stuck = await createRig(() => ({ ...QUIET, ...figures }));
    assert.equal(await stuck.drain(120), 1);
  });
}

test('calls that the workload makes are waited for where that is asked', async () => {
  const busy = { ...QUIET, 'listener.10.0.0.1_80.downstream_cx_active': 2 };
  await using rig = await createRig(() => busy);
  assert.equal(await rig.drain(60_000), 0);
  assert.equal(await rig.drain(120, true), 1);
});

test('an Envoy that is gone has nothing in flight', async () => {
  const admin = new EnvoyAdmin('/nowhere/admin.sock');
  const options = { admin, limitMs: 60_000, drainsOutbound: true, clock: systemClock };
  assert.equal(await drainEnvoy(options), 0);
});
