// The API server's schema and the parser agree: nothing that the parser takes is refused, and what is misspelt stays to be seen.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { classify } from '@weft/controlplane/registry/kinds';
import type { KubeObject, KubeResult } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  MESH_CONFIGS,
  NAMESPACES,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  TRAFFIC_POLICIES,
  TRUST_BUNDLES,
} from '@weft/kube/resource';
import fc from 'fast-check';
import {
  asOwn,
  installCrds,
  knownPolicies,
  type WeftObject,
  whyNot,
} from '../support/kube-objects.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { policyArbitrary } from '../support/policy-arbitraries.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };

let lab: Kubelab;
before(async () => {
  if (skip !== false) return;
  lab = await startKubelab({ controllers: [] });
  await installCrds(lab);
});
after(() => lab?.[Symbol.asyncDispose]());

const namespaces = new Set(['default']);
async function dryRun({ resource, object }: WeftObject): Promise<KubeResult<KubeObject>> {
  const namespace = textAt(object, 'metadata', 'namespace') ?? 'default';
  if (!namespaces.has(namespace)) {
    const made = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
    await lab.client.create(NAMESPACES, made);
    namespaces.add(namespace);
  }
  return lab.client.create(resource, object, { isDryRun: true });
}

function isReadable({ resource, object }: WeftObject): boolean {
  const kind = classify(apiVersionOf(resource), resource.kind);
  assert.ok(typeof kind !== 'string');
  return kind.read(object).kind === 'good';
}

test('every policy that the parser takes is taken by the API server', only, async () => {
  const known = knownPolicies();
  const readable = known.filter(isReadable);
  assert.ok(readable.length >= 10, `${readable.length} of ${known.length}`);
  for (const one of readable) {
    const answer = await dryRun(one);
    assert.ok(answer.ok, `${JSON.stringify(one.object)}: ${whyNot(answer)}`);
  }
});

test('every policy that can be made up and read is taken by the API server', only, async () => {
  await fc.assert(
    fc.asyncProperty(policyArbitrary, async (policy) => {
      const one = asOwn(policy);
      assert.ok(one);
      fc.pre(isReadable(one));
      const answer = await dryRun(one);
      assert.ok(answer.ok, whyNot(answer));
    }),
    { numRuns: 200 },
  );
});

const of = (resource: WeftObject['resource'], spec: unknown): WeftObject => {
  const metadata = { name: 'p', namespace: 'default' };
  return {
    resource,
    object: { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata, spec },
  };
};
const AUTHZ = AUTHORIZATION_POLICIES;
const entries = (count: number): readonly object[] => Array.from({ length: count }, () => ({}));
const rule = (part: object): object => ({ rules: [part] });
const source = (fields: object): object => rule({ from: [{ source: fields }] });
const provider = { name: 'a', envoyExtAuthzGrpc: { service: 'a.b.svc', port: 1 } };

