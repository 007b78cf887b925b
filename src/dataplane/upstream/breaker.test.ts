// What goes beyond a destination's limits: it waits in order, or is refused and counted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveTcp } from '../../../test/support/servers.ts';
import { CircuitBreaker, type Overflow } from './breaker.ts';
import { acquire, clusterOf, createRig, endpointOf, openTcp } from './cluster-rig.ts';

function rigOf() {
  const told: Overflow[] = [];
  const timers: (() => void)[] = [];
  const clock = {
    now: () => 0,
    setTimeout: (run: () => void) => {
      timers.push(run);
      return { [Symbol.dispose]: () => timers.splice(timers.indexOf(run), 1) };
    },
  };
  return { breaker: new CircuitBreaker(clock, (limit) => told.push(limit)), told, timers };
}

test('requests beyond the limit are refused until one has ended', () => {
  const { breaker, told } = rigOf();
  assert.equal(breaker.limitsRequests, false);
  breaker.setLimits({ maxRequests: 2 });
  assert.deepEqual(
    [1, 2, 3].map(() => breaker.tryRequest()),
    [true, true, false],
  );
  breaker.endRequest();
  assert.equal(breaker.tryRequest(), true);
  assert.deepEqual(told, ['rq']);
});

test('who waits is served in order, and refused when too many do or it takes too long', () => {
  const { breaker, told, timers } = rigOf();
  breaker.setLimits({ maxConnections: 1, maxPendingRequests: 3 });
  const served: string[] = [];
  const wait = (name: string): Disposable | undefined =>
    breaker.wait(
      () => served.push(name),
      () => served.push(`${name} late`),
      1_000,
    );
  wait('a');
  const second = wait('b');
  wait('c');
  assert.equal(wait('d'), undefined);
  assert.deepEqual(told, ['pending']);
  second?.[Symbol.dispose]();
  breaker.onFree();
  assert.deepEqual(served, ['a']);
  for (const late of timers.slice()) late();
  assert.deepEqual(served, ['a', 'c late']);
  breaker.onFree();
  assert.deepEqual(served, ['a', 'c late']);
});

test('a request waits for a connection where no more may be opened, and gets the one that comes free', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf({ circuitBreakers: { maxConnections: 1 } }), [
    endpointOf(server.port),
  ]);
  const first = await acquire(rig);
  let isServed = false;
  const waiting = acquire(rig).then((connection) => {
    isServed = true;
    return connection;
  });
  await new Promise(setImmediate);
  assert.equal(isServed, false);
  first.release();
  const second = await waiting;
  assert.equal(second.socket, first.socket);
  assert.equal(server.sockets.length, 1);
  second.discard();
});

test('a connection that ends makes room for the request that waits', async () => {
  await using server = await serveTcp();
  using rig = createRig(clusterOf({ circuitBreakers: { maxConnections: 1 } }), [
    endpointOf(server.port),
  ]);
  const first = await acquire(rig);
  const waiting = acquire(rig);
  first.discard();
  const second = await waiting;
  assert.notEqual(second.socket, first.socket);
  second.discard();
});

test('a tunnel beyond the limit of connections is refused, but each endpoint may always have one', async () => {
  await using one = await serveTcp();
  await using two = await serveTcp();
  using rig = createRig(clusterOf({ circuitBreakers: { maxConnections: 1 } }), [
    endpointOf(one.port),
    endpointOf(two.port),
  ]);
  const tunnels = [await openTcp(rig), await openTcp(rig)];
  await assert.rejects(openTcp(rig), { message: 'upstream-overflow' });
  assert.deepEqual(rig.overflows, ['cx']);
  for (const tunnel of tunnels) {
    tunnel.socket.destroy();
    tunnel.done();
  }
});
