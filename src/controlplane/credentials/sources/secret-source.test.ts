// Credentials from Secrets: each watched by its own name, and taken away when it may not be read any more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SECRETS } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { systemClock } from '@weft/model/clock';
import { readingsOf } from '../testing/readings.ts';
import { createSecretSource } from './secret-source.ts';

const secret = (data: Readonly<Record<string, string>>, more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'db', namespace: 'shop' },
  data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, btoa(text)])),
  ...more,
});

function rig() {
  const kube = createMemoryKube();
  const source = createSecretSource({ client: kube, clock: systemClock, random: () => 0 });
  return { kube, source };
}

/** The list has been told by then; the watch that follows it is opened in turns of the event loop. */
async function watched(kube: MemoryKube): Promise<void> {
  while (!kube.calls.some(({ verb }) => verb === 'watch')) await nextTurn();
  await nextTurn();
}

test('follow() tells the values of a Secret, each change, and that it is gone', async () => {
  const { kube, source } = rig();
  await using _ = source;
  kube.put(SECRETS, secret({ password: 'one' }));
  using readings = readingsOf(source, 'shop/db');
  const first = await readings.next();
  assert.deepEqual(first.texts, { password: 'one' });
  kube.put(SECRETS, secret({ password: 'two' }));
  const second = await readings.next();
  assert.deepEqual(second.texts, { password: 'two' });
  assert.notEqual(second.version, first.version);
  kube.remove(SECRETS, 'db', 'shop');
  assert.equal((await readings.next()).kind, 'gone');
});

test('follow() says nothing of a Secret that was only labelled', async () => {
  const { kube, source } = rig();
  await using _ = source;
  kube.put(SECRETS, secret({ password: 'one' }));
  using readings = readingsOf(source, 'shop/db');
  await readings.next();
  kube.put(SECRETS, secret({ password: 'one' }, { labels: 1 }));
  kube.put(SECRETS, secret({ password: 'two' }));
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
});

test('follow() asks for the one Secret alone, in its namespace', async () => {
  const { kube, source } = rig();
  await using _ = source;
  kube.put(SECRETS, secret({ password: 'one' }));
  kube.put(SECRETS, {
    ...secret({ password: 'other' }),
    metadata: { name: 'db', namespace: 'pay' },
  });
  kube.put(SECRETS, { ...secret({ a: 'b' }), metadata: { name: 'other', namespace: 'shop' } });
  using readings = readingsOf(source, 'shop/db');
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
  for (const { namespace } of kube.calls) assert.equal(namespace, 'shop');
});

test('follow() takes a Secret away that may not be read any more', async () => {
  const { kube, source } = rig();
  await using _ = source;
  kube.put(SECRETS, secret({ password: 'one' }));
  using readings = readingsOf(source, 'shop/db');
  await readings.next();
  await watched(kube);
  const forbidden = kubeFailure(403, 'Forbidden');
  kube.answerWith(() => forbidden);
  kube.breakWatches(forbidden);
  assert.equal((await readings.next()).kind, 'gone');
});

test('follow() takes nothing away while the API server is away, and goes on when it is back', async () => {
  const { kube, source } = rig();
  await using _ = source;
  kube.put(SECRETS, secret({ password: 'one' }));
  using readings = readingsOf(source, 'shop/db');
  await readings.next();
  await watched(kube);
  const away = kubeFailure(0, 'Unreachable');
  kube.answerWith(() => away);
  kube.breakWatches(away);
  assert.equal((await readings.next()).kind, 'unavailable');
  kube.answerWith(() => undefined);
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
});

const REFUSED: readonly (readonly [string, object])[] = [
  ['is another identity', secret({ token: 'x' }, { type: 'kubernetes.io/service-account-token' })],
  ['is empty', secret({})],
  ['has a hidden key', secret({ '.x': 'y' })],
  ['is too large', secret({ x: 'y'.repeat(300_000) })],
];
for (const [what, object] of REFUSED) {
  test(`follow() hands nothing over of a Secret that ${what}`, async () => {
    const { kube, source } = rig();
    await using _ = source;
    kube.put(SECRETS, { ...object });
    using readings = readingsOf(source, 'shop/db');
    assert.equal((await readings.next()).kind, 'gone');
  });
}