const AGREED: readonly (readonly [string, WeftObject, string])[] = [
  ['an unknown action', of(AUTHZ, { action: 'ALLOWED' }), 'spec.action'],
  ['DENY without rules', of(AUTHZ, { action: 'DENY' }), 'never apply'],
  ['DENY with an empty list of rules', of(AUTHZ, { action: 'DENY', rules: [] }), 'never apply'],
  ['CUSTOM without provider', of(AUTHZ, { action: 'CUSTOM', rules: [{}] }), 'needs the name'],
  [
    'a provider beside ALLOW',
    of(AUTHZ, { provider: { name: 'x' }, rules: [{}] }),
    'goes with action CUSTOM',
  ],
  ['an empty from', of(AUTHZ, rule({ from: [] })), 'spec.rules[0].from'],
  ['an empty source', of(AUTHZ, source({})), 'source'],
  ['a source without itself', of(AUTHZ, rule({ from: [{}] })), 'source'],
  ['an empty text', of(AUTHZ, source({ principals: [''] })), 'principals'],
  ['a text for a list', of(AUTHZ, source({ principals: 'x' })), 'principals'],
  ['a number for a port', of(AUTHZ, rule({ to: [{ operation: { ports: [80] } }] })), 'ports'],
  ['a condition without key', of(AUTHZ, rule({ when: [{ values: ['x'] }] })), 'key'],
  ['a condition without values', of(AUTHZ, rule({ when: [{ key: 'source.ip' }] })), 'values'],
  [
    'a selector and a target',
    of(AUTHZ, { selector: { matchLabels: { a: 'b' } }, targetRef: { kind: 'Service', name: 's' } }),
    'only one of',
  ],
  ['513 rules', of(AUTHZ, { rules: entries(513) }), 'spec.rules'],
  [
    '17 service accounts',
    of(AUTHZ, source({ serviceAccounts: Array.from({ length: 17 }, (_, at) => `s${at}`) })),
    'serviceAccounts',
  ],
  [
    'a text of 8193 characters',
    of(AUTHZ, source({ principals: ['x'.repeat(8_193)] })),
    'principals',
  ],
  ['an unknown mode', of(PEER_AUTHENTICATIONS, { mtls: { mode: 'strict' } }), 'spec.mtls.mode'],
  [
    'port modes without selector',
    of(PEER_AUTHENTICATIONS, { portLevelMtls: { 80: { mode: 'STRICT' } } }),
    'need a selector',
  ],
  ['a rule for tokens of nobody', of(REQUEST_AUTHENTICATIONS, { jwtRules: [{}] }), 'issuer'],
  [
    'keys from two sources',
    of(REQUEST_AUTHENTICATIONS, {
      jwtRules: [{ issuer: 'a', jwks: '{}', jwksUri: 'https://a/b' }],
    }),
    'only one of jwks',
  ],
  ['a throttle of nothing', of(TRAFFIC_POLICIES, { throttling: [{ name: 'a' }] }), 'requests'],
  [
    'a fault for more than all',
    of(TRAFFIC_POLICIES, { faults: [{ name: 'a', abort: { percent: 101, status: 503 } }] }),
    'percent',
  ],
  [
    'traffic of Pods and of a Service',
    of(TRAFFIC_POLICIES, {
      selector: { matchLabels: { a: 'b' } },
      targetRefs: [{ kind: 'Service', name: 'a' }],
      limits: { maxHeaders: 1 },
    }),
    'only one of',
  ],
  ['an unknown normalization', of(MESH_CONFIGS, { pathNormalization: 'ALL' }), 'pathNormalization'],
  ['17 trusted hops', of(MESH_CONFIGS, { trustedHops: 17 }), 'trustedHops'],
  [
    'an authorizer without port',
    of(MESH_CONFIGS, { extensionProviders: [{ name: 'a', envoyExtAuthzGrpc: { service: 'a' } }] }),
    'port',
  ],
];
for (const [what, one, said] of AGREED) {
  test(`both the API server and the parser refuse ${what}`, only, async () => {
    const answer = await dryRun(one);
    assert.ok(!answer.ok);
    assert.equal(answer.code, 422);
    assert.ok(answer.message.includes(said), answer.message);
    assert.equal(isReadable(one), false);
  });
}

