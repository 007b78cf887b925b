// What is written into the status of policies: once where nothing changes, soon where it is enforced, and never of a version that the mesh is not compiled from.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import type { KubeResult, PatchOptions } from '@weft/kube/kube-api';
import {
  AUTHORIZATION_POLICIES,
  type KubeResource,
  MESH_CONFIGS,
  resource,
} from '@weft/kube/resource';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { pino } from 'pino';
import { compileMesh } from '../compile/compile-mesh.ts';
import { snapshotOf } from '../../../test/support/mesh-objects.ts';
import { parseTrustDomain } from '@weft/model/identity';
import type { ObjectOrigin } from '../registry/source.ts';
import type { PolicyReport } from '../status/policy-status.ts';
import { StatusWriter } from './status-writer.ts';

const KEY = 'AuthorizationPolicy/shop/p';

const originOf = (more: Partial<ObjectOrigin> = {}): ObjectOrigin => ({
  resource: AUTHORIZATION_POLICIES,
  uid: 'u1',
  generation: 1,
  resourceVersion: '7',
  isGood: true,
  problems: [],
  status: undefined,
  ...more,
});

const reportOf = (...enforced: readonly boolean[]): PolicyReport => {
  const count = enforced.filter(Boolean).length;
  return {
    kind: 'AuthorizationPolicy',
    namespace: 'shop',
    name: 'p',
    action: 'DENY',
    enforced: `${count}/${enforced.length}`,
    isEnforced: count === enforced.length,
    since: '2026-01-01T00:00:00.000Z',
    workloads: enforced.map((isEnforced, index) => ({
      proxy: `web-${index}.shop`,
      enforced: isEnforced,
      version: 'v',
      by: isEnforced ? 'confirmed' : 'nothing',
      ...(!isEnforced && { reason: 'not-acknowledged' }),
    })),
  };
};

interface Write {
  readonly resource: KubeResource;
  readonly name: string;
  readonly patch: PlainObject;
}

function createRig() {
  const clock = createTurnableClock();
  const trustDomain = parseTrustDomain('cluster.local')!;
  const snapshot = snapshotOf([]);
  const mesh = compileMesh(snapshot, { trustDomain, rootNamespace: 'weft-system' });
  const state = {
    origins: new Map<string, ObjectOrigin>([[KEY, originOf()]]),
    compiled: snapshot,
    reports: [] as readonly PolicyReport[],
    problems: [] as readonly Problem[],
    answer: { ok: true, value: {} } as KubeResult<PlainObject>,
  };
  const writes: Write[] = [];
  let tell = (): void => undefined;
  const subscribe = (listener: () => void): Disposable => {
    tell = listener;
    return { [Symbol.dispose]: () => undefined };
  };
  const writer = new StatusWriter({
    client: {
      patch: async (target, { name }, { patch }: PatchOptions) => {
        writes.push({ resource: target, name, patch: patch as PlainObject });
        return state.answer;
      },
    },
    source: {
      get state() {
        return { snapshot, problems: [], origins: state.origins };
      },
      subscribe,
    },
    views: {
      snapshot: () => state.compiled,
      mesh: () => mesh,
      problems: () => state.problems,
      subscribe,
    },
    policies: { reports: () => state.reports, subscribe },
    clock,
    log: pino({ level: 'silent' }),
  });
  /** Time passes in small steps, and answers arrive meanwhile. */
  const turn = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 10) {
      clock.turn(Math.min(10, left));
      await Promise.resolve();
    }
    await new Promise((resolve) => setImmediate(resolve));
  };
  const conditions = (at = -1): readonly string[] => {
    const status = writes.at(at)?.patch['status'] as PlainObject | undefined;
    const all = (status?.['conditions'] ?? []) as readonly PlainObject[];
    return all.map(
      (one) => `${String(one['type'])}=${String(one['status'])} ${String(one['reason'])}`,
    );
  };
  return { state, writes, writer, turn, conditions, tell: () => tell() };
}

test('a policy that is enforced everywhere is written once, and not again', async () => {
  const rig = createRig();
  rig.state.reports = [reportOf(true, true)];
  await rig.turn(20_000);
  assert.equal(rig.writes.length, 1);
  assert.deepEqual(rig.conditions(), ['Accepted=True Valid', 'Enforced=True AllEnforced']);
  const { patch, resource: target } = rig.writes[0]!;
  assert.equal(target, AUTHORIZATION_POLICIES);
  assert.deepEqual(patch['metadata'], { uid: 'u1' }, 'of that object, and of no other by its name');
  const { enforced, selected, action, observedGeneration } = patch['status'] as PlainObject;
  assert.deepEqual([enforced, selected, action, observedGeneration], ['2/2', 2, 'DENY', 1]);
  await rig.writer[Symbol.asyncDispose]();
});

