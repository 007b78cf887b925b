import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import type { KubeClient } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import { CONFIG_MAPS, SECRETS } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { parseTrustDomain } from '@weft/model/identity';
import { type Authority, openAuthority } from '../authority.ts';
import { createTurnableClock } from '../testing/turnable-clock.ts';
import {
  BUNDLE_CONFIG_MAP,
  CA_SECRET,
  createKubernetesSecretStore,
  type KubernetesSecretStore,
} from './kubernetes-secret.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const namespace = 'weft-system';
const DEADLINE_MS = 5_000;

interface Replica extends AsyncDisposable {
  readonly store: KubernetesSecretStore;
  readonly authority: Authority;
}

async function openReplica(client: KubeClient, clock = createTurnableClock()): Promise<Replica> {
  const store = createKubernetesSecretStore({ client, namespace, trustDomain, clock });
  const authority = await openAuthority({ store, trustDomain, clock });
  return {
    store,
    authority,
    async [Symbol.asyncDispose]() {
      await authority[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

/** Waits for the listener to be called, or fails. */
async function told(add: (tell: () => void) => Disposable): Promise<void> {
  const target = new EventTarget();
  using _ = add(() => target.dispatchEvent(new Event('told')));
  await once(target, 'told', { signal: AbortSignal.timeout(DEADLINE_MS) });
}

const write = (kube: MemoryKube, text: string): void =>
  kube.put(SECRETS, {
    metadata: { name: CA_SECRET, namespace },
    data: { 'state.json': Buffer.from(text).toString('base64') },
  });

const textOf = (kube: MemoryKube): string =>
  Buffer.from(
    textAt(kube.peek(SECRETS, CA_SECRET, namespace), 'data', 'state.json') ?? '',
    'base64',
  ).toString('utf8');

test('replicas that open at once have one root', async () => {
  const client = createMemoryKube();
  const replicas = await Promise.all([1, 2, 3].map(() => openReplica(client)));
  const versions = new Set(replicas.map(({ authority }) => authority.bundle().version));
  assert.equal(versions.size, 1);
  const issuers = new Set(replicas.map(({ authority }) => authority.issuerKeyId));
  assert.equal(issuers.size, 1);
  for (const replica of replicas) await replica[Symbol.asyncDispose]();
});

test('a rotation that one replica begins is followed by the other, to its end', async () => {
  const client = createMemoryKube();
  await using one = await openReplica(client);
  await using two = await openReplica(client);
  const changed = told((tell) => two.authority.onBundleChange(tell));
  assert.ok((await one.authority.startRotation()).ok);
  await changed;
  assert.equal(two.authority.bundle().version, one.authority.bundle().version);
  assert.equal(two.authority.status().rotation.phase, 'distribute');
  const renewed = told((tell) => one.authority.onRenewNow(tell));
  const outcome = await two.authority.advance(() => []);
  assert.ok(outcome.ok && outcome.phase === 'sign');
  await renewed;
  assert.equal(one.authority.issuerKeyId, two.authority.issuerKeyId);
});

test('a root is not retired while the other replica may have given certificates of it', async () => {
  const client = createMemoryKube();
  const clock = createTurnableClock();
  await using one = await openReplica(client, clock);
  // What was given before the start is over by then; what others give is not known.
  clock.turn(7_200_000);
  assert.ok((await one.authority.startRotation()).ok);
  assert.ok((await one.authority.advance(() => [])).ok);
  const held = await one.authority.advance(() => []);
  assert.ok(held.ok && held.phase === 'sign');
  assert.match(held.waitsFor.join(), /1 certificates of the previous root may be in use/);
  clock.turn(3_600_000);
  await one.authority.advance(() => []);
  clock.turn(10_000);
  const free = await one.authority.advance(() => []);
  assert.ok(free.ok && free.phase === 'retire');
});

test('of two replicas that change the state at once one wins, and the other takes that over', async () => {
  const client = createMemoryKube();
  await using one = await openReplica(client);
  await using two = await openReplica(client);
  const outcomes = await Promise.all([one, two].map(({ authority }) => authority.startRotation()));
  const refused = outcomes.filter((outcome) => !outcome.ok);
  assert.deepEqual(
    refused.map(({ reasonCode }) => reasonCode),
    ['conflict'],
  );
  assert.equal(one.authority.bundle().version, two.authority.bundle().version);
  assert.equal(one.authority.bundle().rootsDer.length, 2);
});

test('garbage in the Secret is refused at the start with the cure, and never replaced', async () => {
  const client = createMemoryKube();
  {
    await using _ = await openReplica(client);
  }
  const good = textOf(client);
  for (const bad of ['', 'garbage', '{}', good.slice(0, -40), good.replace('weft-ca', 'weft')]) {
    write(client, bad);
    await assert.rejects(openReplica(client), /Cannot read Secret weft-system\/weft-ca: .*backup/);
    assert.equal(textOf(client), bad);
  }
  client.put(SECRETS, { metadata: { name: CA_SECRET, namespace } });
  await assert.rejects(openReplica(client), /it has no key state\.json/);
});

test('a Secret edited into garbage leaves the last good state in force, is said, and is good again after the cure', async () => {
  const client = createMemoryKube();
  await using replica = await openReplica(client);
  const { authority, store } = replica;
  const good = textOf(client);
  const { version } = authority.bundle();
  const bad = told((tell) => store.onProblem(tell));
  write(client, 'garbage');
  await bad;
  assert.match(store.problem ?? '', /cannot be used.*stays in force.*delete secret weft-ca/);
  assert.equal(authority.bundle().version, version);
  const outcome = await authority.startRotation();
  assert.ok(!outcome.ok && outcome.reasonCode === 'conflict');
  assert.equal(textOf(client), 'garbage', 'a person may still want to look at it');
  const cured = told((tell) => store.onProblem(() => store.problem === undefined && tell()));
  client.remove(SECRETS, CA_SECRET, namespace);
  await cured;
  assert.equal(textOf(client), good);
  assert.ok((await authority.startRotation()).ok);
});

test('the state of another trust domain, written over ours, is not taken', async () => {
  const client = createMemoryKube();
  const other = createMemoryKube();
  await using replica = await openReplica(client);
  const otherDomain = parseTrustDomain('other.test')!;
  const otherStore = createKubernetesSecretStore({
    client: other,
    namespace,
    trustDomain: otherDomain,
  });
  {
    await using _ = await openAuthority({ store: otherStore, trustDomain: otherDomain });
  }
  const bad = told((tell) => replica.store.onProblem(tell));
  write(client, textOf(other));
  await bad;
  assert.match(replica.store.problem ?? '', /trust domain other\.test/);
  await assert.rejects(openReplica(client), /holds that of other\.test/);
  await otherStore[Symbol.asyncDispose]();
});

test('a Secret that is deleted is put back by whoever has its content', async () => {
  const client = createMemoryKube();
  const clock = createTurnableClock();
  await using one = await openReplica(client, clock);
  await using two = await openReplica(client, clock);
  const good = textOf(client);
  client.answerWith(({ verb }) => (verb === 'create' ? kubeFailure(500, 'Broken') : undefined));
  const said = told((tell) =>
    one.store.onProblem(() => one.store.problem?.includes('cannot be put back') && tell()),
  );
  client.remove(SECRETS, CA_SECRET, namespace);
  await said;
  client.answerWith(() => undefined);
  const cured = [one, two].map(({ store }) =>
    told((tell) => store.onProblem(() => store.problem === undefined && tell())),
  );
  clock.turn(5_000);
  await Promise.all(cured);
  assert.equal(textOf(client), good);
  assert.ok((await two.authority.startRotation()).ok);
});

test('a bundle without its CA is refused: a new root would shut every workload out', async () => {
  const client = createMemoryKube();
  client.put(CONFIG_MAPS, { metadata: { name: BUNDLE_CONFIG_MAP, namespace } });
  await assert.rejects(
    openReplica(client),
    /restore the Secret.*delete configmap weft-trust-bundle/,
  );
  assert.equal(client.peek(SECRETS, CA_SECRET, namespace), undefined);
});

test('a failing API server refuses changes, and what was in force stays', async () => {
  const client = createMemoryKube();
  await using replica = await openReplica(client);
  client.answerWith(() => kubeFailure(0, 'Unreachable', 'Cannot patch: away'));
  const outcome = await replica.authority.startRotation();
  assert.ok(!outcome.ok && outcome.reasonCode === 'store-failed');
  assert.equal(replica.authority.status().rotation.phase, 'stable');
  await assert.rejects(openReplica(client), /away/);
});

test('labels that others put on the Secret stay, and cost no more than one more try', async () => {
  const client = createMemoryKube();
  await using replica = await openReplica(client);
  const object = client.peek(SECRETS, CA_SECRET, namespace)!;
  client.put(SECRETS, {
    ...object,
    metadata: { name: CA_SECRET, namespace, labels: { backup: 'daily' } },
  });
  const first = await replica.authority.startRotation();
  const second = first.ok ? first : await replica.authority.startRotation();
  assert.ok(second.ok);
  const kept = client.peek(SECRETS, CA_SECRET, namespace);
  assert.equal(textAt(kept, 'metadata', 'labels', 'backup'), 'daily');
});
