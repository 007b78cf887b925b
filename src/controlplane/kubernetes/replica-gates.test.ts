import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Authority, openAuthority } from '@weft/ca/authority';
import type { ConnectedProxy } from '@weft/ca/rotation';
import { createKubernetesSecretStore } from '@weft/ca/store/kubernetes-secret';
import { createTurnableClock, type TurnableClock } from '@weft/ca/testing/turnable-clock';
import { textAt } from '@weft/kube/object-fields';
import { LEASES, PODS } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { parseTrustDomain } from '@weft/model/identity';
import { readGateText } from './gate-text.ts';
import { type ReplicaGates, startReplicaGates } from './replica-gates.ts';

const DEADLINE_MS = 5_000;
const namespace = 'weft-system';
const trustDomain = parseTrustDomain('mesh.test')!;

interface Mesh {
  readonly client: MemoryKube;
  readonly clock: TurnableClock;
  /** Turns the clock until it holds. */
  readonly until: (what: string, holds: () => boolean) => Promise<void>;
}

interface Replica extends AsyncDisposable {
  readonly authority: Authority;
  readonly gates: ReplicaGates;
  connected: readonly ConnectedProxy[];
  advance(): Promise<string>;
}

function createMesh(): Mesh {
  const clock = createTurnableClock();
  return {
    client: createMemoryKube(),
    clock,
    until: async (what, holds) => {
      const endMs = Date.now() + DEADLINE_MS;
      while (!holds()) {
        if (Date.now() > endMs) throw new Error(`Cannot see that ${what}`);
        await nextTurn();
        clock.turn(100);
      }
    },
  };
}

