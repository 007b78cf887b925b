// Judging again, cutting and draining.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenConnections, type OpenConnection } from './open-connections.ts';

interface Fake extends OpenConnection {
  readonly events: string[];
}

function fake(verdict: () => string | undefined, onDrain?: () => void): Fake {
  const events: string[] = [];
  return {
    events,
    rejudge: verdict,
    cut: (reason) => void events.push(`cut ${reason}`),
    drain: () => {
      events.push('drain');
      onDrain?.();
    },
  };
}

test('rejudgeAll() cuts what is not allowed any more and nothing else', () => {
  const cuts: string[] = [];
  const open = new OpenConnections({ onCut: (reason) => cuts.push(reason) });
  const kept = fake(() => undefined);
  const denied = fake(() => 'policy');
  open.add(kept);
  open.add(denied);
  open.rejudgeAll();
  assert.deepEqual([kept.events, denied.events, cuts], [[], ['cut policy'], ['policy']]);
});

test('rejudgeAll() judges thousands in batches and skips those that closed meanwhile', async () => {
  const open = new OpenConnections({ onCut: () => undefined });
  let judged = 0;
  const all = Array.from({ length: 1000 }, () =>
    fake(() => {
      judged++;
      return undefined;
    }),
  );
  for (const connection of all) open.add(connection);
  open.rejudgeAll();
  assert.equal(judged, 256);
  const last = all.at(-1);
  assert.ok(last);
  open.delete(last);
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(judged, 999);
});

test('drain() waits for what is in flight and cuts what stays', async () => {
  const open = new OpenConnections({ onCut: () => undefined });
  const quick: Fake = fake(
    () => undefined,
    () => setImmediate(() => open.delete(quick)),
  );
  const stuck = fake(() => undefined);
  open.add(quick);
  open.add(stuck);
  assert.equal(await open.drain(20), 1);
  assert.deepEqual(quick.events, ['drain']);
  assert.deepEqual(stuck.events, ['drain', 'cut drain-timeout']);
});

test('a connection that opens during the drain is told at once', async () => {
  const open = new OpenConnections({ onCut: () => undefined });
  assert.equal(await open.drain(1), 0);
  const late = fake(() => undefined);
  open.add(late);
  assert.deepEqual(late.events, ['drain']);
});

test('drain() serves late callers until nothing is open, then refuses them, and waits for the last', async () => {
  const open = new OpenConnections({ onCut: () => undefined });
  const events: string[] = [];
  const late: Fake = fake(
    () => undefined,
    () => setImmediate(() => open.delete(late)),
  );
  const first: Fake = fake(
    () => undefined,
    () => setImmediate(() => open.delete(first)),
  );
  open.add(first);
  const cut = await open.drain(10_000, () => {
    events.push('refusing');
    open.add(late);
  });
  assert.deepEqual([cut, events, late.events, open.size], [0, ['refusing'], ['drain'], 0]);
});

test('drain() refuses callers after half of its time, though they keep coming', async () => {
  const open = new OpenConnections({ onCut: () => undefined });
  const startedAt = performance.now();
  open.add(fake(() => undefined));
  let refusedAt = 0;
  const cut = await open.drain(60, () => {
    refusedAt = performance.now() - startedAt;
  });
  assert.equal(cut, 1);
  assert.ok(refusedAt >= 29 && refusedAt < performance.now() - startedAt - 25, String(refusedAt));
});
