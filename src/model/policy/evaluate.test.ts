// What policies decide: each row a claim of the contract, or a flaw that others had.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decide,
  httpRequest,
  policyOf,
  tcpConnection,
  type RequestSpec,
} from '../../../test/support/policies.ts';
import { compilePolicies } from './compile.ts';
import { compileRbac } from './evaluate.ts';
import type { RbacChain } from './rbac.ts';
import type { AuthorizationPolicy } from './types.ts';

const WEB = 'cluster.local/ns/shop/sa/web';
const operation = (fields: object): object => ({ rules: [{ to: [{ operation: fields }] }] });
const source = (fields: object): object => ({ rules: [{ from: [{ source: fields }] }] });
const when = (key: string, values: readonly string[]): object => ({
  rules: [{ when: [{ key, values }] }],
});

interface Row {
  readonly claim: string;
  readonly spec: object;
  readonly request: RequestSpec;
  readonly isAllowed: boolean;
}

const rows: readonly Row[] = [
  { claim: 'an empty spec denies all', spec: {}, request: {}, isAllowed: false },
  { claim: 'an empty rule allows all', spec: { rules: [{}] }, request: {}, isAllowed: true },
  {
    claim: 'an empty DENY rule denies all',
    spec: { action: 'DENY', rules: [{}] },
    request: {},
    isAllowed: false,
  },
  {
    claim: 'the query does not hide a path (CVE-2020-8595)',
    spec: { action: 'DENY', ...operation({ paths: ['/admin'] }) },
    request: { target: '/admin?x' },
    isAllowed: false,
  },
  {
    claim: 'the fragment does not hide a path (CVE-2021-39156)',
    spec: { action: 'DENY', ...operation({ paths: ['/admin'] }) },
    request: { target: '/admin#x' },
    isAllowed: false,
  },
  {
    claim: 'hosts ignore case (CVE-2021-39155)',
    spec: { action: 'DENY', ...operation({ hosts: ['Admin.Example'] }) },
    request: { authority: 'aDMIN.eXAMPLE' },
    isAllowed: false,
  },
  {
    claim: 'a host with a port is another text, host:* covers it (ISTIO-SECURITY-2021-008)',
    spec: { action: 'DENY', ...operation({ hosts: ['a.b', 'a.b:*'] }) },
    request: { authority: 'A.b:8080' },
    isAllowed: false,
  },
  {
    claim: 'a dot in a service account is a dot (CVE-2026-39350)',
    spec: source({ serviceAccounts: ['shop/w.b'] }),
    request: { peer: WEB },
    isAllowed: false,
  },
  {
    claim: 'a service account of the own namespace needs no prefix',
    spec: source({ serviceAccounts: ['web'] }),
    request: { peer: WEB },
    isAllowed: true,
  },
  {
    claim:
      'a plaintext peer has no namespace: DENY by namespace lets it through, as in Istio (2021-004)',
    spec: { action: 'DENY', ...source({ namespaces: ['foo'] }) },
    request: {},
    isAllowed: true,
  },
  {
    claim: 'a plaintext peer has no namespace: ALLOW by namespace refuses it (2021-004)',
    spec: source({ namespaces: ['foo'] }),
    request: {},
    isAllowed: false,
  },
  {
    claim: 'a plaintext peer is nobody to principals "*" (2021-004)',
    spec: source({ principals: ['*'] }),
    request: {},
    isAllowed: false,
  },
  {
    claim: 'a header name in the policy has no case (GHSA-qc2q-p7wx-3px3)',
    spec: { action: 'DENY', ...when('request.headers[X-Deny]', ['yes']) },
    request: { headers: { 'x-deny': ['yes'] } },
    isAllowed: false,
  },
  {
    claim: 'any of several values of a header triggers a DENY (CVE-2020-25017)',
    spec: { action: 'DENY', ...when('request.headers[x]', ['b']) },
    request: { headers: { x: ['a', 'b'] } },
    isAllowed: false,
  },
  {
    claim: 'values of a header are not joined into one that matches (CVE-2026-26308)',
    spec: when('request.headers[x]', ['a,b']),
    request: { headers: { x: ['a', 'b'] } },
    isAllowed: false,
  },
  {
    claim: 'obs-text in a value does not make a DENY fail (CVE-2026-73552)',
    spec: { action: 'DENY', ...when('request.headers[x]', ['ad*']) },
    request: { headers: { x: ['ad\xff\x80'] } },
    isAllowed: false,
  },
  {
    claim: '{*} takes a literal star (CVE-2025-46821)',
    spec: { action: 'DENY', ...operation({ paths: ['/a/{*}'] }) },
    request: { target: '/a/*' },
    isAllowed: false,
  },
  {
    claim: 'in a DENY {*} takes any byte but a slash',
    spec: { action: 'DENY', ...operation({ paths: ['/a/{*}'] }) },
    request: { target: '/a/"<' },
    isAllowed: false,
  },
  {
    claim: 'in an ALLOW {*} takes only what may stand in a path',
    spec: operation({ paths: ['/a/{*}'] }),
    request: { target: '/a/"<' },
    isAllowed: false,
  },
  {
    claim: 'methods are compared in their case',
    spec: operation({ methods: ['GET'] }),
    request: { method: 'get' },
    isAllowed: false,
  },
  {
    claim: 'ports are the workload’s',
    spec: operation({ ports: ['8080'] }),
    request: { port: 8081 },
    isAllowed: false,
  },
  {
    claim: 'an address range takes its own family only',
    spec: source({ ipBlocks: ['::/0'] }),
    request: { sourceIp: '10.0.0.1' },
    isAllowed: false,
  },
  {
    claim: 'an IPv4-mapped address is the IPv4 address',
    spec: source({ ipBlocks: ['10.0.0.0/8'] }),
    request: { sourceIp: '::ffff:10.1.2.3' },
    isAllowed: true,
  },
];

