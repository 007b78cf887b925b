import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import {
  AUTHORIZATION_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  NAMESPACES,
  PODS,
  SERVICES,
} from '@weft/kube/resource';
import {
  createScriptedApi,
  FORBIDDEN,
  NOT_FOUND,
  UNREACHABLE,
} from '@weft/kube/testing/scripted-api';
import { type Problem } from '@weft/model/problem';
import {
  ISTIO,
  ISTIO_BETA,
  ROUTES,
  P,
  SETTLE_MS,
  DENY,
  object,
  policy,
  watchCount,
  allWatched,
  turner,
  apiWithout,
  open,
} from './kubernetes-source-rig.ts';
import { openKubernetesSource } from './kubernetes-source.ts';

test('openKubernetesSource() serves nothing until every kind that restricts was read', async (t) => {
  const api = createScriptedApi();
  api.put(AUTHORIZATION_POLICIES, policy(DENY));
  api.fail('list', FORBIDDEN, AUTHORIZATION_POLICIES);
  const clock = createTurnableClock();
  const waiting: (readonly Problem[])[] = [];
  const opening = openKubernetesSource({
    client: api.client,
    rootNamespace: 'weft-system',
    clock,
    onWaiting: (reasons) => waiting.push(reasons),
  });
  const until = turner(clock, 0);
  await until('it says why it waits', () => waiting.length > 0);
  const [reason] = waiting[0] ?? [];
  assert.equal(reason?.code, 'not-permitted');
  assert.match(
    reason.message,
    /Cannot list authorizationpolicies\.security\.weft\.dev in all namespaces: .*verb "list" on "authorizationpolicies\.security\.weft\.dev"; nothing is served before it is read/,
  );
  assert.equal(await Promise.race([opening, nextTurn('still waiting')]), 'still waiting');
  api.fail('list', undefined, AUTHORIZATION_POLICIES);
  clock.turn(20_000);
  const source = await opening;
  t.after(() => source[Symbol.asyncDispose]());
  assert.equal(source.state.snapshot.objects.get(P)?.kind, 'AuthorizationPolicy');
  assert.deepEqual(source.state.problems, []);
});

test('openKubernetesSource() says that the CRDs are missing, and what to do', async (t) => {
  const api = apiWithout(AUTHORIZATION_POLICIES);
  const controller = new AbortController();
  const told = Promise.withResolvers<readonly Problem[]>();
  const opening = openKubernetesSource({
    client: api.client,
    rootNamespace: 'weft-system',
    signal: controller.signal,
    onWaiting: told.resolve,
  });
  t.after(() => controller.abort());
  const [problem] = await told.promise;
  assert.equal(problem?.code, 'not-installed');
  assert.match(problem.cure ?? '', /install the CustomResourceDefinitions/);
  controller.abort(new Error('stopped'));
  await assert.rejects(opening, /stopped/);
  assert.equal(api.watches, 0);
});

test('openKubernetesSource() waits for no kind of others that is not installed', async (t) => {
  const api = apiWithout(ISTIO, ISTIO_BETA, ROUTES);
  const { source, codes } = await open(t, api);
  assert.equal(source.state.snapshot.revision, 1);
  assert.deepEqual(codes(), []);
});

test('openKubernetesSource() waits for Istio policies that it may not read', async () => {
  const api = createScriptedApi();
  api.fail('list', FORBIDDEN, ISTIO);
  const controller = new AbortController();
  const opening = openKubernetesSource({
    client: api.client,
    rootNamespace: 'weft-system',
    signal: controller.signal,
    onWaiting: () => controller.abort(new Error('it waits')),
  });
  await assert.rejects(opening, /it waits/);
});

