// What `weft policy status` says of WorkloadPolicies: what the leader wrote into each object, and never more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import { WORKLOAD_POLICIES } from '@weft/kube/resource';
import type { PlainObject } from '@weft/model/policy/reader';
import type { ObjectOrigin, SourceState } from '../registry/source.ts';
import { describeWorkloadPolicies } from './workload-policies.ts';

const KEY = 'WorkloadPolicy/shop/p';

function stateOf(mode: string, origin?: Partial<ObjectOrigin>): SourceState {
  const metadata = { name: 'p', namespace: 'shop' };
  const spec = { mode, pod: { preset: 'baseline' } };
  const object = {
    apiVersion: 'security.weft.dev/v1',
    kind: 'WorkloadPolicy',
    metadata,
    spec,
  };
  const parsed = parseWorkloadPolicy(object, 'WorkloadPolicy');
  assert.ok(parsed.ok);
  const objects = new Map([[KEY, { kind: 'WorkloadPolicy' as const, policy: parsed.value }]]);
  const whole = {
    resource: WORKLOAD_POLICIES,
    uid: 'u',
    generation: 2,
    resourceVersion: '1',
    isGood: true,
    problems: [],
    status: undefined,
  };
  return {
    snapshot: { revision: 1, objects },
    problems: [],
    ...(origin && { origins: new Map([[KEY, { ...whole, ...origin }]]) }),
  };
}

const enforced = (status: string, observedGeneration = 2): PlainObject => ({
  conditions: [{ type: 'Enforced', status, observedGeneration, message: 'm' }],
});

const CASES: readonly (readonly [string, SourceState, string, boolean])[] = [
  ['enforced', stateOf('enforce', { status: enforced('True') }), 'Enforced', true],
  [
    'enforced in an older version (threat: a wait that ends early)',
    stateOf('enforce', { status: enforced('True', 1) }),
    'Pending',
    false,
  ],
  ['not enforced yet', stateOf('enforce', { status: enforced('False') }), 'Pending', false],
  ['without a status', stateOf('enforce', {}), 'Pending', false],
  ['warning', stateOf('warn', { status: enforced('False') }), 'Observing', false],
  ['refused', stateOf('enforce', { isGood: false, status: enforced('True') }), 'Refused', false],
  ['of a folder', stateOf('enforce'), 'Ignored', false],
];
for (const [what, state, wanted, isEnforced] of CASES) {
  test(`one that is ${what} is ${wanted}`, () => {
    const [one, ...more] = describeWorkloadPolicies(state);
    assert.deepEqual(more, []);
    assert.equal(one?.state, wanted);
    assert.equal(one.isEnforced, isEnforced);
    assert.equal(one.namespace, 'shop');
  });
}

test('Pods that have more vulnerabilities than may be are problems of a policy, enforced or not', () => {
  const vulnerable = (status: string): readonly string[] | undefined => {
    const conditions = [{ type: 'Vulnerable', status, message: '1 of 2 Pods: shop/web' }];
    return describeWorkloadPolicies(stateOf('enforce', { status: { conditions } }))[0]?.problems;
  };
  assert.deepEqual(vulnerable('True'), ['1 of 2 Pods: shop/web']);
  assert.deepEqual(vulnerable('False'), []);
});