test('a change that is soon enforced costs one write; one that is waited for says where', async () => {
  const rig = createRig();
  rig.state.reports = [reportOf(true, false)];
  await rig.turn(300);
  assert.equal(rig.writes.length, 0, 'most changes are enforced by then');
  await rig.turn(400);
  assert.deepEqual(rig.conditions(), ['Accepted=True Valid', 'Enforced=False Waiting']);
  const text = JSON.stringify(rig.writes[0]?.patch);
  assert.match(text, /1 of 2 workloads enforce it; not yet web-1\.shop \(not-acknowledged\)/);
  rig.state.reports = [reportOf(true, true)];
  rig.tell();
  await rig.turn(400);
  assert.deepEqual(rig.conditions(), ['Accepted=True Valid', 'Enforced=True AllEnforced']);
  assert.equal(rig.writes.length, 2);
  await rig.writer[Symbol.asyncDispose]();
});

test('thousands of acknowledgements cost a write a second at most', async () => {
  const rig = createRig();
  for (let count = 0; count < 300; count++) {
    rig.state.reports = [reportOf(...Array.from({ length: 301 }, (_, at) => at < count))];
    rig.tell();
    await rig.turn(10);
  }
  assert.ok(rig.writes.length <= 4, String(rig.writes.length));
  await rig.writer[Symbol.asyncDispose]();
});

test('nothing is said of a version that the mesh is not compiled from yet', async () => {
  const rig = createRig();
  const { compiled } = rig.state;
  rig.state.compiled = snapshotOf([]);
  rig.state.reports = [reportOf(true)];
  await rig.turn(20_000);
  assert.equal(rig.writes.length, 0);
  rig.state.compiled = compiled;
  rig.tell();
  await rig.turn(300);
  assert.equal(rig.writes.length, 1);
  await rig.writer[Symbol.asyncDispose]();
});

const CASES: readonly {
  readonly claim: string;
  readonly origin?: Partial<ObjectOrigin>;
  readonly reports?: readonly PolicyReport[];
  readonly problems?: readonly Problem[];
  readonly expected: readonly string[];
}[] = [
  {
    claim: 'one that cannot be read is not accepted, and not enforced though its last version is',
    origin: { isGood: false },
    reports: [reportOf(true)],
    expected: ['Accepted=False Invalid', 'Enforced=False Invalid'],
  },
  {
    claim: 'an error that compiling finds keeps it from being accepted',
    reports: [reportOf(true)],
    problems: [
      {
        severity: 'error',
        code: 'x',
        message: 'no',
        object: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' },
      },
    ],
    expected: ['Accepted=False Invalid', 'Enforced=False Invalid'],
  },
  {
    claim: 'one that selects nothing is accepted and enforced nowhere',
    expected: ['Accepted=True Valid', 'Enforced=False NoWorkloads'],
  },
  {
    claim: 'a MeshConfig is accepted or not',
    origin: { resource: MESH_CONFIGS },
    expected: ['Accepted=True Valid'],
  },
];
for (const { claim, origin, reports = [], problems = [], expected } of CASES) {
  test(claim, async () => {
    const rig = createRig();
    rig.state.origins = new Map([[KEY, originOf(origin)]]);
    rig.state.reports = reports;
    rig.state.problems = problems;
    await rig.turn(2_000);
    assert.deepEqual(rig.conditions(), expected);
    await rig.writer[Symbol.asyncDispose]();
  });
}

test("nothing is written into other projects' kinds, nor after the end", async () => {
  const rig = createRig();
  const foreign = resource(
    'security.istio.io/v1',
    'AuthorizationPolicy',
    'authorizationpolicies',
    'namespaced',
  );
  rig.state.origins = new Map([[KEY, originOf({ resource: foreign })]]);
  rig.state.reports = [reportOf(true)];
  await rig.turn(2_000);
  assert.equal(rig.writes.length, 0);
  await rig.writer[Symbol.asyncDispose]();
  rig.state.origins = new Map([[KEY, originOf()]]);
  rig.tell();
  await rig.turn(2_000);
  assert.equal(rig.writes.length, 0);
});

test('the time of a condition is that of its last turn, also over a change of leader', async () => {
  const since = '2020-01-01T00:00:00Z';
  const rig = createRig();
  const condition = { lastTransitionTime: since, reason: 'AllEnforced', message: 'old' };
  rig.state.origins = new Map([
    [
      KEY,
      originOf({
        generation: 2,
        status: {
          conditions: [
            { ...condition, type: 'Accepted', status: 'True' },
            { ...condition, type: 'Enforced', status: 'False' },
          ],
        },
      }),
    ],
  ]);
  rig.state.reports = [reportOf(true)];
  await rig.turn(500);
  const status = rig.writes[0]?.patch['status'] as PlainObject;
  const times = (status['conditions'] as readonly PlainObject[]).map(
    (one) => one['lastTransitionTime'] === since,
  );
  assert.deepEqual(times, [true, false]);
  await rig.writer[Symbol.asyncDispose]();
});

test('a write that the API server refuses is tried again, later', async () => {
  const rig = createRig();
  rig.state.reports = [reportOf(true)];
  rig.state.answer = {
    ok: false,
    kind: 'status',
    code: 403,
    reason: 'Forbidden',
    message: 'Cannot patch authorizationpolicies/status p',
  };
  await rig.turn(1_000);
  assert.equal(rig.writes.length, 1);
  rig.state.answer = { ok: true, value: {} };
  await rig.turn(6_000);
  assert.equal(rig.writes.length, 2);
  await rig.turn(6_000);
  assert.equal(rig.writes.length, 2);
  await rig.writer[Symbol.asyncDispose]();
});
