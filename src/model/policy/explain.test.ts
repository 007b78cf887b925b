// What a refusal is explained by: the rule that came nearest, and the field of it that failed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../ip.ts';
import { compilePolicies } from './compile.ts';
import { compileRbac, type DecisionInput, type Evaluator } from './evaluate.ts';
import { failuresOf, formatClause, formatNearMiss, nearestAllow } from './explain.ts';
import { parseAuthorizationPolicy } from './parse-authorization-policy.ts';
import type { PlainObject } from './reader.ts';

const OPTIONS = { trustDomain: 'cluster.local', trustDomainAliases: [], protocol: 'http' } as const;

function evaluatorOf(...specs: readonly PlainObject[]): Evaluator {
  const policies = specs.map((spec, index) => {
    const parsed = parseAuthorizationPolicy({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { namespace: 'shop', name: `p${index}` },
      spec,
    });
    assert.ok(parsed.ok, JSON.stringify(parsed.problems));
    return parsed.value;
  });
  return compileRbac(compilePolicies(policies, [], OPTIONS));
}

function request(
  of: Partial<DecisionInput> & { readonly headers?: Record<string, string> },
): DecisionInput {
  return {
    peerUri: 'spiffe://cluster.local/ns/shop/sa/web',
    sourceIp: parseIp('10.0.0.7'),
    remoteIp: parseIp('10.0.0.7'),
    destinationIp: parseIp('10.0.0.9'),
    destinationPort: 8080,
    serverName: '',
    method: 'GET',
    path: '/items/3',
    target: '/items/3',
    authority: 'web.shop',
    header: (name) => {
      const value = of.headers?.[name];
      return value === undefined ? undefined : [value];
    },
    metadata: () => undefined,
    ...of,
  };
}

const rule = (fields: {
  readonly source?: PlainObject;
  readonly operation?: PlainObject;
  readonly when?: readonly PlainObject[];
}): PlainObject => ({
  rules: [
    {
      ...(fields.source && { from: [{ source: fields.source }] }),
      ...(fields.operation && { to: [{ operation: fields.operation }] }),
      ...(fields.when && { when: fields.when }),
    },
  ],
});

const CASES: readonly {
  readonly name: string;
  readonly spec: PlainObject;
  readonly input?: Parameters<typeof request>[0];
  readonly says: string;
}[] = [
  {
    name: 'another method',
    spec: rule({ operation: { methods: ['POST', 'PUT'], paths: ['/items/*'] } }),
    says: 'method is "GET", and must be one of POST, PUT',
  },
  {
    name: 'another principal',
    spec: rule({ source: { principals: ['cluster.local/ns/shop/sa/cart'] } }),
    says: 'source.principal is "cluster.local/ns/shop/sa/web", and must be cluster.local/ns/shop/sa/cart',
  },
  {
    name: 'no certificate',
    spec: rule({ source: { namespaces: ['shop'] } }),
    input: { peerUri: undefined },
    says: 'the caller has no certificate, and source.principal must be namespace shop',
  },
  {
    name: 'a path outside a prefix and a template',
    spec: rule({ operation: { paths: ['/carts/*', '/users/{*}/cart'] } }),
    says: 'path is "/items/3", and must be one of /carts/*, /users/{*}/cart',
  },
  {
    name: 'a path that is excluded',
    spec: rule({ operation: { paths: ['*'], notPaths: ['/items/*'] } }),
    says: 'path is "/items/3", and must not be /items/*',
  },
  {
    name: 'another port',
    spec: rule({ operation: { ports: ['9090'] } }),
    says: 'port is "8080", and must be 9090',
  },
  {
    name: 'an address outside a range',
    spec: rule({ source: { ipBlocks: ['10.1.0.0/16'] } }),
    says: 'source.ip is "10.0.0.7", and must be 10.1.0.0/16',
  },
  {
    name: 'a header with another value',
    spec: rule({ when: [{ key: 'request.headers[x-tenant]', values: ['a'] }] }),
    input: { headers: { 'x-tenant': 'b' } },
    says: 'request.headers[x-tenant] is "b", and must be a',
  },
  {
    name: 'a claim that is not there',
    spec: rule({ when: [{ key: 'request.auth.claims[role]', values: ['admin'] }] }),
    says: 'there is no request.auth.claims[role], and request.auth.claims[role] must be admin',
  },
  {
    name: 'a request principal that is not there',
    spec: rule({ source: { requestPrincipals: ['issuer/subject'] } }),
    says: 'there is no request.auth.principal, and request.auth.principal must be issuer/subject',
  },
];

for (const { name, spec, input = {}, says } of CASES) {
  test(`nearestAllow() names the field that failed: ${name}`, () => {
    const evaluator = evaluatorOf(spec);
    const asked = request(input);
    assert.equal(evaluator.decide(asked).reason, 'no-allow-match');
    const near = nearestAllow(evaluator, asked);
    assert.equal(near?.failed.map(formatClause).join('; '), says);
    assert.equal(near.rule, 'ns[shop]-policy[p0]-rule[0]');
  });
}

test('nearestAllow() prefers the rule of which the fewest fields failed', () => {
  const evaluator = evaluatorOf(
    rule({ source: { namespaces: ['other'] }, operation: { methods: ['POST'] } }),
    rule({ source: { namespaces: ['shop'] }, operation: { methods: ['POST'] } }),
  );
  const near = nearestAllow(evaluator, request({}));
  assert.ok(near);
  assert.equal(
    formatNearMiss(near),
    'ns[shop]-policy[p1]-rule[0]: method is "GET", and must be POST',
  );
});

test('nearestAllow() has nothing to say where nothing is allowed at all, and failuresOf() nothing of a match', () => {
  assert.equal(nearestAllow(evaluatorOf({}), request({})), undefined);
  const evaluator = evaluatorOf(rule({ operation: { methods: ['GET'] } }));
  const [policy] = evaluator.chain[0]?.policies ?? [];
  assert.ok(policy);
  assert.deepEqual(failuresOf(policy, request({}), false), []);
});

test('nearestAllow() looks at a bounded number of rules', () => {
  const rules = Array.from({ length: 500 }, (_, at) => ({
    to: [{ operation: { paths: [`/p${at}`], methods: ['PUT'] } }],
  }));
  const evaluator = evaluatorOf({ rules });
  let asked = 0;
  const input = request({});
  const counting: DecisionInput = Object.defineProperty({ ...input }, 'path', {
    get: () => {
      asked++;
      return '/x';
    },
  });
  nearestAllow(evaluator, counting);
  assert.ok(asked < 256 * 6, `${asked}`);
});