for (const { claim, spec, request, isAllowed } of rows) {
  test(`evaluate: ${claim}`, () => {
    assert.equal(decide([policyOf(spec)], httpRequest(request)).isAllowed, isAllowed);
  });
}

test('evaluate: a suffix principal matches on TCP and on HTTP (CVE-2020-16844)', () => {
  const deny = policyOf({ action: 'DENY', ...source({ principals: ['*/sa/web'] }) });
  assert.equal(decide([deny], httpRequest({ peer: WEB })).isAllowed, false);
  assert.equal(decide([deny], tcpConnection({ peer: WEB })).isAllowed, false);
});

test('evaluate: on TCP an ALLOW rule with an HTTP field is gone, a DENY rule keeps its rest', () => {
  const fields = { methods: ['POST'], ports: ['8080'] };
  assert.equal(decide([policyOf(operation(fields))], tcpConnection({})).isAllowed, false);
  const deny = policyOf({ action: 'DENY', ...operation(fields) });
  assert.equal(decide([deny], tcpConnection({})).isAllowed, false);
  assert.equal(decide([deny], tcpConnection({ port: 9 })).isAllowed, true);
});

test('evaluate: the verdict names the rule that decided, DENY before ALLOW', () => {
  const allow = policyOf({ rules: [{}] }, 'open');
  const deny = policyOf(
    { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/x'] } }] }, {}] },
    'shut',
  );
  assert.deepEqual(decide([allow], httpRequest({})), {
    isAllowed: true,
    reason: 'allow-rule',
    decidedBy: 'ns[shop]-policy[open]-rule[0]',
  });
  assert.equal(decide([allow, deny], httpRequest({})).decidedBy, 'ns[shop]-policy[shut]-rule[1]');
  assert.equal(
    decide([allow, deny], httpRequest({ target: '/x' })).decidedBy,
    'ns[shop]-policy[shut]-rule[0]',
  );
  assert.deepEqual(decide([], httpRequest({})), {
    isAllowed: true,
    reason: 'no-policy',
    decidedBy: undefined,
  });
});

test('evaluate: a broken ALLOW allows nothing, anything else that is broken denies all', () => {
  const allow = policyOf(operation({ paths: ['/a'] }));
  const broken = (action: string | undefined) => [{ namespace: 'shop', name: 'b', action }];
  assert.equal(decide([], httpRequest({}), broken('ALLOW')).isAllowed, false);
  assert.equal(decide([allow], httpRequest({ target: '/a' }), broken('ALLOW')).isAllowed, true);
  for (const action of ['DENY', 'CUSTOM', 'NONSENSE', undefined]) {
    const verdict = decide([allow], httpRequest({ target: '/a' }), broken(action));
    assert.deepEqual([verdict.isAllowed, verdict.decidedBy], [false, 'ns[shop]-policy[b]-invalid']);
  }
});

const words = fc.constantFrom('/a', '/b', '/a/b', '/c/*', '*');
const peers = fc.constantFrom(WEB, 'cluster.local/ns/shop/sa/other', '*', 'cluster.local/ns/*');
const methods = fc.constantFrom('GET', 'POST');
const ruleArbitrary = fc
  .record({
    paths: fc.array(words, { maxLength: 2 }),
    notPaths: fc.array(words, { maxLength: 1 }),
    methods: fc.array(methods, { maxLength: 2 }),
    principals: fc.array(peers, { maxLength: 2 }),
    notPrincipals: fc.array(peers, { maxLength: 1 }),
  })
  .map((fields) => {
    const set = (names: readonly (keyof typeof fields)[]) =>
      Object.fromEntries(
        names.filter((name) => fields[name].length > 0).map((name) => [name, fields[name]]),
      );
    const to = set(['paths', 'notPaths', 'methods']);
    const from = set(['principals', 'notPrincipals']);
    return {
      ...(Object.keys(to).length > 0 && { to: [{ operation: to }] }),
      ...(Object.keys(from).length > 0 && { from: [{ source: from }] }),
    };
  });
let serial = 0;
const policyArbitrary = fc
  .record({
    action: fc.constantFrom('ALLOW', 'DENY'),
    rules: fc.array(ruleArbitrary, { minLength: 1, maxLength: 3 }),
  })
  .map((spec) => policyOf(spec, `p${serial++}`));
const requestArbitrary = fc
  .record({
    target: fc.constantFrom('/a', '/b', '/a/b', '/c/d', '/z'),
    method: methods,
    peer: fc.option(fc.constantFrom(WEB, 'cluster.local/ns/shop/sa/other', 'other/ns/x/sa/y'), {
      nil: undefined,
    }),
  })
  .map(({ peer, ...rest }) => httpRequest(peer === undefined ? rest : { ...rest, peer }));
const policiesArbitrary = fc.array(policyArbitrary, { maxLength: 6 });

test('property: the order of policies never matters', () => {
  fc.assert(
    fc.property(policiesArbitrary, requestArbitrary, (policies, request) => {
      const reversed = policies.toReversed();
      assert.equal(decide(policies, request).isAllowed, decide(reversed, request).isAllowed);
    }),
  );
});

test('property: adding a DENY never allows more', () => {
  fc.assert(
    fc.property(
      policiesArbitrary,
      policyArbitrary,
      requestArbitrary,
      (policies, extra, request) => {
        const deny: AuthorizationPolicy = { ...extra, action: 'DENY' };
        const before = decide(policies, request).isAllowed;
        assert.ok(before || !decide([...policies, deny], request).isAllowed);
      },
    ),
  );
});

test('property: removing an ALLOW never allows more unless it was the last', () => {
  fc.assert(
    fc.property(policiesArbitrary, requestArbitrary, (policies, request) => {
      const allows = policies.filter(({ action }) => action === 'ALLOW');
      if (allows.length < 2) return;
      const without = policies.filter((policy) => policy !== allows[0]);
      assert.ok(decide(policies, request).isAllowed || !decide(without, request).isAllowed);
    }),
  );
});

/** Hides every exact peer and path from the index: `or` with something that never matches and cannot be listed. */
function withoutIndex(chain: RbacChain): RbacChain {
  return chain.map((rules) => ({
    ...rules,
    policies: rules.policies.map((policy) => ({
      ...policy,
      permissions: [
        ...policy.permissions,
        { kind: 'not' as const, rule: { kind: 'any' as const } },
      ],
      principals: [...policy.principals, { kind: 'not' as const, id: { kind: 'any' as const } }],
    })),
  }));
}

test('property: the index decides as a walk through all rules does, and names the same rule', async () => {
  const options = {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    protocol: 'http',
  } as const;
  fc.assert(
    fc.property(policiesArbitrary, requestArbitrary, (policies, request) => {
      const chain = compilePolicies(policies, [], options);
      assert.deepEqual(
        compileRbac(chain).decide(request),
        compileRbac(withoutIndex(chain)).decide(request),
      );
    }),
    { numRuns: 500 },
  );
});

test('a decision among 10,000 rules costs about what it costs among 10', async () => {
  const options = {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    protocol: 'http',
  } as const;
  const policyWith = (count: number) =>
    policyOf({
      rules: Array.from({ length: 500 }, (_, rule) => ({
        to: Array.from({ length: Math.ceil(count / 500) }, (_unused, index) => ({
          operation: { paths: [`/p/${rule}/${index}`], methods: ['GET'] },
        })),
        from: [{ source: { principals: [WEB] } }],
      })),
    });
  const tests = { count: 0 };
  const counted = httpRequest({ peer: WEB, target: '/p/499/0' });
  /** Reads of the method count how many rules were really tried. */
  const input = Object.defineProperty({ ...counted }, 'method', {
    get: () => {
      tests.count++;
      return 'GET';
    },
  });
  const evaluator = compileRbac(compilePolicies([policyWith(10_000)], [], options));
  assert.equal(evaluator.decide(input).isAllowed, true);
  assert.ok(tests.count <= 20, `${tests.count} rules were tried`);
});

test('AUDIT rules mark what they match and never change a decision, in whatever order policies come', () => {
  const audit = policyOf({ action: 'AUDIT', rules: [{}] }, 'watch');
  const deny = policyOf({ action: 'DENY', rules: [{ to: [{ operation: { methods: ['PUT'] } }] }] });
  const options = {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    protocol: 'http',
  } as const;
  for (const policies of [
    [audit, deny],
    [deny, audit],
  ]) {
    const evaluator = compileRbac(compilePolicies(policies, [], options));
    for (const method of ['GET', 'PUT']) {
      const request = httpRequest({ method });
      assert.equal(evaluator.audit(request), 'ns[shop]-policy[watch]-rule[0]');
      assert.deepEqual(evaluator.decide(request), decide([deny], request));
    }
  }
  const alone = compileRbac(compilePolicies([audit], [], options));
  assert.equal(alone.decide(httpRequest({})).reason, 'no-policy');
});