const TAKEN: readonly (readonly [string, WeftObject])[] = [
  ['nothing in it', of(AUTHZ, undefined)],
  ['a spec of null', of(AUTHZ, null)],
  ['512 rules', of(AUTHZ, { rules: entries(512) })],
  ['an inherited mode', of(PEER_AUTHENTICATIONS, { mtls: { mode: 'UNSET' } })],
  ['no rules for tokens', of(REQUEST_AUTHENTICATIONS, {})],
  [
    'keys from an address alone',
    of(REQUEST_AUTHENTICATIONS, { jwtRules: [{ jwksUri: 'https://a/b' }] }),
  ],
  [
    'nulls where nothing is said',
    of(MESH_CONFIGS, { trustedHops: null, trustDomainAliases: null }),
  ],
  [
    'every section of the called side of a TrafficPolicy',
    of(TRAFFIC_POLICIES, {
      targetRefs: [{ kind: 'Service', name: 'web' }],
      throttling: [
        { name: 'a', key: ['caller', 'header:x-a'], requests: 1, interval: '1s', burst: 2 },
        { name: 'b', requests: 1, rules: [{ to: [{ operation: { paths: ['/a'] } }] }] },
      ],
      floods: { requests: 1, window: '10s', exempt: ['10.0.0.0/8'] },
      limits: { maxBodyBytes: '10Mi', maxHeaderBytes: 1_024, methods: ['GET'] },
      faults: [{ name: 'a', abort: { percent: 0.5, status: 503 }, until: '2027-01-31T18:00:00Z' }],
    }),
  ],
  ['an authorizer', of(MESH_CONFIGS, { extensionProviders: [provider] })],
];
for (const [what, one] of TAKEN) {
  test(`both the API server and the parser take ${what}`, only, async () => {
    const answer = await dryRun(one);
    assert.ok(answer.ok, whyNot(answer));
    assert.equal(isReadable(one), true);
    assert.equal(isReadable({ ...one, object: answer.value }), true, 'as it comes back');
  });
}

const MISSPELT: readonly (readonly [string, WeftObject])[] = [
  ['in a source', of(AUTHZ, source({ principals: ['a'], namespace: ['shop'] }))],
  ['in a rule', of(AUTHZ, rule({ form: [{ source: { namespaces: ['shop'] } }] }))],
  ['in an operation', of(AUTHZ, rule({ to: [{ operation: { paths: ['/a'], method: ['GET'] } }] }))],
  [
    'in a condition',
    of(AUTHZ, rule({ when: [{ key: 'source.ip', values: ['1.1.1.1'], not: [] }] })),
  ],
  ['in a selector', of(AUTHZ, { selector: { matchLabel: { app: 'web' } } })],
  ['in a mode', of(PEER_AUTHENTICATIONS, { mtls: { Mode: 'STRICT' } })],
  [
    'in the mode of a port',
    of(PEER_AUTHENTICATIONS, {
      selector: { matchLabels: { a: 'b' } },
      portLevelMtls: { 80: { mod: 'STRICT' } },
    }),
  ],
  [
    'in a rule for tokens',
    of(REQUEST_AUTHENTICATIONS, { jwtRules: [{ issuer: 'https://a', audience: ['b'] }] }),
  ],
  ['in a section of traffic', of(TRAFFIC_POLICIES, { throtling: [{ name: 'a', requests: 1 }] })],
  ['in a limit', of(TRAFFIC_POLICIES, { limits: { maxHeader: 1 } })],
  ['in a MeshConfig', of(MESH_CONFIGS, { ambiguousPath: 'REFUSE' })],
  [
    'beside spec',
    {
      resource: PEER_AUTHENTICATIONS,
      object: { ...of(PEER_AUTHENTICATIONS, undefined).object, sepc: { mtls: { mode: 'STRICT' } } },
    },
  ],
];
for (const [where, one] of MISSPELT) {
  test(
    `a field misspelt ${where} is kept by the API server, so that the parser refuses it`,
    only,
    async () => {
      const answer = await dryRun(one);
      assert.ok(answer.ok, whyNot(answer));
      assert.equal(isReadable({ ...one, object: answer.value }), false);
    },
  );
}