test('a cluster as a source keeps what was read while the API server is away, and says so once', async (t) => {
  const api = createScriptedApi();
  api.put(AUTHORIZATION_POLICIES, policy(DENY));
  const rig = await open(t, api);
  await allWatched(rig);
  const { snapshot } = rig.source.state;
  for (const verb of ['list', 'watch'] as const) api.fail(verb, UNREACHABLE);
  api.cut({ ok: false, ...UNREACHABLE, message: 'gone' });
  await rig.until('it says so', () => rig.codes().length > 0);
  assert.deepEqual(rig.codes(), ['warning api-server-unreachable']);
  assert.equal(rig.source.state.snapshot, snapshot);
  assert.notEqual(rig.source.staleSinceMs, undefined);
  for (const verb of ['list', 'watch'] as const) api.fail(verb, undefined);
  await rig.until('it is solved', () => rig.codes().length === 0);
  assert.equal(rig.source.state.snapshot, snapshot);
  assert.equal(rig.source.staleSinceMs, undefined);
});

test('a cluster as a source is up to date as soon as one of its waits has found the API server back', async (t) => {
  const api = createScriptedApi();
  let waits = 0;
  const rig = await open(t, api, { random: () => (waits++ % 13) / 13 });
  await allWatched(rig);
  api.fail('watch', UNREACHABLE);
  api.cut();
  const isLong = (): boolean => rig.clock.now() - startedMs > 120_000;
  const startedMs = rig.clock.now();
  await rig.until('waits have become long', isLong);
  api.fail('watch', undefined);
  await rig.until('one is back', () => api.watches > 0);
  const backMs = rig.clock.now();
  await allWatched(rig);
  assert.ok(rig.clock.now() - backMs < 1_000, `${rig.clock.now() - backMs} ms`);
});

test('a cluster as a source drops what was deleted while it could not watch', async (t) => {
  const api = createScriptedApi();
  api.put(AUTHORIZATION_POLICIES, policy(DENY));
  const rig = await open(t, api);
  await allWatched(rig);
  api.fail('watch', UNREACHABLE, AUTHORIZATION_POLICIES);
  api.cut();
  api.remove(AUTHORIZATION_POLICIES, { namespace: 'shop', name: 'p' });
  api.compact();
  api.fail('watch', undefined, AUTHORIZATION_POLICIES);
  await rig.until('it is gone', () => rig.show() === 'none');
  assert.equal(rig.source.state.origins?.size, 0);
});

test('a cluster as a source tells of a burst of changes once', async (t) => {
  const rig = await open(t, createScriptedApi());
  await allWatched(rig);
  rig.clock.turn(SETTLE_MS);
  let told = 0;
  using _ = rig.source.subscribe(() => told++);
  for (let index = 0; index < 100; index++) rig.api.put(SERVICES, object(`s${index}`));
  rig.clock.turn(SETTLE_MS);
  assert.equal(told, 1);
  assert.equal(rig.source.state.snapshot.objects.size, 100);
});

test('a cluster as a source tells of changes that never rest after five times its patience', async (t) => {
  const rig = await open(t, createScriptedApi());
  await allWatched(rig);
  rig.clock.turn(SETTLE_MS);
  let told = 0;
  using _ = rig.source.subscribe(() => told++);
  for (let index = 0; index < 10; index++) {
    rig.api.put(SERVICES, object(`s${index}`));
    rig.clock.turn(SETTLE_MS - 1);
  }
  assert.equal(told, 1);
});

test('a cluster as a source picks up policies of Istio when their CRD comes, and drops them when it goes', async (t) => {
  const api = apiWithout(ISTIO, ISTIO_BETA);
  const rig = await open(t, api);
  const crd = { metadata: { name: 'authorizationpolicies.security.istio.io' } };
  await rig.until('CRDs are watched', () => api.watches === watchCount() - 1);
  api.put(CUSTOM_RESOURCE_DEFINITIONS, crd);
  await rig.until('it waits for the server', () => rig.codes().length >= 0);
  api.serve(ISTIO_BETA);
  api.put(ISTIO_BETA, policy(DENY));
  await rig.until('it is in force', () => rig.show() === 'DENY');
  assert.equal(rig.source.state.origins?.get(P)?.resource.version, 'v1beta1');
  api.unserve(ISTIO_BETA);
  api.remove(CUSTOM_RESOURCE_DEFINITIONS, crd.metadata);
  api.cut({ ok: false, ...NOT_FOUND, message: 'gone' });
  await rig.until('it is gone', () => rig.show() === 'none');
  await rig.until('nothing is amiss', () => rig.codes().length === 0);
});

