import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { BUNDLE_CONFIG_MAP } from '@weft/ca/store/kubernetes-secret';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { textAt } from '@weft/kube/object-fields';
import { CONFIG_MAPS, NAMESPACES } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { type BundleConfigMaps, startBundleConfigMaps } from './bundle-config-maps.ts';

const DEADLINE_MS = 5_000;

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error(`Cannot see that ${what}`);
    await nextTurn();
  }
}

interface Rig extends AsyncDisposable {
  readonly client: MemoryKube;
  readonly maps: BundleConfigMaps;
  readonly clock: ReturnType<typeof createTurnableClock>;
  rotate(pem: string): void;
}

function createRig(names: readonly string[], namespaces?: readonly string[]): Rig {
  const client = createMemoryKube();
  for (const name of names) client.put(NAMESPACES, { metadata: { name } });
  const clock = createTurnableClock();
  const listeners = new Set<() => void>();
  let pem = 'pem 1';
  const maps = startBundleConfigMaps({
    client,
    clock,
    random: () => 0,
    bundle: () => ({ pem }),
    onBundleChange: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
    ...(namespaces && { namespaces }),
  });
  return {
    client,
    maps,
    clock,
    rotate(next) {
      pem = next;
      for (const listener of listeners) listener();
    },
    [Symbol.asyncDispose]: () => maps[Symbol.asyncDispose](),
  };
}

const pemIn = (client: MemoryKube, namespace: string): string | undefined =>
  textAt(client.peek(CONFIG_MAPS, BUNDLE_CONFIG_MAP, namespace), 'data', 'bundle.pem');
const writes = (client: MemoryKube): number =>
  client.calls.filter(({ verb }) => verb === 'patch').length;

test('every namespace has the bundle, also one that comes later, and all of them the next one', async () => {
  await using rig = createRig(['shop', 'bank']);
  const { client } = rig;
  const all = (names: readonly string[], pem: string) =>
    until(`${names.join()} have ${pem}`, () => names.every((name) => pemIn(client, name) === pem));
  await all(['shop', 'bank'], 'pem 1');
  client.put(NAMESPACES, { metadata: { name: 'late' } });
  await all(['late'], 'pem 1');
  rig.rotate('pem 2');
  await all(['shop', 'bank', 'late'], 'pem 2');
  assert.deepEqual(rig.maps.missing, []);
  assert.equal(writes(client), 6);
});

test('a bundle that is edited or deleted is put back', async () => {
  await using rig = createRig(['shop']);
  const { client } = rig;
  await until('it is there', () => pemIn(client, 'shop') === 'pem 1');
  const metadata = { name: BUNDLE_CONFIG_MAP, namespace: 'shop' };
  client.put(CONFIG_MAPS, { metadata, data: { 'bundle.pem': 'of somebody else', more: 'x' } });
  await until('it is put back', () => pemIn(client, 'shop') === 'pem 1');
  client.remove(CONFIG_MAPS, BUNDLE_CONFIG_MAP, 'shop');
  await until('it is there again', () => pemIn(client, 'shop') === 'pem 1');
});

test('what is there already is not written again, and a namespace that is ending gets nothing', async () => {
  await using rig = createRig(['shop']);
  const { client } = rig;
  await until('it is there', () => pemIn(client, 'shop') === 'pem 1');
  client.put(NAMESPACES, { metadata: { name: 'gone', deletionTimestamp: 'now' } });
  client.put(NAMESPACES, { metadata: { name: 'shop', labels: { a: 'b' } } });
  client.put(NAMESPACES, { metadata: { name: 'new' } });
  await until('the new one has it', () => pemIn(client, 'new') === 'pem 1');
  assert.equal(pemIn(client, 'gone'), undefined);
  assert.equal(writes(client), 2);
  await rig.maps[Symbol.asyncDispose]();
  await using _ = startBundleConfigMaps({
    client,
    bundle: () => ({ pem: 'pem 1' }),
    onBundleChange: () => ({ [Symbol.dispose]: () => {} }),
  });
  client.put(NAMESPACES, { metadata: { name: 'third' } });
  await until('the third has it', () => pemIn(client, 'third') === 'pem 1');
  assert.equal(writes(client), 3);
});

test('a write that fails is said and tried again, later and later', async () => {
  await using rig = createRig([]);
  const { client, clock, maps } = rig;
  client.answerWith(({ verb }) =>
    verb === 'patch' ? kubeFailure(403, 'Forbidden', 'needs verb "patch"') : undefined,
  );
  client.put(NAMESPACES, { metadata: { name: 'shop' } });
  await until('it is said', () => maps.problems.includes('needs verb "patch"'));
  assert.deepEqual(maps.missing, ['shop']);
  clock.turn(1_000);
  await until('it was tried again', () => writes(client) === 2);
  client.answerWith(() => undefined);
  await until('it is there', () => {
    clock.turn(30_000);
    return pemIn(client, 'shop') === 'pem 1';
  });
  await until('nothing is wrong any more', () => maps.problems.length === 0);
});

test('an admission that changes what is written does not make a busy loop', async () => {
  await using rig = createRig([]);
  const { client, maps } = rig;
  client.answerWith(({ verb }) =>
    verb === 'patch' ? { ok: true, value: { data: { 'bundle.pem': 'other' } } } : undefined,
  );
  client.put(NAMESPACES, { metadata: { name: 'shop' } });
  await until('it is said', () => maps.problems.length === 1);
  for (let turn = 0; turn < 50; turn++) await nextTurn();
  assert.equal(writes(client), 1);
});

test('with namespaces given, nothing is asked of the cluster', async () => {
  await using rig = createRig(['shop', 'bank'], ['shop']);
  const { client } = rig;
  await until('it is there', () => pemIn(client, 'shop') === 'pem 1');
  assert.equal(pemIn(client, 'bank'), undefined);
  for (const { verb, namespace } of client.calls) {
    if (verb === 'list' || verb === 'watch') assert.equal(namespace, 'shop');
  }
});