test('kubectl explains fields, and shows the columns that people look for', only, async () => {
  // The server publishes its documents some time after it serves the kind.
  await eventually(
    async () => {
      const explained = await lab.kubectl(['explain', 'wap.spec.rules.from.source.principals']);
      return explained.stdout.includes('Certificate identities');
    },
    { what: 'an explanation', withinMs: 30_000 },
  );
  const created = await lab.client.create(AUTHZ, of(AUTHZ, { rules: [{}] }).object);
  assert.ok(created.ok, whyNot(created));
  const status = {
    ...created.value,
    status: {
      observedGeneration: 1,
      selected: 3,
      enforced: '2/3',
      conditions: ['Accepted', 'Enforced'].map((type) => ({
        type,
        status: type === 'Accepted' ? 'True' : 'False',
        reason: 'Waiting',
        message: '',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
    },
  };
  const written = await lab.client.replace(AUTHZ, status, { subresource: 'status' });
  assert.ok(written.ok, whyNot(written));
  const { stdout } = await lab.kubectl(['get', 'weft-security', '-n', 'default']);
  const [head = '', line = ''] = stdout.split('\n');
  assert.deepEqual(head.split(/\s+/), [
    'NAME',
    'ACTION',
    'SELECTED',
    'ENFORCED',
    'ACCEPTED',
    'AGE',
  ]);
  assert.match(line, /\/p +ALLOW +3 +2\/3 +True/);
});

test('a TrustBundle takes what is asked of it and what is known of it', only, async () => {
  const name = 'weft';
  const head = { apiVersion: apiVersionOf(TRUST_BUNDLES), kind: TRUST_BUNDLES.kind };
  const made = { ...head, metadata: { name }, spec: { rotate: '2026-11' } };
  const created = await lab.client.create(TRUST_BUNDLES, made);
  assert.ok(created.ok, whyNot(created));
  const root = { keyId: 'ab', notBefore: '2026-01-01T00:00:00Z', notAfter: '2027-01-01T00:00:00Z' };
  const status = {
    trustDomain: 'cluster.local',
    bundleVersion: 'v',
    phase: 'distribute',
    waitsFor: ['web-1.shop'],
    roots: [{ ...root, isActive: true }],
    observedRotate: '2026-11',
    observedGeneration: 1,
    conditions: [],
  };
  const patch = { type: 'merge', patch: { status }, subresource: 'status' } as const;
  const written = await lab.client.patch(TRUST_BUNDLES, { name }, patch);
  assert.ok(written.ok, whyNot(written));
  assert.deepEqual(objectAt(written.value, 'status'), status);
});

/** As a version before could have been: fewer fields, no status, and what it does not know dropped. */
const OLDER = {
  apiVersion: apiVersionOf(CUSTOM_RESOURCE_DEFINITIONS),
  kind: CUSTOM_RESOURCE_DEFINITIONS.kind,
  metadata: { name: 'authorizationpolicies.security.weft.dev' },
  spec: {
    group: 'security.weft.dev',
    scope: 'Namespaced',
    names: { kind: 'AuthorizationPolicy', plural: 'authorizationpolicies' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                properties: {
                  action: { type: 'string' },
                  rules: {
                    type: 'array',
                    items: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

test(
  'CRDs are applied twice, and over an older version without losing a policy',
  only,
  async () => {
    await using older = await startKubelab({ controllers: [] });
    const established = async (): Promise<void> => {
      const args = ['wait', '--for=condition=Established', '--timeout=20s', 'crd', '--all'];
      const waited = await older.kubectl(args);
      assert.equal(waited.code, 0, waited.stderr);
    };
    const crd = await older.kubectl(['apply', '-f', '-'], { input: JSON.stringify(OLDER) });
    assert.equal(crd.code, 0, crd.stderr);
    await established();
    const kept = of(AUTHZ, source({ namespaces: ['shop'] }));
    const input = JSON.stringify(kept.object);
    const policy = await older.kubectl(['apply', '--validate=false', '-f', '-'], { input });
    assert.equal(policy.code, 0, policy.stderr);
    await installCrds(older);
    await installCrds(older);
    const found = await older.client.get(AUTHZ, { namespace: 'default', name: 'p' });
    assert.ok(found.ok, whyNot(found));
    assert.equal(isReadable({ resource: AUTHZ, object: found.value }), true);
    assert.equal(textAt(found.value, 'spec', 'action'), 'ALLOW');
  },
);
