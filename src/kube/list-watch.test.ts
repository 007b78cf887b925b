import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import type { KubeObject } from './kube-api.ts';
import { isAfter, startListWatch, type ListWatchOptions } from './list-watch.ts';
import { PODS, resource, SERVICES, type KubeResource } from './resource.ts';
import {
  createScriptedApi,
  EXPIRED,
  FORBIDDEN,
  NOT_FOUND,
  type ScriptedApi,
  UNREACHABLE,
} from './testing/scripted-api.ts';

const DEADLINE_MS = 5_000;

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error(`Cannot see that ${what}`);
    await nextTurn();
  }
}

const pod = (name: string, app = 'web'): KubeObject => ({
  metadata: { name, namespace: 'shop', labels: { app } },
});
const nameOf = (object: KubeObject): string => {
  const { name, labels } = object['metadata'] as { name: string; labels?: { app: string } };
  return `${name}=${labels?.app}`;
};

function follow(t: TestContext, api: ScriptedApi, more: Partial<ListWatchOptions<string>> = {}) {
  const clock = createTurnableClock();
  const seen: string[] = [];
  const reads: string[] = [];
  const listWatch = startListWatch<string>({
    client: api.client,
    resources: [PODS],
    read: (object) => {
      reads.push(nameOf(object));
      return nameOf(object);
    },
    onListed: (items) => seen.push(`listed ${items.join(' ')}`),
    onChanged: (item) => seen.push(`changed ${item}`),
    onDeleted: (object) => seen.push(`deleted ${nameOf(object)}`),
    clock,
    random: () => 1,
    ...more,
  });
  t.after(() => listWatch[Symbol.asyncDispose]());
  const calls = (): readonly string[] =>
    api.calls.map(({ verb, from }) => (from === undefined ? verb : `${verb} ${from}`));
  return { clock, seen, reads, listWatch, calls };
}

test('startListWatch() lists, then tells of each change', async (t) => {
  const api = createScriptedApi();
  api.put(PODS, pod('a'));
  const { seen, listWatch } = follow(t, api);
  await until('it watches', () => api.watches === 1);
  api.put(PODS, pod('b'));
  api.put(PODS, pod('a', 'db'));
  api.remove(PODS, { namespace: 'shop', name: 'b' });
  assert.deepEqual(seen, ['listed a=web', 'changed b=web', 'changed a=db', 'deleted b=web']);
  assert.deepEqual(listWatch.status, { kind: 'good' });
});

test('startListWatch() lists by pages of 500 and hands them over together', async (t) => {
  const api = createScriptedApi();
  for (let index = 0; index < 1_200; index++) api.put(PODS, pod(`p${index}`));
  const listed: (readonly string[])[] = [];
  follow(t, api, { onListed: (items) => listed.push(items) });
  await until('it watches', () => api.watches === 1);
  assert.deepEqual(
    listed.map((items) => items.length),
    [1_200],
  );
  assert.equal(api.calls.filter(({ verb }) => verb === 'list').length, 3);
});

test('startListWatch() lists anew when the version of its pages has become too old meanwhile', async (t) => {
  const api = createScriptedApi();
  for (let index = 0; index < 501; index++) api.put(PODS, pod(`p${index}`));
  const listed: number[] = [];
  const { clock } = follow(t, api, { onListed: (items) => listed.push(items.length) });
  await until('the second page is asked for', () => api.calls.length === 2);
  api.compact();
  await until('it waits', () => (clock.turn(250), api.calls.length >= 4));
  await until('it watches', () => api.watches === 1);
  assert.deepEqual(listed, [501]);
});

test('startListWatch() goes on from the last version after a lost watch, and misses nothing', async (t) => {
  const api = createScriptedApi();
  const { seen, clock, calls } = follow(t, api);
  await until('it watches', () => api.watches === 1);
  api.put(PODS, pod('a'));
  api.fail('watch', UNREACHABLE);
  api.cut({ ok: false, ...UNREACHABLE, message: 'gone' });
  api.put(PODS, pod('b'));
  await until('it tries in vain', () => (clock.turn(250), calls().length >= 3));
  api.fail('watch', undefined);
  await until('it watches again', () => (clock.turn(1_000), api.watches === 1));
  assert.deepEqual(seen, ['listed ', 'changed a=web', 'changed b=web']);
  assert.equal(calls().filter((call) => call === 'list').length, 1);
  assert.equal(calls().at(-1), 'watch 101');
});

test('startListWatch() lists anew after 410, and an object deleted meanwhile is not among them', async (t) => {
  const api = createScriptedApi();
  api.put(PODS, pod('a'));
  api.put(PODS, pod('b'));
  const { seen, clock } = follow(t, api);
  await until('it watches', () => api.watches === 1);
  api.fail('watch', UNREACHABLE);
  api.cut();
  await until('it tries in vain', () => (clock.turn(250), api.calls.length >= 3));
  api.remove(PODS, { namespace: 'shop', name: 'a' });
  api.compact();
  api.fail('watch', undefined);
  await until('it watches again', () => (clock.turn(1_000), api.watches === 1));
  assert.deepEqual(seen, ['listed a=web b=web', 'listed b=web']);
});

