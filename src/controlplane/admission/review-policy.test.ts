// What the validating webhook refuses, what it lets by with a warning, and that it is in nobody's way otherwise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject } from '@weft/model/mesh/objects';
import type { PlainObject } from '@weft/model/policy/reader';
import { NO_KEYS } from '@weft/model/policy/token-rules';
import { authorizationOf, podOf, snapshotOf } from '../../../test/support/mesh-objects.ts';
import { compileMesh } from '../compile/compile-mesh.ts';
import type { Edge } from '../report/edge-ledger.ts';
import { reviewPolicy } from './review-policy.ts';
import { createTrial, type Trial } from './trial.ts';

const options = { rootNamespace: 'weft-system' };

const policy = (spec: unknown, more: PlainObject = {}): PlainObject => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec,
  ...more,
});
const asked = (object: PlainObject, more: PlainObject = {}): PlainObject => ({
  uid: 'u',
  operation: 'CREATE',
  object,
  ...more,
});
const MISSPELT = policy({ rules: [{ from: [{ source: { namespace: ['shop'] } }] }] });

test('a misspelt field is refused with its place and its cure (threat: a rule that says more than was meant)', () => {
  const { allowed, message, code } = reviewPolicy(asked(MISSPELT), options);
  assert.equal(allowed, false);
  assert.equal(code, 422);
  assert.match(
    message ?? '',
    /^AuthorizationPolicy shop\/p cannot be in force as written: spec\.rules\[0\]\.from\[0\]\.source\.namespace: unknown field "namespace" — did you mean "namespaces"\?/,
  );
});

test('a binding of credentials is reviewed as policies are', () => {
  const credential = { name: 'db', source: { secret: { name: 'shop-db' } }, ways: ['url'] };
  const binding = (spec: PlainObject): PlainObject => ({
    ...policy({ credentials: [credential], ...spec }),
    kind: 'CredentialBinding',
  });
  const trial: Trial = () => ({ problems: [], newlyRefused: [] });
  const good = reviewPolicy(asked(binding({ serviceAccounts: ['web'] })), { ...options, trial });
  assert.deepEqual([good.allowed, good.warnings], [true, []]);
  const bad = reviewPolicy(asked(binding({ serviceAccounts: ['*'] })), options);
  assert.match(bad.message ?? '', /^CredentialBinding shop\/p .*: spec\.serviceAccounts\[0\]:/);
});

test('of many problems the first are named, and the others counted', () => {
  const rules = Array.from({ length: 9 }, () => ({ form: [] }));
  const { message } = reviewPolicy(asked(policy({ rules })), options);
  assert.match(message ?? '', /spec\.rules\[4\]\.form: .*; and 4 more$/);
});

const REFUSED: readonly (readonly [string, PlainObject])[] = [
  [
    'what is read and not enforced',
    policy({ targetRefs: [{ kind: 'Service', name: 's', group: '' }] }),
  ],
  ['an unknown version', policy({}, { apiVersion: 'security.weft.dev/v9' })],
  ['a spec that is a list', policy([])],
  ['a misspelt spec', policy(undefined, { sepc: {} })],
];
for (const [what, object] of REFUSED) {
  test(`${what} is refused`, () => {
    assert.equal(reviewPolicy(asked(object), options).allowed, false);
  });
}

const with_ = (object: PlainObject, metadata: PlainObject): PlainObject => ({
  ...object,
  metadata: { name: 'p', namespace: 'shop', ...metadata },
});
const LEFT: readonly (readonly [string, PlainObject])[] = [
  ['a good one', asked(policy({ rules: [{}] }))],
  ['a change of status', asked(MISSPELT, { subResource: 'status', operation: 'UPDATE' })],
  [
    'a bad one that is given a finalizer',
    asked(with_(MISSPELT, { finalizers: ['a/b'] }), { operation: 'UPDATE', oldObject: MISSPELT }),
  ],
  [
    'a bad one whose last finalizer goes',
    asked(with_(MISSPELT, { deletionTimestamp: '2026-01-01T00:00:00Z' }), { operation: 'UPDATE' }),
  ],
  ['the deletion of a bad one', { operation: 'DELETE', oldObject: MISSPELT }],
  ['what has no object', { operation: 'CONNECT' }],
  ['a TrustBundle', asked({ apiVersion: 'mesh.weft.dev/v1', kind: 'TrustBundle' })],
  ['a Pod', asked({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } })],
  [
    'a kind of another mesh',
    asked({ apiVersion: 'policy.linkerd.io/v1', kind: 'AuthorizationPolicy' }),
  ],
];
for (const [what, request] of LEFT) {
  test(`${what} is let by`, () => {
    assert.equal(reviewPolicy(request, options).allowed, true);
  });
}

