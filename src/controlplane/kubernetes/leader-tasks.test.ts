// What the leader does begins and ends with leading, once for each term, and one that fails keeps none of the others from it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { type LeaderTask, LeaderTasks } from './leader-tasks.ts';

function createElection(isLeader: boolean) {
  const listeners = new Set<(isLeader: boolean) => void>();
  return {
    isLeader,
    onChange(listener: (isLeader: boolean) => void) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
    turn(to: boolean) {
      for (const listener of listeners) listener(to);
    },
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function createRig(isLeader: boolean, ...more: readonly LeaderTask[]) {
  const told: string[] = [];
  const task: LeaderTask = () => {
    told.push('begun');
    return { [Symbol.dispose]: () => void told.push('ended') };
  };
  const election = createElection(isLeader);
  const log = pino({ level: 'silent' });
  const tasks = new LeaderTasks({ election, tasks: [...more, task], log });
  return { told, election, tasks };
}

test('tasks run while it leads, and at no other time', async () => {
  const { told, election, tasks } = createRig(false);
  await settled();
  assert.deepEqual(told, []);
  election.turn(true);
  await settled();
  assert.deepEqual(told, ['begun']);
  election.turn(false);
  await settled();
  assert.deepEqual(told, ['begun', 'ended']);
  election.turn(true);
  await tasks[Symbol.asyncDispose]();
  assert.deepEqual(told, ['begun', 'ended', 'begun', 'ended']);
  election.turn(true);
  await settled();
  assert.equal(told.length, 4, 'after its end nothing begins');
});

test('one that leads already begins at once, and a task that throws keeps none of the others from it', async () => {
  const { told, tasks } = createRig(true, () => {
    throw new Error('no');
  });
  await settled();
  assert.deepEqual(told, ['begun']);
  await tasks[Symbol.asyncDispose]();
  assert.deepEqual(told, ['begun', 'ended']);
});
