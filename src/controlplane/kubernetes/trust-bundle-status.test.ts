import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Authority, openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import { createTurnableClock, type TurnableClock } from '@weft/ca/testing/turnable-clock';
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { TRUST_BUNDLES } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { parseTrustDomain } from '@weft/model/identity';
import {
  startTrustBundleStatus,
  TRUST_BUNDLE,
  type TrustBundleStatus,
} from './trust-bundle-status.ts';

const DEADLINE_MS = 5_000;

interface Rig extends AsyncDisposable {
  readonly client: MemoryKube;
  readonly clock: TurnableClock;
  readonly authority: Authority;
  readonly status: TrustBundleStatus;
  readonly setProblem: (problem: string | undefined) => void;
  /** Turns the clock until it holds. */
  readonly until: (what: string, holds: () => boolean) => Promise<void>;
}

async function createRig(object?: KubeObject): Promise<Rig> {
  const trustDomain = parseTrustDomain('mesh.test')!;
  const clock = createTurnableClock();
  const client = createMemoryKube();
  if (object !== undefined) client.put(TRUST_BUNDLES, object);
  const authority = await openAuthority({ store: createMemoryStore(), trustDomain, clock });
  let problem: string | undefined;
  const options = { client, authority, clock, random: () => 0, problem: () => problem };
  const status = startTrustBundleStatus(options);
  return {
    client,
    clock,
    authority,
    status,
    setProblem: (text) => {
      problem = text;
    },
    until: async (what, holds) => {
      const endMs = Date.now() + DEADLINE_MS;
      while (!holds()) {
        if (Date.now() > endMs) throw new Error(`Cannot see that ${what}`);
        await nextTurn();
        clock.turn(500);
      }
    },
    async [Symbol.asyncDispose]() {
      await status[Symbol.asyncDispose]();
      await authority[Symbol.asyncDispose]();
    },
  };
}

const shown = (client: MemoryKube): KubeObject | undefined =>
  objectAt(client.peek(TRUST_BUNDLES, TRUST_BUNDLE), 'status');

function condition(client: MemoryKube, type: string): KubeObject | undefined {
  const list = shown(client)?.['conditions'];
  return (Array.isArray(list) ? list : []).find((item: KubeObject) => item['type'] === type);
}

const writes = (client: MemoryKube): number =>
  client.calls.filter(({ verb }) => verb === 'patch').length;

const ask = (client: MemoryKube, rotate: string): void =>
  client.put(TRUST_BUNDLES, {
    ...client.peek(TRUST_BUNDLES, TRUST_BUNDLE),
    metadata: { name: TRUST_BUNDLE, generation: 2 },
    spec: { rotate },
  });