test('a cluster as a source keeps policies of Istio over one answer that there is no such kind', async (t) => {
  const api = createScriptedApi();
  api.fail('list', FORBIDDEN, CUSTOM_RESOURCE_DEFINITIONS);
  api.put(ISTIO, policy(DENY));
  const rig = await open(t, api);
  await rig.until('it is watched', () => api.watches === watchCount() - 1);
  const lists = (): number =>
    api.calls.filter(({ verb, resource: of }) => verb === 'list' && of.endsWith('istio.io')).length;
  const before = lists();
  for (const each of [ISTIO, ISTIO_BETA]) api.unserve(each);
  api.cut({ ok: false, ...NOT_FOUND, message: 'gone' });
  await rig.until('it has asked', () => lists() > before);
  api.serve(ISTIO);
  assert.equal(rig.show(), 'DENY');
  await rig.until('it is watched again', () => api.watches === watchCount() - 1);
  assert.equal(rig.show(), 'DENY');
});

test('a cluster as a source has no Pod that has ended, and none ready of which nobody said so', async (t) => {
  const api = createScriptedApi();
  api.put(PODS, object('done', { status: { phase: 'Succeeded', podIP: '10.0.0.1' } }));
  api.put(PODS, object('new', { status: { phase: 'Running', podIP: '10.0.0.2' } }));
  const { source } = await open(t, api);
  assert.deepEqual([...source.state.snapshot.objects.keys()], ['Pod/shop/new']);
  const pod = source.state.snapshot.objects.get('Pod/shop/new');
  assert.equal(pod?.kind === 'Pod' && pod.isReady, false);
});

test('a cluster as a source keeps no annotations but those of the mesh', async (t) => {
  const api = createScriptedApi();
  const annotations = { 'weft.dev/inject': 'true', 'kubectl.kubernetes.io/last-applied': '{}' };
  api.put(PODS, object('web', {}, { annotations }));
  const { source } = await open(t, api);
  const pod = source.state.snapshot.objects.get('Pod/shop/web');
  assert.ok(pod?.kind === 'Pod');
  assert.deepEqual([...pod.meta.annotations.keys()], ['weft.dev/inject']);
});

test('a cluster as a source takes a route that is attached to a Service, and keeps its origin', async (t) => {
  const api = createScriptedApi();
  const spec = { parentRefs: [{ group: '', kind: 'Service', name: 'web' }] };
  api.put(ROUTES, object('r', { spec }));
  const { source, until, codes } = await open(t, api);
  const key = 'HTTPRoute/shop/r';
  await until('it is read', () => source.state.snapshot.objects.has(key));
  assert.deepEqual(codes(), []);
  assert.equal(source.state.origins?.get(key)?.resource.kind, 'HTTPRoute');
});

test('a cluster as a source asks only within its namespaces when it has some', async (t) => {
  const api = createScriptedApi();
  for (const name of ['shop', 'other', 'weft-system']) api.put(NAMESPACES, { metadata: { name } });
  api.put(SERVICES, object('s'));
  api.put(SERVICES, object('s', {}, { namespace: 'other' }));
  const { source } = await open(t, api, { namespaces: ['shop'] });
  assert.deepEqual([...source.state.snapshot.objects.keys()].sort(), [
    'Namespace//shop',
    'Namespace//weft-system',
    'Service/shop/s',
  ]);
  const wide = api.calls.filter(({ verb, namespace }) => verb !== 'get' && namespace === undefined);
  assert.deepEqual(wide, []);
});

test('a cluster as a source finds the new labels of a namespace that it may only get', async (t) => {
  const api = createScriptedApi();
  api.put(NAMESPACES, { metadata: { name: 'shop' } });
  const rig = await open(t, api, { namespaces: ['shop'] });
  api.put(NAMESPACES, { metadata: { name: 'shop', labels: { a: 'b' } } });
  await rig.until('it is found', () => {
    const found = rig.source.state.snapshot.objects.get('Namespace//shop');
    return found?.kind === 'Namespace' && found.meta.labels.get('a') === 'b';
  });
  api.remove(NAMESPACES, { name: 'shop' });
  await rig.until('it is gone', () => !rig.source.state.snapshot.objects.has('Namespace//shop'));
});
