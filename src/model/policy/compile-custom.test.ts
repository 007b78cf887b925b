// CUSTOM policies: what is asked about on HTTP, what is closed on TCP, and what is closed when nobody can be asked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpRequest, policyOf, tcpConnection } from '../../../test/support/policies.ts';
import { compileCustom, compilePolicies } from './compile.ts';
import { compileRbac } from './evaluate.ts';

const options = (protocol: 'http' | 'tcp', ...providers: readonly string[]) => ({
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  protocol,
  providers: new Set(providers),
});
const custom = (provider: string, rules: readonly object[], name = 'ask') =>
  policyOf({ action: 'CUSTOM', provider: { name: provider }, rules }, name);
const ADMIN = { to: [{ operation: { paths: ['/admin*'] } }] };
const PORT = { to: [{ operation: { ports: ['7000'] } }] };

test('compileCustom() asks each provider about what its own policies match, in the order of names', () => {
  const policies = [custom('b', [ADMIN]), custom('a', [PORT], 'other')];
  const compiled = compileCustom(policies, options('http', 'a', 'b'));
  assert.deepEqual(
    compiled.map(({ provider, rules }) => [provider, rules.policies.map(({ name }) => name)]),
    [
      ['a', ['ns[shop]-policy[other]-rule[0]']],
      ['b', ['ns[shop]-policy[ask]-rule[0]']],
    ],
  );
  const [, about] = compiled;
  assert.ok(about !== undefined);
  const evaluator = compileRbac([about.rules]);
  assert.equal(evaluator.decide(httpRequest({ target: '/admin/x' })).isAllowed, false);
  assert.equal(evaluator.decide(httpRequest({ target: '/' })).isAllowed, true);
});

test('compilePolicies() leaves to the provider what can be asked, and denies all where it is missing (istio#40944)', () => {
  const policies = [custom('a', [ADMIN])];
  const decide = (known: readonly string[], target: string) =>
    compileRbac(compilePolicies(policies, [], options('http', ...known))).decide(
      httpRequest({ target }),
    );
  assert.equal(decide(['a'], '/admin').reason, 'no-policy');
  assert.equal(decide([], '/').decidedBy, 'ns[shop]-policy[ask]-invalid');
  assert.equal(decide(['b'], '/').isAllowed, false);
  assert.deepEqual(compileCustom(policies, options('http', 'b')), []);
});

test('compilePolicies() denies on TCP what a CUSTOM rule matches without its HTTP fields: nobody asks there', () => {
  const decide = (rule: object, port: number) =>
    compileRbac(compilePolicies([custom('a', [rule])], [], options('tcp', 'a'))).decide(
      tcpConnection({ port }),
    );
  assert.equal(decide(PORT, 7000).isAllowed, false);
  assert.equal(decide(PORT, 7001).isAllowed, true);
  assert.equal(decide(ADMIN, 7001).isAllowed, false);
});