test('the object is made where it is absent, says what is trusted, and is written only when that changes', async () => {
  await using rig = await createRig();
  const { client, authority } = rig;
  await rig.until('it is shown', () => shown(client) !== undefined);
  const status = shown(client);
  assert.equal(status?.['trustDomain'], 'mesh.test');
  assert.equal(status?.['bundleVersion'], authority.bundle().version);
  assert.equal(status?.['phase'], 'stable');
  assert.equal(status?.['observedRotate'], '');
  assert.equal(condition(client, 'Ready')?.['status'], 'True');
  const roots = status?.['roots'];
  assert.ok(Array.isArray(roots) && roots.length === 1);
  assert.deepEqual(Object.keys(roots[0]), [
    'keyId',
    'subject',
    'fingerprint',
    'notBefore',
    'notAfter',
    'isActive',
  ]);
  assert.match(roots[0].notAfter, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.ok(!JSON.stringify(status).includes('PRIVATE'));
  let looks = 0;
  await rig.until('time goes by', () => looks++ > 20);
  assert.equal(writes(client), 1);
});

test('a rotation is shown in each of its phases, with what it waits for', async () => {
  await using rig = await createRig();
  const { client, authority } = rig;
  await rig.until('it is shown', () => shown(client) !== undefined);
  const since = condition(client, 'Rotating')?.['lastTransitionTime'];
  rig.clock.turn(5_000);
  await authority.startRotation();
  await rig.until('it is distributed', () => shown(client)?.['phase'] === 'distribute');
  assert.equal(condition(client, 'Rotating')?.['status'], 'True');
  assert.notEqual(condition(client, 'Rotating')?.['lastTransitionTime'], since);
  await authority.advance(() => [
    { proxyId: 'late', hasBundle: () => false, issuerKeyId: undefined },
  ]);
  const isWaiting = () => JSON.stringify(shown(client)?.['waitsFor']).includes('late');
  await rig.until('it waits for one', isWaiting);
  assert.match(textAt(condition(client, 'Rotating'), 'message') ?? '', /late has not acknowledged/);
  await authority.advance(() => []);
  await rig.until('another signs', () => shown(client)?.['phase'] === 'sign');
  assert.deepEqual(shown(client)?.['waitsFor'], []);
});

test('spec.rotate that changes begins one rotation, and one alone', async () => {
  await using rig = await createRig();
  const { client, authority } = rig;
  await rig.until('it is shown', () => shown(client) !== undefined);
  ask(client, '2026-11-21');
  await rig.until('it is observed', () => shown(client)?.['observedRotate'] === '2026-11-21');
  assert.equal(authority.status().rotation.phase, 'distribute');
  assert.equal(authority.bundle().rootsDer.length, 2);
  ask(client, 'again');
  await rig.until('it is observed', () => shown(client)?.['observedRotate'] === 'again');
  assert.ok((await authority.rollback()).ok);
  let looks = 0;
  await rig.until('time goes by', () => looks++ > 20);
  assert.equal(authority.status().rotation.phase, 'stable');
});

test('spec.rotate of an object that is made anew begins no rotation', async () => {
  await using rig = await createRig({
    metadata: { name: TRUST_BUNDLE },
    spec: { rotate: 'long ago' },
  });
  const { client, authority } = rig;
  await rig.until('it is observed', () => shown(client)?.['observedRotate'] === 'long ago');
  assert.equal(authority.status().rotation.phase, 'stable');
});

test('a wish that comes while the last root is being retired is granted after it', async () => {
  await using rig = await createRig();
  const { client, authority, clock } = rig;
  await rig.until('it is shown', () => shown(client) !== undefined);
  await authority.startRotation();
  while (authority.status().rotation.phase !== 'retire') {
    await authority.advance(() => []);
    clock.turn(10_000);
  }
  const isRetiring = () => shown(client)?.['phase'] === 'retire';
  ask(client, 'again');
  await rig.until('it is shown', isRetiring);
  assert.equal(shown(client)?.['observedRotate'], '');
  await authority.advance(() => []);
  await rig.until('it is observed', () => shown(client)?.['observedRotate'] === 'again');
  assert.equal(authority.status().rotation.phase, 'distribute');
});

test('a CA whose Secret is garbage is not Ready, and says the cure', async () => {
  await using rig = await createRig();
  const { client } = rig;
  rig.setProblem('Secret weft-system/weft-ca cannot be used: restore it');
  await rig.until('it is said', () => condition(client, 'Ready')?.['status'] === 'False');
  assert.match(textAt(condition(client, 'Ready'), 'message') ?? '', /restore it/);
  rig.setProblem(undefined);
  await rig.until('it is good', () => condition(client, 'Ready')?.['status'] === 'True');
});

test('an object that is deleted comes back, and a missing permission is said', async () => {
  await using rig = await createRig();
  const { client, status } = rig;
  await rig.until('it is shown', () => shown(client) !== undefined);
  client.remove(TRUST_BUNDLES, TRUST_BUNDLE);
  await rig.until('it is shown again', () => shown(client) !== undefined);
  client.answerWith(({ verb }) =>
    verb === 'patch' ? kubeFailure(403, 'Forbidden', 'needs verb "patch"') : undefined,
  );
  await rig.authority.startRotation();
  await rig.until('it is said', () => status.problem?.includes('needs verb') === true);
  client.answerWith(() => undefined);
  await rig.until('it is good', () => status.problem === undefined);
});