test('a bad one whose meaning changes with an annotation is refused', () => {
  const object = with_(MISSPELT, { annotations: { 'weft.dev/dry-run': 'true' } });
  const request = asked(object, { operation: 'UPDATE', oldObject: MISSPELT });
  assert.equal(reviewPolicy(request, options).allowed, false);
});

test('a MeshConfig where it is not read is let by with a warning', () => {
  const config = (namespace: string): PlainObject =>
    asked({
      apiVersion: 'mesh.weft.dev/v1',
      kind: 'MeshConfig',
      metadata: { name: 'm', namespace },
    });
  assert.match(reviewPolicy(config('shop'), options).warnings.join(), /namespace weft-system/);
  assert.deepEqual(reviewPolicy(config('weft-system'), options).warnings, []);
});

const seen: Edge = {
  proxy: 'web-1.shop',
  namespace: 'shop',
  source: 'spiffe://cluster.local/ns/shop/sa/cart',
  port: 8080,
  method: 'POST',
  path: '/items/{*}',
  isAllowed: true,
  count: 7,
  rule: '',
  firstSeenMs: 0,
  lastSeenMs: 0,
};

function createTrialRig(objects: readonly RegistryObject[]): {
  readonly trial: Trial;
  readonly clock: ReturnType<typeof createTurnableClock>;
} {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  const identity = { trustDomain, rootNamespace: 'weft-system' };
  const snapshot = snapshotOf(objects);
  const mesh = compileMesh(snapshot, identity);
  const clock = createTurnableClock();
  let elapsed = 0;
  const trial = createTrial({
    views: { mesh: () => mesh, snapshot: () => snapshot, keys: () => NO_KEYS },
    edges: { edges: () => [seen] },
    identity,
    clock,
    elapsedMs: () => (elapsed += 10),
  });
  return { trial, clock };
}

const READERS = { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] };

test('who would newly be refused is said as a warning, and nothing is changed by asking', () => {
  const { trial, clock } = createTrialRig([podOf('web')]);
  for (let at = 0; at < 2; at++) {
    const { allowed, warnings } = reviewPolicy(asked(policy(READERS)), { ...options, trial });
    assert.equal(allowed, true);
    assert.deepEqual(warnings, [
      'weft: would newly refuse spiffe://cluster.local/ns/shop/sa/cart at web-1.shop, POST /items/{*} on port 8080, seen 7 times lately: nothing allows it any more',
    ]);
    clock.turn(1_000);
  }
});

test('a deletion that takes away what allowed a call says so', () => {
  const both = [authorizationOf(READERS, 'readers'), authorizationOf({ rules: [{}] }, 'p')];
  const { trial } = createTrialRig([podOf('web'), ...both]);
  const request = { operation: 'DELETE', oldObject: policy({ rules: [{}] }) };
  assert.match(reviewPolicy(request, { ...options, trial }).warnings.join(), /newly refuse/);
});

const LINTED: readonly (readonly [string, unknown, RegExp])[] = [
  [
    'selects nothing',
    { selector: { matchLabels: { app: 'x' } }, rules: [{}] },
    /selects no workload/,
  ],
  [
    'names a method in small letters',
    { rules: [{ to: [{ operation: { methods: ['get'] } }] }] },
    /write GET/,
  ],
  [
    'names a port that nobody has',
    { rules: [{ to: [{ operation: { ports: ['81'] } }] }] },
    /here 8080/,
  ],
];
for (const [what, spec, said] of LINTED) {
  test(`a policy that ${what} is let by with a warning`, () => {
    const { trial } = createTrialRig([podOf('web')]);
    const { allowed, warnings } = reviewPolicy(asked(policy(spec)), { ...options, trial });
    assert.equal(allowed, true);
    assert.match(warnings.join('\n'), said);
  });
}

test('policies that are written one after another are not all tried: serving goes first', () => {
  const { trial, clock } = createTrialRig([podOf('web')]);
  const change = { key: 'k', ref: { kind: 'AuthorizationPolicy', name: 'p' }, object: undefined };
  assert.notEqual(trial(change), undefined);
  assert.equal(trial(change), undefined);
  clock.turn(41);
  assert.notEqual(trial(change), undefined);
});
