// What stands in the status of policies, and that a large mesh costs few writes of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AUTHORIZATION_POLICIES, resource } from '@weft/kube/resource';
import { kubeFailure } from '@weft/kube/testing/memory-kube';
import { conditionOf, createStatusRig, type World } from './testing/status-rig.ts';

test('a policy that every proxy enforces says so, with counts, generation and times', async () => {
  await using rig = createStatusRig();
  rig.world.enforcing = 3;
  await rig.pass(500);
  const time = { observedGeneration: 1, lastTransitionTime: '2026-01-01T00:00:00Z' };
  assert.deepEqual(rig.status(), {
    observedGeneration: 1,
    action: 'DENY',
    selected: 3,
    enforced: '3/3',
    conditions: [
      {
        type: 'Accepted',
        status: 'True',
        reason: 'Valid',
        message: 'it is in force as written',
        ...time,
      },
      {
        type: 'Enforced',
        status: 'True',
        reason: 'AllEnforced',
        message: '3 of 3 workloads enforce it',
        ...time,
      },
    ],
  });
  await rig.pass(20_000);
  assert.equal(rig.writes(), 1, 'nothing has changed since');
});

test('what is waited for is named, and the time of a condition stays while it does not turn', async () => {
  await using rig = createStatusRig();
  rig.world.enforcing = 1;
  await rig.pass(1_000);
  const first = conditionOf(rig.status(), 'Enforced');
  assert.equal(first['status'], 'False');
  assert.equal(first['reason'], 'Waiting');
  assert.match(String(first['message']), /^1 of 3 .* web-2\.shop \(not-acknowledged\)/);
  rig.world.enforcing = 2;
  rig.tell();
  await rig.pass(2_000);
  const second = conditionOf(rig.status(), 'Enforced');
  assert.match(String(second['message']), /^2 of 3/);
  assert.equal(second['lastTransitionTime'], first['lastTransitionTime']);
  rig.world.enforcing = 3;
  rig.tell();
  await rig.pass(2_000);
  const third = conditionOf(rig.status(), 'Enforced');
  assert.notEqual(third['lastTransitionTime'], first['lastTransitionTime']);
});

test('a new generation is not said to be enforced before the mesh is compiled from it (threat: false assurance)', async () => {
  await using rig = createStatusRig();
  rig.world.enforcing = 3;
  await rig.pass(500);
  rig.world.generation = 2;
  rig.world.isCompiled = false;
  rig.tell();
  await rig.pass(10_000);
  assert.equal(rig.status()?.['observedGeneration'], 1);
  rig.world.isCompiled = true;
  rig.world.enforcing = 0;
  rig.tell();
  await rig.pass(2_000);
  assert.equal(rig.status()?.['observedGeneration'], 2);
  assert.equal(conditionOf(rig.status(), 'Enforced')['status'], 'False');
});

test('one that cannot be read is not accepted, and not enforced whatever holds in its place', async () => {
  await using rig = createStatusRig();
  rig.world.isGood = false;
  rig.world.enforcing = 3;
  const object = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  const problem = { code: 'unknown-field', field: 'spec.x', message: 'unknown field "x"' };
  rig.world.problems = [{ severity: 'error', ...problem, object }];
  await rig.pass(500);
  const accepted = conditionOf(rig.status(), 'Accepted');
  assert.equal(accepted['status'], 'False');
  assert.match(String(accepted['message']), /spec\.x: unknown field "x"/);
  const enforced = conditionOf(rig.status(), 'Enforced');
  assert.deepEqual([enforced['status'], enforced['reason']], ['False', 'Invalid']);
});

test('one that a workload has nothing for is not said to be enforced, nor to be waited for', async () => {
  await using rig = createStatusRig();
  rig.world.enforcing = 1;
  rig.world.reason = 'unsupported';
  await rig.pass(2_000);
  const enforced = conditionOf(rig.status(), 'Enforced');
  assert.deepEqual([enforced['status'], enforced['reason']], ['False', 'Unsupported']);
  assert.equal(
    enforced['message'],
    '1 of 3 workloads enforce it; never, as they are, web-2.shop (unsupported); web-3.shop (unsupported)',
  );
  rig.world.enforcing = 3;
  rig.tell();
  await rig.pass(2_000);
  assert.equal(conditionOf(rig.status(), 'Enforced')['status'], 'True');
});

