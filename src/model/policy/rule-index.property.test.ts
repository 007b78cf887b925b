// The index finds exactly what trying every rule would find, the named rule included.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { parseIp } from '../ip.ts';
import { compilePolicies } from './compile.ts';
import {
  compilePermission,
  compilePrincipal,
  compileRbac,
  type DecisionInput,
} from './evaluate.ts';
import { parseAuthorizationPolicy } from './parse-authorization-policy.ts';
import type { RbacChain } from './rbac.ts';
import type { AuthorizationPolicy } from './types.ts';

const NAMESPACES = ['a', 'b', 'ns'];
const ACCOUNTS = ['x', 'y', 'ns'];
const SEGMENTS = ['api', 'v1', 'a', 'ns', ''];

const account = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  name: fc.constantFrom(...ACCOUNTS),
});
const path = fc
  .array(fc.constantFrom(...SEGMENTS), { minLength: 1, maxLength: 10 })
  .map((segments) => `/${segments.join('/')}`);
const pathPattern = fc.oneof(
  path,
  path.map((text) => `${text}*`),
  path.map((text) => `${text}/*`),
  path.map((text) => `*${text}`),
  fc.constantFrom('/api/{*}/a', '/api/v1/{**}', '/{*}/v1', '/{**}', '*'),
);
const principal = fc.oneof(
  account.map(({ namespace, name }) => `cluster.local/ns/${namespace}/sa/${name}`),
  fc.constantFrom('*', 'cluster.local/ns/a/*', '*/sa/x', '*/ns/b/sa/y', 'cluster.local/*'),
);
const few = <T>(of: fc.Arbitrary<T>) => fc.array(of, { minLength: 1, maxLength: 3 });

const source = fc.oneof(
  fc.record({ principals: few(principal) }),
  fc.record({ notPrincipals: few(principal) }),
  fc.record({ namespaces: few(fc.constantFrom('a', 'b', 'ns', 'a*', '*b', '*')) }),
  fc.record({ serviceAccounts: few(account.map(({ namespace, name }) => `${namespace}/${name}`)) }),
  fc.record({ principals: few(principal), notNamespaces: few(fc.constantFrom(...NAMESPACES)) }),
);
const operation = fc.oneof(
  fc.record({ paths: few(pathPattern) }),
  fc.record({ notPaths: few(pathPattern) }),
  fc.record({ ports: few(fc.constantFrom('80', '8080')) }),
  fc.record({ paths: few(pathPattern), methods: few(fc.constantFrom('GET', 'P*')) }),
  fc.record({ ports: few(fc.constantFrom('80')), notPaths: few(pathPattern) }),
);
const rule = fc.oneof(
  fc.record({ from: few(fc.record({ source })), to: few(fc.record({ operation })) }),
  fc.record({ from: few(fc.record({ source })) }),
  fc.record({ to: few(fc.record({ operation })) }),
);
const spec = fc.record({
  action: fc.constantFrom('ALLOW', 'DENY'),
  rules: fc.array(rule, { minLength: 1, maxLength: 4 }),
});

const request = fc
  .record({
    caller: fc.option(account),
    path,
    method: fc.constantFrom('GET', 'POST'),
    port: fc.constantFrom(80, 8080, 9090),
  })
  .map(({ caller, path: asked, method, port }): DecisionInput => {
    const peer =
      caller === null
        ? undefined
        : `spiffe://cluster.local/ns/${caller.namespace}/sa/${caller.name}`;
    return {
      peerUri: peer,
      sourceIp: parseIp('10.0.0.1'),
      remoteIp: parseIp('10.0.0.1'),
      destinationIp: parseIp('10.0.0.2'),
      destinationPort: port,
      serverName: '',
      method,
      path: asked,
      target: asked,
      authority: 'web',
      header: () => undefined,
      metadata: () => undefined,
    };
  });

/** Every rule in turn, as the rule sets say it. */
function decideByTrying(chain: RbacChain, input: DecisionInput) {
  let decidedBy: string | undefined;
  let isAllowed = true;
  for (const { action, policies } of chain) {
    const isDeny = action === 'DENY';
    const found = policies.find(
      ({ permissions, principals }) =>
        permissions.some((item) => compilePermission(item, isDeny)(input)) &&
        principals.some((item) => compilePrincipal(item)(input)),
    );
    if (isDeny && found !== undefined) return { isAllowed: false, decidedBy: found.name };
    if (!isDeny && found === undefined) return { isAllowed: false, decidedBy: undefined };
    if (!isDeny) decidedBy = found?.name;
    isAllowed = true;
  }
  return { isAllowed, decidedBy };
}

test('the index decides as trying every rule does, and names the same one', () => {
  let denied = 0;
  let named = 0;
  fc.assert(
    fc.property(
      fc.array(spec, { minLength: 1, maxLength: 5 }),
      fc.array(request, { minLength: 5, maxLength: 20 }),
      (specs, requests) => {
        const policies = specs.map((written, at): AuthorizationPolicy => {
          const parsed = parseAuthorizationPolicy({
            apiVersion: 'security.weft.dev/v1',
            kind: 'AuthorizationPolicy',
            metadata: { namespace: 'shop', name: `p${at}` },
            spec: written,
          });
          assert.ok(parsed.ok, JSON.stringify(parsed.problems));
          return parsed.value;
        });
        const chain = compilePolicies(policies, [], {
          trustDomain: 'cluster.local',
          trustDomainAliases: [],
          protocol: 'http',
        });
        const evaluator = compileRbac(chain);
        for (const input of requests) {
          const { isAllowed, decidedBy } = evaluator.decide(input);
          assert.deepEqual({ isAllowed, decidedBy }, decideByTrying(chain, input));
          if (!isAllowed) denied++;
          if (decidedBy !== undefined) named++;
        }
      },
    ),
    { numRuns: runs(100) },
  );
  assert.ok(denied > 100 && named > 100, `${denied} denied, ${named} named`);
});

test('a decision among ten thousand rules looks at few of them', () => {
  const rules = Array.from({ length: 10_000 }, (_, at) => ({
    from: [
      {
        source:
          at % 2 === 0
            ? { namespaces: [`n${at}`] }
            : { principals: [`cluster.local/ns/n${at}/sa/s`] },
      },
    ],
    to: [{ operation: { paths: [`/api/thing${at}/*`] } }],
  }));
  let asked = 0;
  const policies = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map(
    (at) => {
      const parsed = parseAuthorizationPolicy({
        apiVersion: 'security.weft.dev/v1',
        kind: 'AuthorizationPolicy',
        metadata: { namespace: 'shop', name: `p${at}` },
        spec: { rules: rules.slice(at * 500, at * 500 + 500) },
      });
      assert.ok(parsed.ok);
      return parsed.value;
    },
  );
  const evaluator = compileRbac(
    compilePolicies(policies, [], {
      trustDomain: 'cluster.local',
      trustDomainAliases: [],
      protocol: 'http',
    }),
  );
  const input = Object.defineProperty(
    {
      peerUri: 'spiffe://cluster.local/ns/n7777/sa/s',
      sourceIp: undefined,
      remoteIp: undefined,
      destinationIp: undefined,
      destinationPort: 80,
      serverName: '',
      method: 'GET',
      path: '',
      target: '',
      authority: '',
      header: () => undefined,
      metadata: () => undefined,
    },
    'path',
    {
      get: () => {
        asked++;
        return '/api/thing7777/x';
      },
    },
  );
  const verdict = evaluator.decide(input);
  assert.equal(verdict.isAllowed, true);
  assert.ok(asked < 20, `the path was asked for ${asked} times`);
});