async function openReplica({ client, clock, until }: Mesh, podName: string): Promise<Replica> {
  const store = createKubernetesSecretStore({ client, namespace, trustDomain, clock });
  let gates: ReplicaGates | undefined;
  const authority = await openAuthority({
    store,
    trustDomain,
    clock,
    hasOthers: () => gates?.hasOthers() ?? true,
  });
  const made = startReplicaGates({
    client,
    namespace,
    podName,
    podUid: `uid-of-${podName}`,
    authority,
    connected: () => replica.connected,
    clock,
    elapsedMs: () => clock.now(),
    random: () => 0,
  });
  gates = made;
  const replica: Replica = {
    authority,
    gates: made,
    connected: [],
    async advance() {
      const outcome = await authority.advance(
        () => replica.connected,
        (gate) => made.elsewhere(gate),
      );
      assert.ok(outcome.ok);
      return [outcome.phase, ...outcome.waitsFor].join('; ');
    },
    async [Symbol.asyncDispose]() {
      await made[Symbol.asyncDispose]();
      await authority[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
  await until('it is known', () => made.isPublished);
  return replica;
}

const proxy = (proxyId: string, changes: Partial<ConnectedProxy> = {}): ConnectedProxy => ({
  proxyId,
  hasBundle: () => true,
  issuerKeyId: undefined,
  ...changes,
});

test('the leader waits for proxies that are connected to another replica', async () => {
  const mesh = createMesh();
  await using one = await openReplica(mesh, 'one');
  await using two = await openReplica(mesh, 'two');
  two.connected = [proxy('late', { hasBundle: () => false })];
  await one.authority.startRotation();
  const phase = () => two.authority.status().rotation.phase;
  await mesh.until('the other has followed', () => phase() === 'distribute');
  let line = '';
  const says = (what: RegExp) =>
    mesh.until(`${what} is said`, () => {
      void one.advance().then((now) => (line = now));
      return what.test(line);
    });
  await says(/distribute; two: late has not acknowledged/);
  two.connected = [proxy('late')];
  await says(/^sign; /);
  await mesh.until('the other has followed', () => phase() === 'sign');
  await says(/two: late has no certificate of the new root/);
  two.connected = [proxy('late', { issuerKeyId: two.authority.issuerKeyId })];
  await says(/^sign; .*two: .*may be in use by workloads that are away/);
  mesh.clock.turn(3_600_000);
  await says(/^retire$/);
});

test('a replica that has not followed holds the next step up', async () => {
  const mesh = createMesh();
  await using one = await openReplica(mesh, 'one');
  await using two = await openReplica(mesh, 'two');
  const own = one.authority.gate(() => []);
  const other = { ...own, phase: 'sign', issuerKeyId: 'another' } as const;
  await mesh.until('the other is seen', () => one.gates.elsewhere(own).length === 0);
  assert.deepEqual(one.gates.elsewhere(other), [
    'control plane two has not followed to phase sign',
  ]);
  assert.ok(two.gates.isPublished);
});

test('a replica that is silent holds everything up until its Pod is gone', async () => {
  const mesh = createMesh();
  const { client, clock } = mesh;
  await using one = await openReplica(mesh, 'one');
  const dead = await openReplica(mesh, 'dead');
  client.put(PODS, { metadata: { name: 'dead', namespace, uid: 'uid-of-dead' } });
  await one.authority.startRotation();
  // As if it were cut off: its writes come through no more.
  client.answerWith(({ verb, name }) =>
    verb === 'patch' && name === 'weft-control-plane-dead'
      ? kubeFailure(0, 'Unreachable')
      : undefined,
  );
  const elsewhere = () => one.gates.elsewhere(one.authority.gate(() => [])).join();
  await mesh.until('it is missed', () => elsewhere().includes('was not heard of'));
  for (let second = 0; second < 60; second++) {
    clock.turn(1_000);
    await nextTurn();
  }
  assert.match(elsewhere(), /dead was not heard of for \d+ s and may still issue/);
  client.remove(PODS, 'dead', namespace);
  await mesh.until('it is forgotten', () => elsewhere() === '');
  client.answerWith(() => undefined);
  await dead[Symbol.asyncDispose]();
});

test('what a replica gave that ends while another root signs is waited for to its end', async () => {
  const mesh = createMesh();
  const { clock } = mesh;
  await using one = await openReplica(mesh, 'one');
  const two = await openReplica(mesh, 'two');
  clock.turn(7_200_000);
  await one.authority.startRotation();
  await mesh.until('another root signs', () => {
    void one.advance();
    return one.authority.status().rotation.phase === 'sign';
  });
  clock.turn(1_800_000);
  await two[Symbol.asyncDispose]();
  const mayBeInUse = () =>
    one.authority
      .gate(() => [])
      .waitsFor.join()
      .includes('may be in use');
  await mesh.until(
    'the other is gone',
    () => one.gates.elsewhere(one.authority.gate(() => [])).length === 0,
  );
  clock.turn(3_500_000);
  assert.ok(mayBeInUse());
  clock.turn(100_000);
  assert.ok(!mayBeInUse());
});

test('a control plane that was always alone assumes no certificates of others', async () => {
  const mesh = createMesh();
  await using one = await openReplica(mesh, 'one');
  await mesh.until('it is known to be alone', () => !one.gates.hasOthers());
  // What was given before its own start is over by then.
  mesh.clock.turn(3_600_000);
  await one.authority.startRotation();
  let line = '';
  await mesh.until('it is over', () => {
    void one.advance().then((now) => (line = now));
    assert.ok(!line.includes('may be in use'), line);
    return one.authority.status().rotation.phase === 'stable' && line !== '';
  });
});

test('while the Leases cannot be read no step is taken', async () => {
  const mesh = createMesh();
  mesh.client.answerWith(({ verb, resource }) =>
    verb === 'list' && resource === LEASES
      ? kubeFailure(403, 'Forbidden', 'Cannot list leases: needs verb "list"')
      : undefined,
  );
  await using one = await openReplica(mesh, 'one');
  assert.ok(one.gates.hasOthers());
  assert.match(
    one.gates.elsewhere(one.authority.gate(() => [])).join(),
    /not known yet|needs verb/,
  );
});

test('a Lease goes with its Pod, and that of a leader or of a stranger is no replica’s', async () => {
  const mesh = createMesh();
  const { client } = mesh;
  client.put(LEASES, { metadata: { name: 'weft-control-plane', namespace }, spec: {} });
  client.put(LEASES, {
    metadata: { name: 'weft-control-plane-x', namespace, labels: { 'weft.dev/replica': 'y' } },
  });
  client.put(LEASES, {
    metadata: { name: 'weft-control-plane-z', namespace, labels: { 'weft.dev/replica': 'z' } },
  });
  await using one = await openReplica(mesh, 'one');
  const own = () => one.gates.elsewhere(one.authority.gate(() => []));
  await mesh.until('they are listed', () => own().length === 1 && own()[0]!.includes('z'));
  assert.match(own()[0]!, /control plane z does not say/);
  const lease = client.peek(LEASES, 'weft-control-plane-one', namespace);
  assert.match(JSON.stringify(lease), /"ownerReferences":\[\{[^\]]*"uid":"uid-of-one"/);
  assert.equal(textAt(lease, 'spec', 'holderIdentity'), 'one');
});

test('readGateText() takes what a replica writes, and nothing else', () => {
  const good = { phase: 'sign', bundleVersion: 'v', issuerKeyId: 'k', waitsFor: ['a'] };
  assert.deepEqual(readGateText(JSON.stringify(good)), good);
  for (const bad of [
    undefined,
    '',
    '{',
    'null',
    '[]',
    JSON.stringify({ ...good, phase: 'other' }),
    JSON.stringify({ ...good, waitsFor: 'none' }),
    JSON.stringify({ ...good, waitsFor: [1] }),
    JSON.stringify({ ...good, issuerKeyId: 7 }),
    JSON.stringify({ ...good, more: 'x'.repeat(70_000) }),
  ]) {
    assert.equal(readGateText(bad), undefined);
  }
});