test('one that selects nothing is not said to be enforced', async () => {
  await using rig = createStatusRig();
  rig.world.selected = 0;
  await rig.pass(2_000);
  assert.equal(conditionOf(rig.status(), 'Enforced')['reason'], 'NoWorkloads');
});

test('one for callers is enforced while nobody calls, for whoever does gets it first, and not when there is nothing to call', async () => {
  await using rig = createStatusRig();
  rig.world.selected = 0;
  rig.world.destinations = ['outbound|80||a'];
  await rig.pass(2_000);
  const enforced = conditionOf(rig.status(), 'Enforced');
  assert.deepEqual([enforced['status'], enforced['reason']], ['True', 'NoCallers']);
  rig.world.destinations = [];
  rig.tell();
  await rig.pass(2_000);
  assert.equal(conditionOf(rig.status(), 'Enforced')['reason'], 'NoDestinations');
});

test('1,000 proxies that acknowledge over three seconds cost a policy five writes at most', async () => {
  await using rig = createStatusRig();
  rig.world.selected = 1_000;
  for (let at = 0; at < 1_000; at += 10) {
    rig.world.enforcing = at;
    rig.tell();
    await rig.pass(30, 30);
  }
  rig.world.enforcing = 1_000;
  rig.tell();
  await rig.pass(300);
  assert.equal(rig.status()?.['enforced'], '1000/1000');
  assert.ok(rig.writes() <= 5, `${rig.writes()} writes`);
});

test('a change that proxies take at once costs one write', async () => {
  await using rig = createStatusRig();
  rig.tell();
  await rig.pass(100);
  rig.world.enforcing = 3;
  rig.tell();
  await rig.pass(3_000);
  assert.equal(rig.writes(), 1);
});

test('a hundred policies of a mesh that starts are written at 20 a second after the first 40', async () => {
  await using rig = createStatusRig(100);
  rig.world.enforcing = 3;
  await rig.pass(1_000);
  const first = rig.writes();
  assert.ok(first >= 40 && first <= 60, `${first} writes`);
  await rig.pass(4_000, 250);
  assert.equal(rig.writes(), 100);
});

test('what somebody writes into a status is put back', async () => {
  await using rig = createStatusRig();
  rig.world.enforcing = 3;
  await rig.pass(500);
  const found = rig.client.peek(AUTHORIZATION_POLICIES, 'p', 'shop');
  rig.client.put(AUTHORIZATION_POLICIES, { ...found, status: { enforced: '9/9' } });
  rig.tell();
  await rig.pass(2_000);
  assert.equal(rig.status()?.['enforced'], '3/3');
  assert.equal(conditionOf(rig.status(), 'Enforced')['status'], 'True');
});

test('a server that keeps less than is written is not asked again and again', async () => {
  await using rig = createStatusRig();
  rig.world.enforcing = 3;
  const metadata = { name: 'p', namespace: 'shop', uid: 'of p', resourceVersion: '999' };
  const kept = { metadata, status: { enforced: '3/3' } };
  rig.client.answerWith(({ verb }) => {
    if (verb !== 'patch') return undefined;
    rig.client.put(AUTHORIZATION_POLICIES, kept);
    const stored = rig.client.peek(AUTHORIZATION_POLICIES, 'p', 'shop');
    assert.ok(stored);
    return { ok: true, value: stored };
  });
  await rig.pass(10_000);
  assert.equal(rig.writes(), 1);
});

