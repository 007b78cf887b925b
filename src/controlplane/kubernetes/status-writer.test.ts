// What stands in the status of policies, and that a large mesh costs few writes of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { AUTHORIZATION_POLICIES, type KubeResource, resource } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure } from '@weft/kube/testing/memory-kube';
import type { Snapshot } from '@weft/model/mesh/objects';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { pino } from 'pino';
import type { ObjectOrigin } from '../registry/source.ts';
import type { PolicyReport, WorkloadEnforcement } from '../status/policy-status.ts';
import { StatusWriter } from './status-writer.ts';

const snapshotOf = (revision: number): Snapshot => ({ revision, objects: new Map() });
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

interface World {
  generation: number;
  isGood: boolean;
  /** Proxies that enforce it, of `selected`. */
  enforcing: number;
  selected: number;
  problems: readonly Problem[];
  resource: KubeResource;
  isCompiled: boolean;
  /** Of those that do not enforce it. */
  reason: NonNullable<WorkloadEnforcement['reason']>;
}

/** One policy `shop/p`, or as many as asked, whose facts the test changes and then tells of. */
function createRig(count = 1) {
  const clock = createTurnableClock(Date.UTC(2026, 0, 1));
  const client = createMemoryKube();
  const names = Array.from({ length: count }, (_, at) => (at === 0 ? 'p' : `p${at}`));
  for (const name of names) {
    client.put(AUTHORIZATION_POLICIES, {
      metadata: { name, namespace: 'shop', uid: `of ${name}` },
    });
  }
  const world: World = {
    generation: 1,
    isGood: true,
    enforcing: 0,
    selected: 3,
    problems: [],
    resource: AUTHORIZATION_POLICIES,
    isCompiled: true,
    reason: 'not-acknowledged',
  };
  const turns: string[] = [];
  const listeners = new Set<() => void>();
  const subscribe = (listener: () => void): Disposable => {
    listeners.add(listener);
    return { [Symbol.dispose]: () => listeners.delete(listener) };
  };
  const snapshot = snapshotOf(1);
  const originOf = (name: string): ObjectOrigin => {
    const found = client.peek(AUTHORIZATION_POLICIES, name, 'shop');
    return {
      resource: world.resource,
      uid: textAt(found, 'metadata', 'uid') ?? '',
      generation: world.generation,
      resourceVersion: textAt(found, 'metadata', 'resourceVersion') ?? '',
      isGood: world.isGood,
      problems: world.problems,
      status: objectAt(found, 'status'),
    };
  };
  const reportOf = (name: string): PolicyReport => ({
    kind: 'AuthorizationPolicy',
    namespace: 'shop',
    name,
    action: 'DENY',
    enforced: `${world.enforcing}/${world.selected}`,
    isEnforced: world.enforcing === world.selected,
    since: '',
    workloads: Array.from({ length: world.selected }, (_, at) => ({
      proxy: `web-${at + 1}.shop`,
      enforced: at < world.enforcing,
      version: 'v',
      by: at < world.enforcing ? 'confirmed' : 'nothing',
      ...(at >= world.enforcing && { reason: world.reason }),
    })),
  });
  const open = (): StatusWriter =>
    new StatusWriter({
      client,
      source: {
        get state() {
          const origins = new Map(
            names
              .filter((name) => client.peek(AUTHORIZATION_POLICIES, name, 'shop') !== undefined)
              .map((name) => [`AuthorizationPolicy/shop/${name}`, originOf(name)]),
          );
          return { snapshot, problems: [], origins };
        },
        subscribe,
      },
      views: {
        snapshot: () => (world.isCompiled ? snapshot : snapshotOf(0)),
        mesh: () => Object.assign(Object.create(null), { policies: { authorization: [] } }),
        problems: () => world.problems,
        subscribe,
      },
      policies: { reports: () => names.map(reportOf), subscribe },
      onTurned: ({ condition: { type, status, reason } }) =>
        turns.push([type, status, reason].join(' ')),
      clock,
      log: pino({ level: 'silent' }),
    });
  const writer = open();
  return {
    turns,
    clock,
    client,
    world,
    open,
    writer,
    tell: () => {
      for (const listener of listeners) listener();
    },
    /** Time passes, and what is written meanwhile arrives. */
    async pass(ms: number, stepMs = 50): Promise<void> {
      for (let past = 0; past < ms; past += stepMs) {
        clock.turn(stepMs);
        for (let turn = 0; turn < 4; turn++) await nextTurn();
      }
    },
    writes: () => client.calls.filter(({ verb }) => verb === 'patch').length,
    status: () => objectAt(client.peek(AUTHORIZATION_POLICIES, 'p', 'shop'), 'status'),
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  };
}

function condition(status: KubeObject | undefined, type: string): PlainObject {
  const conditions = status?.['conditions'];
  const list: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  const found = list.filter(isPlainObject).find((one) => one['type'] === type);
  assert.ok(found, `no condition ${type}`);
  return found;
}

