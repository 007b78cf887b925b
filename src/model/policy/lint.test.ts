import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { httpRequests, rules } from '../../../test/support/rule-arbitraries.ts';
import { decide, httpRequest, policyOf } from '../../../test/support/policies.ts';
import { runs } from '../../../test/support/runs.ts';
import { parseTrustDomain } from '../identity.ts';
import { DEFAULT_MESH_CONFIG, type MeshConfig } from '../mesh/config.ts';
import type { Mesh, Workload } from '../mesh/mesh.ts';
import { coversRule } from './covers.ts';
import { findShadowed, lintMesh } from './lint.ts';
import type { AuthorizationPolicy, Rule } from './types.ts';

const ROOT = 'weft-system';
const to = (operation: object) => ({ to: [{ operation }] });
const from = (source: object) => ({ from: [{ source }] });
const allow = (name: string, ...rules: readonly object[]) => policyOf({ rules }, name);
const deny = (name: string, ...rules: readonly object[]) =>
  policyOf({ action: 'DENY', rules }, name);

function lint(policy: AuthorizationPolicy, config: Partial<MeshConfig> = {}): readonly string[] {
  const settings = {
    ...DEFAULT_MESH_CONFIG,
    ...config,
    trustDomain: parseTrustDomain('cluster.local')!,
    trustDomainAliases: [],
    rootNamespace: ROOT,
    clusterDomain: 'cluster.local',
  };
  const web: Workload = {
    id: 'web-1.shop',
    namespace: 'shop',
    name: 'web-1',
    serviceAccount: 'web',
    identity: undefined,
    ips: [],
    labels: new Map([['app', 'web']]),
    isInMesh: true,
    health: 'healthy',
    inbound: {
      namespace: 'shop',
      serviceAccount: 'web',
      mode: 'STRICT',
      ports: [{ port: 8080, protocol: 'http1', mode: 'STRICT' }],
      policies: [],
      broken: [],
      settings,
    },
  };
  const mesh: Pick<Mesh, 'settings' | 'policies' | 'workloads'> = Object.assign(
    Object.create(null),
    { settings, policies: { authorization: [policy] }, workloads: new Map([[web.id, web]]) },
  );
  return lintMesh(Object.assign(Object.create(null), mesh)).map(({ code, field, cure }) => {
    assert.ok(cure !== undefined && field !== undefined, code);
    return code;
  });
}

const FINDINGS: readonly (readonly [string, AuthorizationPolicy, readonly string[]])[] = [
  ['a path with a query', allow('p', to({ paths: ['/a?b'] })), ['path-never-matches']],
  ['a path without a slash', allow('p', to({ paths: ['a/b'] })), ['path-never-matches']],
  ['a path with dot segments', allow('p', to({ paths: ['/a/../b'] })), ['path-never-matches']],
  ['an escaped letter', allow('p', to({ paths: ['/%61'] })), ['path-never-matches']],
  ['a prefix that is as it is', allow('p', to({ paths: ['/a/*', '/b.*', '*/c'] })), []],
  ['a template', allow('p', to({ paths: ['/a/{*}/b', '/{**}'] })), []],
  ['a method in lower case', allow('p', to({ methods: ['get'] })), ['method-never-matches']],
  ["a Service's port", allow('p', to({ ports: ['80'] })), ['unknown-port']],
  ['the port of the workload', allow('p', to({ ports: ['8080'] })), []],
  [
    'an account that nobody runs as',
    allow('p', from({ serviceAccounts: ['wep'] })),
    ['unknown-caller'],
  ],
  [
    'an account of a namespace that is not known',
    allow('p', from({ serviceAccounts: ['x/wep'] })),
    [],
  ],
  [
    'a principal that nobody has',
    allow('p', from({ principals: ['cluster.local/ns/shop/sa/wep'] })),
    ['unknown-caller'],
  ],
  ['a DENY on a path', deny('p', to({ paths: ['/admin'] })), ['deny-path-spelling']],
  [
    'an ALLOW that leaves out a path',
    allow('p', to({ notPaths: ['/admin*'] })),
    ['deny-path-spelling'],
  ],
];
for (const [claim, policy, codes] of FINDINGS) {
  test(`lintMesh() says ${codes.join(', ') || 'nothing'} of ${claim}`, () => {
    assert.deepEqual(lint(policy), codes);
  });
}

test('lintMesh() says nothing of a DENY on a path where every spelling is one (threat: path normalisation)', () => {
  const policy = deny('p', to({ paths: ['/admin'] }));
  assert.deepEqual(lint(policy, { pathNormalization: 'DECODE_AND_MERGE_SLASHES' }), []);
});

const SHADOWS: readonly (readonly [string, readonly AuthorizationPolicy[], readonly string[]])[] = [
  [
    'a rule within one that is wider',
    [allow('p', to({ paths: ['/a'] }), to({ paths: ['/a*'] }))],
    ['shop/p spec.rules[0]'],
  ],
  ['the later of two that are equal', [allow('a', {}), allow('b', {})], ['shop/b spec.rules[0]']],
  [
    'an ALLOW of which a DENY takes all',
    [allow('a', to({ methods: ['GET'], paths: ['/x/y'] })), deny('d', to({ paths: ['/x/*'] }))],
    ['shop/a spec.rules[0]'],
  ],
  [
    'nothing where the wider one holds for other workloads',
    [
      allow('a', to({ paths: ['/a'] })),
      policyOf({ selector: { matchLabels: { app: 'web' } }, rules: [{}] }, 'b'),
    ],
    [],
  ],
  [
    'one that the root namespace covers',
    [allow('a', to({ paths: ['/a'] })), policyOf({ rules: [{}] }, 'all', ROOT)],
    ['shop/a spec.rules[0]'],
  ],
  [
    'nothing where both ask for other things',
    [allow('a', to({ paths: ['/a'] }), to({ methods: ['GET'] }))],
    [],
  ],
  [
    'nothing where an ALLOW is wider than a DENY',
    [allow('a', {}), deny('d', to({ paths: ['/x'] }))],
    [],
  ],
];
for (const [claim, policies, expected] of SHADOWS) {
  test(`findShadowed() finds ${claim}`, () => {
    assert.deepEqual(
      findShadowed(policies, ROOT).map(
        ({ object, field }) => `${object?.namespace}/${object?.name} ${field}`,
      ),
      expected,
    );
  });
}

const firstRule = (policy: AuthorizationPolicy): Rule => {
  const [first] = policy.rules ?? [];
  assert.ok(first !== undefined);
  return first;
};

test('what coversRule() says holds: no request matches the narrow rule alone', () => {
  let covered = 0;
  fc.assert(
    fc.property(
      rules,
      rules,
      fc.array(httpRequests, { minLength: 1, maxLength: 8 }),
      (a, b, requests) => {
        const [wide, narrow] = [allow('a', a), allow('b', b)];
        if (!coversRule(firstRule(wide), firstRule(narrow))) return;
        covered++;
        for (const one of requests) {
          const input = httpRequest({
            ...one,
            ...(one.peer === undefined ? {} : { peer: one.peer }),
          });
          if (decide([narrow], input).isAllowed) assert.ok(decide([wide], input).isAllowed);
        }
      },
    ),
    { numRuns: runs(3_000) },
  );
  assert.ok(covered > 50, `only ${covered} pairs say something`);
});
