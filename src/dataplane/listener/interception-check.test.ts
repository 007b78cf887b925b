// The proof of interception with a netfilter that is played: a server that takes calls, and says where they were going.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { pino } from 'pino';
import type { Family } from './capture.ts';
import { type Direction, InterceptionCheck } from './interception-check.ts';

const PERIOD_MS = 30_000;
const DEADLINE_MS = 5_000;
const OUTBOUND_LOST =
  "outbound interception not proven: 192.0.2.1:15999 did not come back through port 15001 (no answer); is weft-capture's iptables chain WEFT_OUTPUT in place?";

type Rules = Record<Direction, boolean>;

/** Proofs whose rule is not there end at a server that is not the sidecar's. */
async function createRig(families: readonly Family[] = [4]) {
  const rules: Rules = { inbound: true, outbound: true };
  const going = new Map<Socket, { readonly address: string; readonly port: number }>();
  const changed = new EventTarget();
  const sockets: Socket[] = [];
  const sidecar = net.createServer((socket) => {
    const isIt = ([call]: readonly [Socket, unknown]): boolean =>
      call.localPort === socket.remotePort;
    const destination = [...going].find(isIt)?.[1];
    assert.ok(destination !== undefined);
    const direction = destination.port === 15_999 ? 'outbound' : 'inbound';
    assert.ok(check.arrived(direction, socket, destination));
  });
  const elsewhere = net.createServer((socket) => void sockets.push(socket));
  for (const server of [sidecar, elsewhere]) await once(server.listen(0, '127.0.0.1'), 'listening');
  const portOf = (server: net.Server): number => {
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    return address.port;
  };
  const clock = createTurnableClock();
  const rounds = { count: 0, calls: 0 };
  const check = new InterceptionCheck({
    families: () => families,
    ports: { inbound: 15_006, outbound: 15_001 },
    periodMs: PERIOD_MS,
    clock,
    log: pino({ enabled: false }),
    connect(address, port) {
      const direction = port === 15_999 ? 'outbound' : 'inbound';
      const server = rules[direction] ? sidecar : elsewhere;
      const call = net.connect({ host: '127.0.0.1', port: portOf(server) });
      going.set(call, { address, port });
      call.on('close', () => going.delete(call));
      rounds.calls++;
      return call;
    },
    onResult() {
      rounds.count++;
      changed.dispatchEvent(new Event('round'));
    },
  });
  return {
    check,
    rules,
    clock,
    rounds,
    async round(count: number) {
      const signal = AbortSignal.timeout(DEADLINE_MS);
      while (rounds.count < count) await once(changed, 'round', { signal });
    },
    /** Waits until calls that nobody brings back have arrived there, and lets their time pass. */
    async lose(calls: number) {
      const signal = AbortSignal.timeout(DEADLINE_MS);
      while (sockets.length < calls) await once(elsewhere, 'connection', { signal });
      clock.turn(1_000);
    },
    async [Symbol.asyncDispose]() {
      check[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
      for (const server of [sidecar, elsewhere]) {
        server.close();
        await once(server, 'close');
      }
    },
  };
}

test('nothing is proven before the first round, everything after it where the rules are in place', async () => {
  await using rig = await createRig();
  assert.deepEqual(rig.check.reasons, [
    'outbound interception not proven yet',
    'inbound interception not proven yet',
  ]);
  rig.check.start();
  await rig.round(1);
  assert.deepEqual(rig.check.reasons, []);
  assert.ok(rig.check.isProven('inbound') && rig.check.isProven('outbound'));
});

test('a rule that is not there at the start is named at once, and the proof is repeated every second', async () => {
  await using rig = await createRig();
  rig.rules.outbound = false;
  rig.check.start();
  await rig.lose(1);
  await rig.round(1);
  assert.deepEqual(rig.check.reasons, [OUTBOUND_LOST]);
  assert.ok(rig.check.isProven('inbound') && !rig.check.isProven('outbound'));
  rig.rules.outbound = true;
  rig.clock.turn(1_000);
  await rig.round(2);
  assert.deepEqual(rig.check.reasons, []);
});

test('a rule that goes later is noticed in the second round that misses it, and its return in the next', async () => {
  await using rig = await createRig();
  rig.check.start();
  await rig.round(1);
  rig.rules.outbound = false;
  rig.clock.turn(PERIOD_MS - 1);
  assert.equal(rig.rounds.calls, 2, 'it is not time yet');
  rig.clock.turn(1);
  await rig.lose(1);
  await rig.round(2);
  assert.deepEqual(rig.check.reasons, [], 'one lost call is no lost rule');
  rig.clock.turn(1_000);
  await rig.lose(2);
  await rig.round(3);
  assert.deepEqual(rig.check.reasons, [OUTBOUND_LOST]);
  rig.rules.outbound = true;
  rig.clock.turn(1_000);
  await rig.round(4);
  assert.deepEqual(rig.check.reasons, []);
});

test('each address family in use is proven by itself', async () => {
  await using rig = await createRig([4, 6]);
  rig.rules.inbound = false;
  rig.check.start();
  await rig.lose(2);
  await rig.round(1);
  assert.equal(rig.rounds.calls, 4);
  assert.deepEqual(
    rig.check.reasons.map((reason) => reason.includes('[2001:db8::1]:15998')),
    [false, true],
  );
  assert.match(rig.check.reasons[1] ?? '', /ip6tables chain WEFT_INBOUND/);
});

test("somebody else's call to the address of the proofs is ended, and proves nothing", async () => {
  await using rig = await createRig();
  const server = net.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const [[socket]] = await Promise.all([
    once(server, 'connection'),
    once(net.connect(address.port, '127.0.0.1'), 'connect'),
  ]);
  assert.ok(rig.check.arrived('outbound', socket, { address: '192.0.2.1', port: 15_999 }));
  assert.ok(socket.destroyed);
  assert.equal(rig.check.reasons.length, 2);
  assert.ok(!rig.check.arrived('outbound', socket, { address: '192.0.2.1', port: 80 }));
  assert.ok(!rig.check.arrived('outbound', socket, { address: '10.0.0.1', port: 15_999 }));
  assert.ok(!rig.check.arrived('inbound', socket, { address: '192.0.2.1', port: 15_999 }));
  server.close();
});