test('a policy that every proxy enforces says so, with counts, generation and times', async () => {
  await using rig = createRig();
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
  await using rig = createRig();
  rig.world.enforcing = 1;
  await rig.pass(1_000);
  const first = condition(rig.status(), 'Enforced');
  assert.equal(first['status'], 'False');
  assert.equal(first['reason'], 'Waiting');
  assert.match(String(first['message']), /^1 of 3 .* web-2\.shop \(not-acknowledged\)/);
  rig.world.enforcing = 2;
  rig.tell();
  await rig.pass(2_000);
  const second = condition(rig.status(), 'Enforced');
  assert.match(String(second['message']), /^2 of 3/);
  assert.equal(second['lastTransitionTime'], first['lastTransitionTime']);
  rig.world.enforcing = 3;
  rig.tell();
  await rig.pass(2_000);
  const third = condition(rig.status(), 'Enforced');
  assert.notEqual(third['lastTransitionTime'], first['lastTransitionTime']);
});

test('a new generation is not said to be enforced before the mesh is compiled from it (threat: false assurance)', async () => {
  await using rig = createRig();
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
  assert.equal(condition(rig.status(), 'Enforced')['status'], 'False');
});

test('one that cannot be read is not accepted, and not enforced whatever holds in its place', async () => {
  await using rig = createRig();
  rig.world.isGood = false;
  rig.world.enforcing = 3;
  const object = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  const problem = { code: 'unknown-field', field: 'spec.x', message: 'unknown field "x"' };
  rig.world.problems = [{ severity: 'error', ...problem, object }];
  await rig.pass(500);
  const accepted = condition(rig.status(), 'Accepted');
  assert.equal(accepted['status'], 'False');
  assert.match(String(accepted['message']), /spec\.x: unknown field "x"/);
  const enforced = condition(rig.status(), 'Enforced');
  assert.deepEqual([enforced['status'], enforced['reason']], ['False', 'Invalid']);
});

test('one that selects nothing is not said to be enforced', async () => {
  await using rig = createRig();
  rig.world.selected = 0;
  await rig.pass(2_000);
  assert.equal(condition(rig.status(), 'Enforced')['reason'], 'NoWorkloads');
});

test('1,000 proxies that acknowledge over three seconds cost a policy five writes at most', async () => {
  await using rig = createRig();
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
  await using rig = createRig();
  rig.tell();
  await rig.pass(100);
  rig.world.enforcing = 3;
  rig.tell();
  await rig.pass(3_000);
  assert.equal(rig.writes(), 1);
});

test('300 policies of a mesh that starts are written at 20 a second after the first 40', async () => {
  await using rig = createRig(300);
  rig.world.enforcing = 3;
  await rig.pass(1_000);
  const first = rig.writes();
  assert.ok(first >= 40 && first <= 60, `${first} writes`);
  await rig.pass(14_000);
  assert.equal(rig.writes(), 300);
});

test('what somebody writes into a status is put back', async () => {
  await using rig = createRig();
  rig.world.enforcing = 3;
  await rig.pass(500);
  const found = rig.client.peek(AUTHORIZATION_POLICIES, 'p', 'shop');
  rig.client.put(AUTHORIZATION_POLICIES, { ...found, status: { enforced: '9/9' } });
  rig.tell();
  await rig.pass(2_000);
  assert.equal(rig.status()?.['enforced'], '3/3');
  assert.equal(condition(rig.status(), 'Enforced')['status'], 'True');
});

test('a server that keeps less than is written is not asked again and again', async () => {
  await using rig = createRig();
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
  await using rig = createRig();
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
  await using rig = createRig();
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
  const rig = createRig();
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
  await using rig = createRig();
  const change = async (to: Partial<World>, ms: number): Promise<void> => {
    Object.assign(rig.world, to);
    rig.tell();
    await rig.pass(ms);
  };
  await change({ enforcing: 3 }, 1_000);
  for (let round = 0; round < 3; round++) {
    await change({ enforcing: 1, reason: 'not-connected' }, 8_000);
    await change({ reason: 'not-acknowledged' }, 300);
    await change({ enforcing: 3 }, 1_000);
  }
  assert.equal(rig.writes(), 1);
  await change({ enforcing: 2, reason: 'not-connected' }, 11_000);
  assert.equal(rig.writes(), 2, 'one that stays away is told of');
  assert.equal(rig.status()?.['enforced'], '2/3');
  await change({ enforcing: 3 }, 1_000);
  await change({ generation: 2, enforcing: 2 }, 1_500);
  assert.equal(condition(rig.status(), 'Enforced')['reason'], 'Waiting', 'a change is waited for');
});

test('kinds of other projects have statuses of their own', async () => {
  await using rig = createRig();
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
  await using rig = createRig();
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
