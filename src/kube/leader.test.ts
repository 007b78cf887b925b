import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createTurnableClock, type TurnableClock } from '@weft/ca/testing/turnable-clock';
import { type LeaderElection, LEADER_LEASE, startLeaderElection } from './leader.ts';
import { numberAt, textAt } from './object-fields.ts';
import { LEASES } from './resource.ts';
import { createMemoryKube, kubeFailure, type MemoryKube } from './testing/memory-kube.ts';

const namespace = 'weft-system';

interface Election {
  readonly clock: TurnableClock;
  readonly client: MemoryKube;
  readonly candidate: (identity: string, client?: MemoryKube) => LeaderElection;
  /** Turns the clock in small steps, and lets what is due finish. */
  readonly pass: (ms: number) => Promise<void>;
  /** Time goes by in which no timer has run yet. */
  readonly standStill: (ms: number) => void;
}

/** More than the calls of one try, each of which takes a turn or two. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await nextTurn();
}

function createElection(): Election {
  const clock = createTurnableClock();
  const client = createMemoryKube();
  let stoodStillMs = 0;
  return {
    clock,
    client,
    candidate: (identity, own = client) =>
      startLeaderElection({
        client: own,
        namespace,
        identity,
        clock,
        elapsedMs: () => clock.now() + stoodStillMs,
        random: () => 0,
      }),
    standStill: (ms) => {
      stoodStillMs += ms;
    },
    pass: async (ms) => {
      for (let left = ms; left > 0; left -= 500) {
        clock.turn(Math.min(left, 500));
        await settled();
      }
    },
  };
}

const holder = (client: MemoryKube): string | undefined =>
  textAt(client.peek(LEASES, LEADER_LEASE, namespace), 'spec', 'holderIdentity');

test('of candidates that begin at once exactly one leads, and the others know which', async () => {
  const { candidate, pass, client } = createElection();
  await using one = candidate('one');
  await using two = candidate('two');
  await using three = candidate('three');
  await pass(3_000);
  const all = [one, two, three];
  assert.equal(all.filter(({ isLeader }) => isLeader).length, 1);
  const leader = holder(client);
  assert.deepEqual(
    all.map((each) => each.leader),
    [leader, leader, leader],
  );
  const lease = client.peek(LEASES, LEADER_LEASE, namespace);
  assert.equal(numberAt(lease, 'spec', 'leaseDurationSeconds'), 15);
  assert.match(textAt(lease, 'spec', 'renewTime') ?? '', /^\d{4}-.*\.\d{6}Z$/);
});

test('a leader that renews stays, however long', async () => {
  const { candidate, pass, client } = createElection();
  await using one = candidate('one');
  await pass(500);
  await using two = candidate('two');
  await pass(60_000);
  assert.ok(one.isLeader && !two.isLeader);
  const lease = client.peek(LEASES, LEADER_LEASE, namespace);
  assert.equal(numberAt(lease, 'spec', 'leaseTransitions'), 0);
});

test('a leader that ends in order gives the lease back: the next leads at its next try', async () => {
  const { candidate, pass, client } = createElection();
  const one = candidate('one');
  await pass(500);
  await using two = candidate('two');
  const told: boolean[] = [];
  one.onChange((isLeader) => told.push(isLeader));
  await one[Symbol.asyncDispose]();
  assert.equal(one.isLeader, false);
  assert.deepEqual(told, [false]);
  await pass(2_500);
  assert.ok(two.isLeader);
  const lease = client.peek(LEASES, LEADER_LEASE, namespace);
  assert.equal(numberAt(lease, 'spec', 'leaseTransitions'), 1);
});

test('a leader that cannot renew stops leading before another begins', async () => {
  const { candidate, pass, clock, client } = createElection();
  let isCut = false;
  const behind: MemoryKube = {
    ...client,
    get: (...args) =>
      isCut ? Promise.resolve(kubeFailure(0, 'Unreachable')) : client.get(...args),
  };
  await using one = candidate('one', behind);
  await pass(500);
  await using two = candidate('two');
  await pass(500);
  assert.ok(one.isLeader);
  isCut = true;
  const lostAtMs: number[] = [];
  const wonAtMs: number[] = [];
  one.onChange((isLeader) => !isLeader && lostAtMs.push(clock.now()));
  two.onChange((isLeader) => isLeader && wonAtMs.push(clock.now()));
  for (let step = 0; step < 60; step++) {
    await pass(500);
    assert.ok(!(one.isLeader && two.isLeader), 'two lead at once');
  }
  assert.equal(lostAtMs.length, 1);
  assert.equal(wonAtMs.length, 1);
  assert.ok(wonAtMs[0]! - lostAtMs[0]! >= 2_000, `${wonAtMs[0]! - lostAtMs[0]!} ms between`);
  assert.match(one.failure ?? '', /Unreachable/);
  isCut = false;
  await pass(3_000);
  assert.equal(one.isLeader, false);
  assert.equal(one.leader, 'two');
  assert.equal(one.failure, undefined);
});

test('a leader whose process stood still knows at once that its time is over', async () => {
  const { candidate, pass, standStill } = createElection();
  await using one = candidate('one');
  await pass(500);
  assert.ok(one.isLeader);
  standStill(9_600);
  assert.equal(one.isLeader, false);
});

test('the clock of another replica is not trusted: only what we have seen change counts', async () => {
  const { candidate, pass, client } = createElection();
  const lease = (renewTime: string) =>
    client.put(LEASES, {
      metadata: { name: LEADER_LEASE, namespace },
      spec: { holderIdentity: 'other', leaseDurationSeconds: 15, renewTime },
    });
  lease('2001-01-01T00:00:00.000000Z');
  await using one = candidate('one');
  await pass(14_000);
  assert.equal(one.isLeader, false, 'an old time of the other is no end of its lease');
  lease('2001-01-01T00:00:10.000000Z');
  await pass(14_000);
  assert.equal(one.isLeader, false);
  await pass(4_000);
  assert.equal(one.isLeader, true);
});

test('a lease that was deleted, or is garbage, holds nobody up', async () => {
  const { candidate, pass, client } = createElection();
  client.put(LEASES, { metadata: { name: LEADER_LEASE, namespace }, spec: { holderIdentity: 7 } });
  await using one = candidate('one');
  await pass(500);
  assert.ok(one.isLeader);
  client.remove(LEASES, LEADER_LEASE, namespace);
  await pass(3_000);
  assert.ok(one.isLeader);
  assert.equal(holder(client), 'one');
});

test('the permission that is missing is said', async () => {
  const { candidate, pass, client } = createElection();
  client.answerWith(() => kubeFailure(403, 'Forbidden', 'Cannot get leases: needs verb "get"'));
  await using one = candidate('one');
  await pass(500);
  assert.equal(one.isLeader, false);
  assert.match(one.failure ?? '', /needs verb/);
});

test('a renewal that is taken too late does not make a leader', async () => {
  const { candidate, pass, client, clock } = createElection();
  const slow: MemoryKube = {
    ...client,
    async create(...args) {
      const answer = await client.create(...args);
      clock.turn(11_000);
      return answer;
    },
  };
  await using one = candidate('one', slow);
  await settled();
  assert.equal(one.isLeader, false);
  await pass(3_000);
  assert.equal(one.isLeader, true);
});

test('startLeaderElection() refuses times that would let two lead', () => {
  const client = createMemoryKube();
  const options = { client, namespace, identity: 'one' };
  assert.throws(() => startLeaderElection({ ...options, leaseMs: 5_000 }), RangeError);
  assert.throws(() => startLeaderElection({ ...options, retryMs: 10_000 }), RangeError);
});
