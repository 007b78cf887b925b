// Which WorkloadPolicies are read, and what is said of those that are not: field, value and cure.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainObject } from '../policy/reader.ts';
import { describeProblem } from '../problem.ts';
import { parseWorkloadPolicy, readBrokenWorkloadPolicy } from './parse-workload-policy.ts';
import type { WorkloadPolicyKind } from './types.ts';

const object = (spec: unknown, kind: WorkloadPolicyKind = 'WorkloadPolicy'): PlainObject => ({
  apiVersion: 'security.weft.dev/v1',
  kind,
  metadata: { name: 'p', ...(kind === 'WorkloadPolicy' && { namespace: 'shop' }) },
  spec,
});
const POD = { preset: 'restricted' };
const EXEMPTION = {
  who: { labels: { app: 'a' } },
  reason: 'moved by then',
  expires: '2027-01-31',
};

const REFUSED: readonly (readonly [string, unknown, RegExp])[] = [
  ['nothing that is asked', {}, /^spec: asks for nothing — set one of spec\.pod/],
  ['an empty section', { pod: {} }, /^spec\.pod: asks for nothing/],
  ['a misspelt field', { pod: { priviliged: false } }, /priviliged: unknown field .*"privileged"/],
  [
    'a demand to be unsafe',
    { pod: { privileged: true } },
    /spec\.pod\.privileged: can only be false/,
  ],
  ['an unknown mode', { mode: 'deny', pod: POD }, /spec\.mode: unknown mode "deny" — write one of/],
  [
    'an unknown preset',
    { pod: { preset: 'strict' } },
    /unknown preset "strict" — write baseline or/,
  ],
  [
    'a version that is not known yet',
    { pod: { ...POD, presetVersion: 'v1.99' } },
    /the standards of "v1\.99" are not known here — write latest, or v1\.25 to v1\.\d+/,
  ],
  ['a version alone', { pod: { presetVersion: 'v1.30', privileged: false } }, /goes with a preset/],
  [
    'a kind that makes no Pods',
    { match: { kinds: ['Service'] }, pod: POD },
    /"Service" makes no Pods/,
  ],
  ['an empty list of kinds', { match: { kinds: [] }, pod: POD }, /kinds: must not be empty/],
  [
    'namespaces of others',
    { match: { namespaces: ['x'] }, pod: POD },
    /spec\.match\.namespaces: unknown field/,
  ],
  ['a wildcard', { match: { labels: { app: 'w*' } }, pod: POD }, /wildcards are not supported/],
  [
    'an exemption of nobody',
    { pod: POD, exemptions: [{ ...EXEMPTION, who: {} }] },
    /exemptions\[0\]\.who: an exemption needs somebody/,
  ],
  [
    'an exemption without reason',
    { pod: POD, exemptions: [{ ...EXEMPTION, reason: ' ' }] },
    /exemptions\[0\]\.reason: an exemption needs a reason/,
  ],
  [
    'an exemption for ever',
    { pod: POD, exemptions: [{ who: EXEMPTION.who, reason: 'x' }] },
    /exemptions\[0\]\.expires: an exemption needs an end — write a date/,
  ],
  [
    'an end without zone',
    { pod: POD, exemptions: [{ ...EXEMPTION, expires: '2027-01-31T08:00:00' }] },
    /is no time/,
  ],
  [
    'an exemption from a check that there is not',
    { pod: POD, exemptions: [{ ...EXEMPTION, checks: ['root'] }] },
    /there is no check "root" — write one of runAsNonRoot,/,
  ],
  [
    'a path that leads elsewhere',
    { pod: { hostPaths: { allow: [{ path: '/var/../etc' }] } } },
    /is no whole path/,
  ],
  ['a port that is none', { pod: { hostPorts: { allow: [0] } } }, /this is no port/],
];
for (const [what, spec, said] of REFUSED) {
  test(`parseWorkloadPolicy() refuses ${what}`, () => {
    const parsed = parseWorkloadPolicy(object(spec), 'WorkloadPolicy');
    assert.equal(parsed.ok, false);
    assert.match(parsed.problems.map(describeProblem).join('\n'), said);
  });
}

test('parseWorkloadPolicy() reads all there is to say', () => {
  const parsed = parseWorkloadPolicy(
    object(
      {
        mode: 'warn',
        match: { kinds: ['Pod'], labels: { app: 'web' }, namespaces: ['a'], notNamespaces: ['b'] },
        exemptions: [{ ...EXEMPTION, checks: ['capabilities'] }],
        pod: {
          preset: 'baseline',
          presetVersion: 'v1.30',
          runAsNonRoot: true,
          hostPaths: { allow: [{ path: '/var/log/' }] },
          resources: { limits: ['memory'] },
        },
      },
      'ClusterWorkloadPolicy',
    ),
    'ClusterWorkloadPolicy',
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const { value } = parsed;
  assert.equal(value.namespace, '');
  assert.equal(value.mode, 'warn');
  assert.deepEqual(value.match.namespaces, ['a']);
  assert.equal(value.exemptions[0]?.expiresAtMs, Date.UTC(2027, 0, 31));
  assert.deepEqual(value.pod, {
    preset: { level: 'baseline', minor: 30, version: 'v1.30' },
    allowWeftCapture: false,
    runAsNonRoot: true,
    hostPaths: { allow: [{ path: '/var/log', readOnly: true }] },
    resources: { requests: [], limits: ['memory'] },
  });
});

test('what cannot be read refuses all that it can have selected (threat: a misspelt policy that asks for nothing)', () => {
  const spec = { match: { labels: { app: 'web' } }, pod: { preset: 'restrcted' } };
  const closed = readBrokenWorkloadPolicy(object(spec), 'WorkloadPolicy');
  assert.equal(closed?.mode, 'enforce');
  assert.ok(closed.broken);
  assert.deepEqual([...closed.match.labels], [['app', 'web']]);
  const doubtful = { match: { labels: { app: 'w*' }, kinds: ['Pod'] }, mode: 'enforced' };
  const wide = readBrokenWorkloadPolicy(object(doubtful), 'WorkloadPolicy');
  assert.equal(wide?.match.labels.size, 0);
  assert.ok(wide.match.kinds.length > 1);
  const noting = { ...spec, mode: 'audit' };
  assert.equal(readBrokenWorkloadPolicy(object(noting), 'WorkloadPolicy'), undefined);
});
