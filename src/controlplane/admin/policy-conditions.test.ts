import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import type { Problem } from '@weft/model/problem';
import { policyOf } from '../../../test/support/policies.ts';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { PolicyReport } from '../status/policy-status.ts';
import { describePolicies } from './policy-conditions.ts';

const report = (more: Partial<PolicyReport> = {}): PolicyReport => ({
  kind: 'AuthorizationPolicy',
  namespace: 'shop',
  name: 'p',
  enforced: '1/1',
  isEnforced: true,
  since: '2026-01-01T00:00:00.000Z',
  workloads: [{ proxy: 'web-1.shop', enforced: true, version: 'v', by: 'confirmed' }],
  ...more,
});

function describe(
  reports: readonly PolicyReport[],
  problems: readonly Problem[] = [],
  authorization: readonly AuthorizationPolicy[] = [policyOf({ rules: [{}] })],
) {
  const mesh = {
    settings: { rootNamespace: 'weft-system' },
    policies: {
      authorization,
      peerAuthentication: [],
      requestAuthentication: [],
      basicAuthentication: [],
      traffic: [],
    },
  };
  const views: Pick<MeshViews, 'mesh' | 'problems'> = Object.assign(Object.create(null), {
    mesh: () => mesh,
    problems: () => problems,
  });
  return describePolicies(reports, views);
}

const problemOf = (severity: Problem['severity'], code: string): Problem => ({
  severity,
  code,
  message: `is ${code}`,
  object: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' },
});

const pending = report({
  isEnforced: false,
  enforced: '0/1',
  workloads: [
    { proxy: 'web-1.shop', enforced: false, version: 'v', by: 'nothing', reason: 'not-connected' },
  ],
});
const unsupported = {
  proxy: 'grpc-1.shop',
  enforced: false,
  version: 'v',
  by: 'nothing',
  reason: 'unsupported',
  detail: 'marks nothing',
} as const;
const never = report({ isEnforced: false, workloads: [...report().workloads, unsupported] });
const both = report({ isEnforced: false, workloads: [...pending.workloads, unsupported] });
const CASES: readonly (readonly [string, PolicyReport, readonly Problem[], string, RegExp])[] = [
  ['Enforced where every proxy confirms it', report(), [], 'Enforced', /^$/],
  ['Pending where one is not connected', pending, [], 'Pending', /web-1\.shop \(not-connected\)/],
  [
    'Unsupported where all others have it and one has nothing that could do it',
    never,
    [],
    'Unsupported',
    /^is not enforced by grpc-1\.shop \(unsupported: marks nothing\)$/,
  ],
  [
    'Pending where one is waited for, and another has nothing that could do it',
    both,
    [],
    'Pending',
    /^waits for web-1\.shop \(not-connected\); is not enforced by grpc-1\.shop \(unsupported/,
  ],
  [
    'Refused when it cannot be read',
    report(),
    [problemOf('error', 'unknown-field')],
    'Refused',
    /unknown-field/,
  ],
  [
    'Ignored when it selects nothing',
    report(),
    [problemOf('warning', 'selects-nothing')],
    'Ignored',
    /selects-nothing/,
  ],
  [
    'Ignored when nothing it selects has a sidecar',
    report({ workloads: [] }),
    [],
    'Ignored',
    /no workload/,
  ],
  [
    'Enforced, and says what gRPC servers close of it',
    report(),
    [problemOf('warning', 'closed-at-grpc'), problemOf('warning', 'closed-at-grpc')],
    'Enforced',
    /^is closed-at-grpc; and 1 more$/,
  ],
  ['Enforced with a warning', report(), [problemOf('warning', 'http-on-tcp')], 'Enforced', /^$/],
];
for (const [claim, one, problems, state, why] of CASES) {
  test(`a policy is ${claim}`, () => {
    const [described] = describe([one], problems);
    assert.equal(described?.state, state);
    assert.match(described.why ?? '', why);
    assert.equal(described.isAccepted, state !== 'Refused');
    assert.equal(described.problems.length, problems.length);
  });
}

test('a policy is Shadowed when others make every rule of it idle, and not when one is left', () => {
  const wide = policyOf({ rules: [{}] }, 'all');
  const path = (text: string) => ({ to: [{ operation: { paths: [text] } }] });
  const [shadowed] = describe([report()], [], [wide, policyOf({ rules: [path('/a')] })]);
  assert.equal(shadowed?.state, 'Shadowed');
  assert.match(shadowed.why ?? '', /rule 0 of shop\/all/);
  const [left] = describe(
    [report()],
    [],
    [policyOf({ rules: [path('/a*')] }, 'a'), policyOf({ rules: [path('/a/b'), path('/c')] })],
  );
  assert.equal(left?.state, 'Enforced');
});

test('a policy that is refused and leaves nothing in force is listed all the same', () => {
  const [only, ...others] = describe([], [problemOf('error', 'bad-yaml')]);
  assert.equal(others.length, 0);
  assert.equal(only?.state, 'Refused');
});

test('the digest says whether two policies say the same, whenever they were made', () => {
  const digest = (policy: AuthorizationPolicy) => describe([report()], [], [policy])[0]?.digest;
  const one = policyOf({ rules: [{}] });
  assert.ok(digest(one) !== undefined);
  assert.equal(digest(one), digest({ ...one, createdAtMs: 5 }));
  assert.notEqual(digest(one), digest(policyOf({ rules: [] })));
});

test('a policy on trial says where nobody counts what it would decide', () => {
  const trial = { ...policyOf({ rules: [{}] }), isDryRun: true };
  const idle = report({ workloads: [] });
  const [described] = describe([idle], [problemOf('warning', 'unenforced-at-grpc')], [trial]);
  assert.equal(described?.state, 'Ignored');
  assert.match(described.why ?? '', /it decides nothing; is unenforced-at-grpc$/);
});
