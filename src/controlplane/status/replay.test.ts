// Which callers a change newly refuses, told from calls that were seen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import { pino } from 'pino';
import { compileMesh } from '../compile/compile-mesh.ts';
import { EMPTY_FOLDER, mergeFolder } from '../registry/file/merge.ts';
import { readObjects } from '../registry/read-objects.ts';
import type { Edge } from '../report/edge-ledger.ts';
import { newlyRefused, type ReplayedCall } from './replay.ts';
import { REPLAY_DELAY_MS, ReplayWatch } from './replay-watch.ts';

const POD = `
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: web, ports: [{containerPort: 8080, name: http}]}]}
status: {podIP: 10.0.0.1, phase: Running}
`;
const policy = (name: string, spec: string): string => `---
apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
`;

function meshOf(...texts: readonly string[]): Mesh {
  const read = [readObjects(texts.join(''), 'a.yaml')];
  const { snapshot, problems } = mergeFolder(EMPTY_FOLDER, { read, gone: [], problems: [] });
  assert.deepEqual(
    problems.filter(({ severity }) => severity === 'error'),
    [],
  );
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  return compileMesh(snapshot, { trustDomain, rootNamespace: 'weft-system' });
}

const call = (of: Partial<ReplayedCall>): ReplayedCall => ({
  proxy: 'web-1.shop',
  source: 'spiffe://cluster.local/ns/shop/sa/cart',
  port: 8080,
  method: 'GET',
  path: '/items/{*}',
  isAllowed: true,
  count: 7,
  ...of,
});

const OPEN = meshOf(POD);
const NARROW = meshOf(
  POD,
  policy(
    'readers',
    '{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET]}}]}]}',
  ),
);

test('a call that was allowed and is refused now is named, with the reason', () => {
  const refused = newlyRefused([call({}), call({ method: 'POST' })], {
    before: OPEN,
    after: NARROW,
  });
  assert.deepEqual(
    refused.map(({ call: { method }, reason }) => [method, reason]),
    [['POST', 'no-allow-match']],
  );
});

test('the DENY rule that refuses it is named', () => {
  const after = meshOf(
    POD,
    policy('closed', '{action: DENY, rules: [{to: [{operation: {paths: ["/items/*"]}}]}]}'),
  );
  const [refused] = newlyRefused([call({})], { before: OPEN, after });
  assert.equal(refused?.decidedBy, 'ns[shop]-policy[closed]-rule[0]');
});

const NOT_TOLD: readonly (readonly [string, Partial<ReplayedCall>])[] = [
  ['was refused already', { method: 'POST', isAllowed: false }],
  ['went to a Pod that is gone', { method: 'POST', proxy: 'web-9.shop' }],
  ['was counted under no path', { method: 'POST', path: '' }],
];
for (const [claim, of] of NOT_TOLD) {
  test(`nothing is said of a call that ${claim}`, () => {
    assert.deepEqual(newlyRefused([call(of)], { before: OPEN, after: NARROW }), []);
  });
}

test('a call that the rules before are thought to refuse says nothing: its headers may have allowed it', () => {
  const before = meshOf(
    POD,
    policy('tenants', '{rules: [{when: [{key: "request.headers[x-tenant]", values: [a]}]}]}'),
  );
  const after = meshOf(POD, policy('nobody', '{}'));
  assert.deepEqual(newlyRefused([call({})], { before, after }), []);
});

test('ReplayWatch tells at each change, once', () => {
  const clock = createTurnableClock();
  let mesh = OPEN;
  const listeners = new Set<() => void>();
  const seen: Edge = {
    ...call({ method: 'POST' }),
    namespace: 'shop',
    rule: '',
    firstSeenMs: 0,
    lastSeenMs: 0,
  };
  using watch = new ReplayWatch({
    views: {
      mesh: () => mesh,
      subscribe: (listener) => {
        listeners.add(listener);
        return { [Symbol.dispose]: () => listeners.delete(listener) };
      },
    },
    edges: { edges: () => [seen] },
    log: pino({ level: 'silent' }),
    clock,
  });
  let told = 0;
  using _ = watch.onRefused(({ newlyRefused: { length } }) => (told += length));
  const change = (): void => {
    for (const listener of listeners) listener();
    clock.turn(REPLAY_DELAY_MS);
  };
  change();
  assert.equal(watch.reports().length, 0);
  mesh = NARROW;
  change();
  change();
  assert.equal(watch.reports().length, 1);
  assert.equal(watch.reports()[0]?.newlyRefused[0]?.call.method, 'POST');
  assert.equal(told, 1);
});
