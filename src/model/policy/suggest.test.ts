// What is suggested from traffic that was seen, and that the suggestion allows that traffic and nothing else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { parseIp } from '../ip.ts';
import { compilePolicies } from './compile.ts';
import { compileRbac, type DecisionInput } from './evaluate.ts';
import { parseAuthorizationPolicy } from './parse-authorization-policy.ts';
import { isPlainObject } from './reader.ts';
import { formatSuggestion, type SeenCall, suggestPolicies } from './suggest.ts';

const call = (of: Partial<SeenCall>): SeenCall => ({
  workload: 'web',
  selector: new Map([['app', 'web']]),
  namespace: 'shop',
  source: 'spiffe://cluster.local/ns/shop/sa/cart',
  port: 8080,
  method: 'GET',
  path: '/items/{*}',
  isAllowed: true,
  count: 30,
  ...of,
});

const input = (of: Partial<DecisionInput>): DecisionInput => ({
  peerUri: 'spiffe://cluster.local/ns/shop/sa/cart',
  sourceIp: parseIp('10.0.0.1'),
  remoteIp: parseIp('10.0.0.1'),
  destinationIp: parseIp('10.0.0.2'),
  destinationPort: 8080,
  serverName: '',
  method: 'GET',
  path: '/items/7',
  target: '/items/7',
  authority: 'web',
  header: () => undefined,
  metadata: () => undefined,
  ...of,
});

function allows(calls: readonly SeenCall[]): (asked: Partial<DecisionInput>) => boolean {
  const policies = suggestPolicies(calls).map((policy) => {
    const object: unknown = parse(formatSuggestion(policy));
    assert.ok(isPlainObject(object));
    const parsed = parseAuthorizationPolicy(object);
    assert.ok(parsed.ok, JSON.stringify(parsed.problems));
    return parsed.value;
  });
  const options = {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    protocol: 'http',
  } as const;
  const evaluator = compileRbac(compilePolicies(policies, [], options));
  return (asked) => evaluator.decide(input(asked)).isAllowed;
}

test('a suggestion is a policy that allows what was seen, and nothing else', () => {
  const may = allows([
    call({}),
    call({ method: 'POST', path: '/orders', count: 3 }),
    call({ source: 'spiffe://cluster.local/ns/shop/sa/admin', path: '/admin', count: 1 }),
    call({ source: 'spiffe://cluster.local/ns/shop/sa/thief', path: '/vault', isAllowed: false }),
  ]);
  assert.ok(may({}));
  assert.ok(may({ method: 'POST', path: '/orders' }));
  assert.ok(may({ peerUri: 'spiffe://cluster.local/ns/shop/sa/admin', path: '/admin' }));
  assert.ok(!may({ path: '/admin' }));
  assert.ok(!may({ method: 'DELETE' }));
  assert.ok(!may({ destinationPort: 9090 }));
  assert.ok(!may({ path: '/items/7/8' }));
  assert.ok(!may({ peerUri: 'spiffe://cluster.local/ns/shop/sa/thief', path: '/vault' }));
  assert.ok(!may({ peerUri: undefined }));
});

test('a suggestion says how often each line was seen, and what it leaves out', () => {
  const [policy] = suggestPolicies([
    call({ count: 812 }),
    call({ method: 'PUT', path: '/a', count: 2 }),
    call({ source: '', count: 4 }),
    call({ isAllowed: false, count: 9 }),
  ]);
  assert.ok(policy);
  const text = formatSuggestion(policy);
  assert.match(text, /# 4 calls came without a certificate/);
  assert.match(text, /# 9 calls were refused/);
  assert.match(
    text,
    /# 812 calls, confidence high\n.*\n.*\n +methods: \["GET"\]\n +paths: \["\/items\/\{\*\}"\]/,
  );
  assert.match(text, /# 2 calls, confidence low/);
});

test('TCP connections are allowed by caller and port; a workload that nobody calls is closed', () => {
  const may = allows([call({ method: '', path: '', port: 7070 })]);
  assert.ok(may({ destinationPort: 7070, method: undefined, path: undefined, target: undefined }));
  assert.ok(!may({ destinationPort: 7071, method: undefined, path: undefined, target: undefined }));
  const closed = allows([call({ isAllowed: false })]);
  assert.ok(!closed({}));
});