test('startListWatch() lists anew when an event says that the version is too old', async (t) => {
  const api = createScriptedApi();
  const { seen, listWatch } = follow(t, api);
  await until('it watches', () => api.watches === 1);
  api.put(PODS, pod('a'));
  api.cut({ ok: false, ...EXPIRED, message: 'too old' });
  await until('it has listed', () => seen.length === 3);
  assert.deepEqual(seen, ['listed ', 'changed a=web', 'listed a=web']);
  await until('it watches again', () => api.watches === 1);
  assert.equal(listWatch.status.kind, 'good');
});

test('startListWatch() passes over events that it has seen or that are older', async (t) => {
  const api = createScriptedApi();
  const { seen, reads } = follow(t, api);
  await until('it watches', () => api.watches === 1);
  const old = api.put(PODS, pod('a'));
  const now = api.put(PODS, pod('a', 'db'));
  for (const object of [now, old]) api.send(PODS, { kind: 'modified', object });
  api.send(PODS, { kind: 'deleted', object: old });
  assert.deepEqual(seen, ['listed ', 'changed a=web', 'changed a=db']);
  assert.equal(reads.length, 2);
});

test('startListWatch() goes on from a bookmark', async (t) => {
  const api = createScriptedApi();
  const { calls } = follow(t, api);
  await until('it watches', () => api.watches === 1);
  api.send(PODS, { kind: 'bookmark', resourceVersion: '4000' });
  api.cut();
  await until('it watches again', () => calls().length === 3);
  assert.deepEqual(calls(), ['list', 'watch 100', 'watch 4000']);
});

test('startListWatch() says which verb on which resource is refused, asks seldom, and goes on once it may', async (t) => {
  const api = createScriptedApi();
  api.fail('list', FORBIDDEN);
  const { clock, listWatch, calls } = follow(t, api, { namespace: 'shop' });
  await until('it fails', () => listWatch.status.kind === 'failing');
  assert.ok(listWatch.status.kind === 'failing');
  assert.match(
    listWatch.status.failure.message,
    /Cannot list pods in namespace shop.*verb "list" on "pods"/,
  );
  clock.turn(19_999);
  await nextTurn();
  assert.equal(calls().length, 1);
  api.fail('list', undefined);
  clock.turn(1);
  await until('it is good', () => listWatch.status.kind === 'good');
});

test('startListWatch() renews by lists what it may not watch', async (t) => {
  const api = createScriptedApi();
  api.fail('watch', FORBIDDEN);
  const { clock, seen, listWatch } = follow(t, api);
  await until('it fails', () => listWatch.status.kind === 'failing');
  api.put(PODS, pod('a'));
  clock.turn(20_000);
  await until('it has listed', () => seen.length === 2);
  assert.deepEqual(seen, ['listed ', 'listed a=web']);
});

test('startListWatch() cuts a wait short when it is told to', async (t) => {
  const api = createScriptedApi();
  api.fail('list', NOT_FOUND);
  const { listWatch } = follow(t, api);
  await until('it fails', () => listWatch.status.kind === 'failing');
  api.fail('list', undefined);
  listWatch.retryNow();
  await until('it watches', () => api.watches === 1);
});

test('startListWatch() follows the first version that the server has', async (t) => {
  const version = (text: string): KubeResource =>
    resource(`security.istio.io/${text}`, 'A', 'as', 'namespaced');
  const api = createScriptedApi();
  api.unserve(version('v1'));
  api.put(version('v1beta1'), pod('a'));
  const { seen } = follow(t, api, { resources: [version('v1'), version('v1beta1')] });
  await until('it watches', () => api.watches === 1);
  assert.deepEqual(seen, ['listed a=web']);
  assert.equal(api.calls.at(-1)?.version, 'v1beta1');
});

test('startListWatch() lists anew when taking an event over throws, after a wait', async (t) => {
  const api = createScriptedApi();
  let isFlawed = true;
  const seen: string[] = [];
  const { clock, listWatch } = follow(t, api, {
    onListed: (items) => seen.push(`listed ${items.join(' ')}`),
    onChanged: () => {
      if (isFlawed) throw new Error('no room');
    },
  });
  await until('it watches', () => api.watches === 1);
  api.put(PODS, pod('a'));
  await until('it fails', () => listWatch.status.kind === 'failing');
  assert.ok(listWatch.status.kind === 'failing');
  assert.equal(listWatch.status.failure.message, 'Cannot take over pods: no room');
  isFlawed = false;
  clock.turn(250);
  await until('it has listed', () => seen.length === 2);
  assert.deepEqual(seen, ['listed ', 'listed a=web']);
});

test('startListWatch() tells of nothing once it is disposed of', async (t) => {
  const api = createScriptedApi();
  const { seen, listWatch } = follow(t, api, { resources: [SERVICES] });
  await until('it watches', () => api.watches === 1);
  await listWatch[Symbol.asyncDispose]();
  api.put(SERVICES, pod('a'));
  assert.deepEqual(seen, ['listed ']);
  assert.equal(api.watches, 0);
});

test('isAfter() compares versions as numbers of any length', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['10', '9', true],
    ['9', '10', false],
    ['9', '9', false],
    ['99999999999999999999', '99999999999999999998', true],
    ['a', 'b', true],
    ['a', 'a', false],
    ['5', '', true],
  ];
  for (const [version, last, expected] of cases) assert.equal(isAfter(version, last), expected);
});