test('a write that is refused is tried again after five seconds, and a later one is not overtaken by it', async () => {
  await using rig = createStatusRig();
  rig.client.answerWith(({ verb }) =>
    verb === 'patch' ? kubeFailure(403, 'Forbidden', 'needs verb "patch"') : undefined,
  );
  rig.world.enforcing = 3;
  await rig.pass(4_000);
  assert.equal(rig.writes(), 1);
  rig.client.answerWith(() => undefined);
  await rig.pass(2_000);
  assert.equal(rig.status()?.['enforced'], '3/3');
});

test('of one object one write is under way at a time', async () => {
  await using rig = createStatusRig();
  const { promise, resolve } = Promise.withResolvers<void>();
  const { client } = rig;
  client.answerWith(async ({ verb }) => {
    if (verb === 'patch') await promise;
    return undefined as never;
  });
  rig.world.enforcing = 1;
  await rig.pass(2_000);
  rig.world.enforcing = 3;
  rig.tell();
  await rig.pass(3_000);
  assert.equal(rig.writes(), 1);
  resolve();
  await rig.pass(1_000);
  assert.equal(rig.writes(), 2);
  assert.equal(rig.status()?.['enforced'], '3/3');
});

test('the next leader finds what the one before wrote, and leaves it', async () => {
  const rig = createStatusRig();
  rig.world.enforcing = 3;
  await rig.pass(500);
  await rig.writer[Symbol.asyncDispose]();
  rig.world.enforcing = 2;
  rig.tell();
  await rig.pass(5_000);
  assert.equal(rig.writes(), 1, 'who leads no more writes no more');
  rig.world.enforcing = 3;
  await using _ = rig.open();
  await rig.pass(5_000);
  assert.equal(rig.writes(), 1);
});

test('proxies that go from one control plane to another leave the status of what they enforce as it is', async () => {
  await using rig = createStatusRig();
  const change = async (to: Partial<World>, ms: number): Promise<void> => {
    Object.assign(rig.world, to);
    rig.tell();
    await rig.pass(ms);
  };
  await change({ enforcing: 3 }, 1_000);
  await change({ enforcing: 1, reason: 'not-connected' }, 8_000);
  await change({ reason: 'not-acknowledged' }, 300);
  await change({ enforcing: 3 }, 1_000);
  await change({ enforcing: 1, reason: 'not-connected' }, 8_000);
  assert.equal(rig.writes(), 1);
  await change({}, 3_000);
  assert.equal(rig.status()?.['enforced'], '1/3', 'who stays away is told of');
  await change({ enforcing: 3 }, 1_000);
  await change({ generation: 2, enforcing: 2 }, 1_500);
  assert.equal(rig.status()?.['enforced'], '2/3', 'a change is waited for');
});

test('kinds of other projects have statuses of their own', async () => {
  await using rig = createStatusRig();
  rig.world.resource = resource(
    'security.istio.io/v1',
    'AuthorizationPolicy',
    'authorizationpolicies',
    'namespaced',
  );
  rig.world.enforcing = 3;
  await rig.pass(2_000);
  assert.equal(rig.writes(), 0);
});

test('what turns is told once: first enforced, refused, good again, and not what only waits anew', async () => {
  await using rig = createStatusRig();
  const { world, turns } = rig;
  const change = async (to: Partial<World>, told: readonly string[]): Promise<void> => {
    Object.assign(world, to);
    turns.length = 0;
    rig.tell();
    await rig.pass(3_000);
    assert.deepEqual(turns, told, JSON.stringify(to));
  };
  await change({ enforcing: 1 }, []);
  await change({ enforcing: 3 }, ['Enforced True AllEnforced']);
  await change({ selected: 4 }, []);
  await change({ enforcing: 4 }, []);
  await change({ generation: 2, enforcing: 0 }, []);
  await change({ enforcing: 4 }, ['Enforced True AllEnforced']);
  await change({ generation: 3, isGood: false }, ['Accepted False Invalid']);
  await change({ generation: 4 }, ['Accepted False Invalid']);
  await change({ generation: 5, isGood: true }, [
    'Accepted True Valid',
    'Enforced True AllEnforced',
  ]);
});
