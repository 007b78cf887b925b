// What a trial would change is counted by caller and rule, in bounds, and only for what is on trial now.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileCandidates, compilePolicies } from '@weft/model/policy/compile';
import { compileRbac, type Trial } from '@weft/model/policy/evaluate';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import { httpRequest } from '../../../test/support/policies.ts';
import { markRequest } from '../filters/policy-marks.ts';
import { DryRunLedger } from './dry-run-ledger.ts';

const OPTIONS = {
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  protocol: 'http',
} as const;

function judge(spec: object, target: string) {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'tried', namespace: 'shop', annotations: { 'istio.io/dry-run': 'true' } },
    spec,
  });
  assert.ok(parsed.ok);
  const policies = [parsed.value];
  const evaluator = compileRbac(
    compilePolicies(policies, [], OPTIONS),
    compileCandidates(policies, OPTIONS),
  );
  const marks = markRequest(evaluator, httpRequest({ target }));
  assert.ok(marks?.dryRun !== undefined && evaluator.trial !== undefined);
  const trial: Trial = evaluator.trial;
  return { trial, verdict: marks.dryRun };
}

const DENY = { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/a'] } }] }] };

test('a request that would be decided otherwise is counted by its caller and the rule', () => {
  const ledger = new DryRunLedger();
  const [hit, miss] = [judge(DENY, '/a'), judge(DENY, '/b')];
  ledger.record('spiffe://x/ns/a/sa/b', hit.verdict);
  ledger.record('spiffe://x/ns/a/sa/b', hit.verdict);
  ledger.record('spiffe://x/ns/a/sa/b', miss.verdict);
  assert.deepEqual(ledger.report([hit.trial]), {
    rules: [{ action: 'DENY', name: 'ns[shop]-policy[tried]-rule[0]' }],
    judged: 3,
    changes: [
      {
        source: 'spiffe://x/ns/a/sa/b',
        today: 'allow',
        candidate: 'deny',
        reason: 'deny-rule',
        rule: 'ns[shop]-policy[tried]-rule[0]',
        count: 2,
      },
    ],
  });
});

test('what another version of the policy saw does not count', () => {
  const ledger = new DryRunLedger();
  ledger.record('a', judge(DENY, '/a').verdict);
  const other = judge({ action: 'DENY', rules: [{ to: [{ operation: { paths: ['/c'] } }] }] }, '/');
  assert.equal(ledger.report([other.trial]).judged, 0);
  assert.equal(ledger.report([]).judged, 0);
});

test('an ALLOW on trial that allows nothing is named, and would refuse everything', () => {
  const { trial, verdict } = judge({}, '/a');
  assert.equal(verdict.candidate.reason, 'no-allow-match');
  const { rules } = new DryRunLedger().report([trial]);
  assert.deepEqual(rules, [{ action: 'ALLOW', name: 'ns[shop]-policy[tried]-rule[none]' }]);
});

test('callers without end do not grow it without end, and every request is still counted', () => {
  const ledger = new DryRunLedger();
  const { trial, verdict } = judge(DENY, '/a');
  for (let index = 0; index < 3_000; index++) ledger.record(`caller-${index}`, verdict);
  const { changes } = ledger.report([trial]);
  assert.ok(changes.length <= 1_001);
  assert.equal(
    changes.reduce((sum, { count }) => sum + count, 0),
    3_000,
  );
});
