import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '../identity.ts';
import type { Registry } from '../mesh/addressees.ts';
import type { InboundPort, InboundSpec, Mesh, Workload } from '../mesh/mesh.ts';
import { DEFAULT_MESH_CONFIG } from '../mesh/config.ts';
import type { RegistryObject } from '../mesh/objects.ts';
import { policyOf } from '../../../test/support/policies.ts';
import { podOf, serviceOf, snapshotOf } from '../../../test/support/mesh-objects.ts';
import { explainCalls, type CallExplanation } from './explain-calls.ts';
import { formatExplanation } from './format-explanation.ts';
import { DEFAULT_QUESTION, readQuestion, writeQuestion, type CallQuestion } from './question.ts';
import type { AuthorizationPolicy } from './types.ts';

const trustDomain = parseTrustDomain('cluster.local')!;
const settings = {
  ...DEFAULT_MESH_CONFIG,
  trustDomain,
  trustDomainAliases: [],
  rootNamespace: 'weft-system',
  clusterDomain: 'cluster.local',
};

interface Spec {
  readonly policies?: readonly AuthorizationPolicy[];
  readonly ports?: readonly InboundPort[];
  readonly isInMesh?: boolean;
  readonly isProxyless?: true;
  readonly directPorts?: readonly number[];
  readonly inbound?: Partial<InboundSpec>;
}

const HTTP: InboundPort = { port: 8080, protocol: 'http1', mode: 'STRICT' };

function workloadOf(name: string, spec: Spec = {}): Workload {
  return {
    id: `${name}.shop`,
    namespace: 'shop',
    name,
    serviceAccount: name,
    identity: undefined,
    ips: ['10.0.0.1'],
    labels: new Map([['app', 'web']]),
    isInMesh: spec.isInMesh ?? true,
    ...(spec.isProxyless && { isProxyless: true as const }),
    ...(spec.directPorts && { directPorts: spec.directPorts }),
    health: 'healthy',
    inbound: {
      namespace: 'shop',
      serviceAccount: name,
      mode: 'STRICT',
      ports: spec.ports ?? [HTTP],
      policies: spec.policies ?? [],
      broken: [],
      settings,
      ...spec.inbound,
    },
  };
}

function registryOf(
  workloads: readonly Workload[],
  objects: readonly RegistryObject[] = [],
): Registry {
  const mesh: Mesh = {
    revision: 1,
    settings,
    workloads: new Map(workloads.map((one) => [one.id, one])),
    workloadsByIp: new Map(),
    destinations: new Map(),
    destinationsByAddress: new Map(),
    policies: {
      authorization: [],
      peerAuthentication: [],
      requestAuthentication: [],
      basicAuthentication: [],
      traffic: [],
      broken: [],
    },
    problems: [],
  };
  return { mesh, snapshot: snapshotOf(objects) };
}

const ask = (question: Partial<CallQuestion>): CallQuestion => ({
  ...DEFAULT_QUESTION,
  from: 'shop/client',
  to: 'shop/web',
  ...question,
});

function explain(spec: Spec, question: Partial<CallQuestion> = {}): CallExplanation {
  const explained = explainCalls(registryOf([workloadOf('web', spec)]), ask(question));
  assert.ok(explained.ok, JSON.stringify(explained));
  const [only, ...others] = explained.value;
  assert.ok(only !== undefined && others.length === 0);
  return only;
}

const READS = policyOf(
  {
    rules: [
      {
        from: [{ source: { serviceAccounts: ['client'] } }],
        to: [{ operation: { methods: ['GET'], paths: ['/a', '/b/*'] } }],
      },
    ],
  },
  'reads',
);
const NO_ADMIN = policyOf(
  { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/admin*'] } }] }] },
  'no-admin',
);

const BY_CLAIM = policyOf(
  { rules: [{ when: [{ key: 'request.auth.claims[team]', values: ['blue'] }] }] },
  'by-claim',
);
const TOKEN = {
  issuer: 'https://issuer',
  audiences: [],
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  outputPayloadToHeader: undefined,
  outputClaimToHeaders: [],
  isForwarded: false,
  spaceDelimitedClaims: [],
  jwks: '{"keys":[]}',
};

const CASES: readonly (readonly [string, Spec, Partial<CallQuestion>, boolean, string])[] = [
  ['no policy', {}, {}, true, 'no-policy'],
  ['an ALLOW rule', { policies: [READS] }, { path: '/b/c' }, true, 'allow-rule'],
  ['no ALLOW rule', { policies: [READS] }, { path: '/c' }, false, 'no-allow-match'],
  ['a DENY rule', { policies: [NO_ADMIN, READS] }, { path: '/admin' }, false, 'deny-rule'],
  [
    'a DENY rule, by a path that is another spelling of it',
    { policies: [NO_ADMIN] },
    { path: '/x/../%61dmin' },
    false,
    'deny-rule',
  ],
  [
    'STRICT, before any policy',
    { policies: [READS] },
    { from: undefined, path: '/a' },
    false,
    'mtls-required',
  ],
  [
    'no identity at a DISABLE port',
    { policies: [READS], ports: [{ ...HTTP, mode: 'DISABLE' }] },
    { path: '/a' },
    false,
    'no-allow-match',
  ],
  [
    'a foreign trust domain',
    {},
    { from: 'spiffe://evil.test/ns/shop/sa/client' },
    false,
    'unknown-trust-domain',
  ],
  [
    'a TCP port, where the rule has no meaning',
    { policies: [READS], ports: [{ ...HTTP, protocol: 'tcp' }] },
    { path: '/a' },
    false,
    'no-allow-match',
  ],
  ['bytes that are no HTTP at an HTTP port', {}, { protocol: 'tcp' }, false, 'not-http'],
  ['a null in the path', {}, { path: '/a%00' }, false, 'path-null'],
  ['a method in lower case', {}, { method: 'get' }, false, 'method-not-upper-case'],
  [
    'a spelling that this workload refuses',
    { inbound: { paths: { normalization: 'BASE', refused: ['doubleSlash'] } } },
    { path: '/a//b' },
    false,
    'path-ambiguous',
  ],
  [
    "the workload's own normalisation",
    { policies: [NO_ADMIN], inbound: { paths: { normalization: 'MERGE_SLASHES', refused: [] } } },
    { path: '//admin' },
    false,
    'deny-rule',
  ],
  [
    'a token of an unlisted issuer',
    { inbound: { tokens: [TOKEN] } },
    { claims: [['iss', 'evil']] },
    false,
    'unknown-issuer',
  ],
  [
    'a claim',
    { policies: [BY_CLAIM], inbound: { tokens: [TOKEN] } },
    {
      claims: [
        ['iss', 'https://issuer'],
        ['team', 'blue'],
      ],
    },
    true,
    'allow-rule',
  ],
  [
    'a claim of which nobody reads the token',
    { policies: [BY_CLAIM] },
    { claims: [['team', 'blue']] },
    false,
    'no-allow-match',
  ],
  [
    'a port that is reached without the sidecar',
    { policies: [NO_ADMIN], directPorts: [8080] },
    { path: '/admin' },
    true,
    'no-sidecar',
  ],
  ['no sidecar', { policies: [NO_ADMIN], isInMesh: false }, { path: '/admin' }, true, 'no-sidecar'],
];
for (const [claim, spec, question, isAllowed, reason] of CASES) {
  test(`a call is ${isAllowed ? 'allowed' : 'denied'} because of ${claim}`, () => {
    const answer = explain(spec, question);
    assert.deepEqual({ isAllowed: answer.isAllowed, reason: answer.reason }, { isAllowed, reason });
    const text = formatExplanation(ask(question), answer);
    assert.ok(text.startsWith(isAllowed ? 'ALLOWED' : 'DENIED'), text);
  });
}

test('an explanation says where nothing stands before the Pod, unless the port is outside anyway', () => {
  const said = (spec: Spec): string =>
    formatExplanation(
      ask({ path: '/a' }),
      explain({ policies: [NO_ADMIN], ...spec }, { path: '/a' }),
    );
  assert.match(said({ isProxyless: true }), /it has no proxy.*what is served without xDS is open/);
  assert.doesNotMatch(said({}), /no proxy/);
  assert.doesNotMatch(said({ isProxyless: true, directPorts: [8080] }), /no proxy/);
});

test('an explanation names the rule, its clauses with what was seen, and the policies that select', () => {
  const answer = explain({ policies: [NO_ADMIN, READS] }, { path: '/b/c' });
  const text = formatExplanation(ask({ path: '/b/c' }), answer);
  assert.match(text, /because +rule 0 of shop\/reads allows it/);
  assert.match(text, /path is "\/b\/c", as \/b\/\* asks/);
  assert.match(text, /service account shop\/client/);
  assert.match(text, /DENY shop\/no-admin \(1 rule\), ALLOW shop\/reads \(1 rule\)/);
});

test('a call that no rule allows is told which rule came nearest and what of it failed', () => {
  const answer = explain({ policies: [READS] }, { path: '/a', method: 'POST' });
  assert.equal(answer.nearest?.rule, 'ns[shop]-policy[reads]-rule[0]');
  assert.deepEqual(
    answer.nearest.failed.map(({ field, wanted, seen }) => [field, wanted, seen]),
    [['method', ['GET'], 'POST']],
  );
});

test('notes say what a policy on trial would decide, and what is audited', () => {
  const onTrial = { ...NO_ADMIN, isDryRun: true };
  const audit = policyOf({ action: 'AUDIT', rules: [{}] }, 'audit');
  const { isAllowed, notes } = explain({ policies: [onTrial, audit] }, { path: '/admin' });
  assert.equal(isAllowed, true);
  assert.ok(
    notes.some((note) => /would be denied, by .*no-admin/.test(note)),
    notes.join('\n'),
  );
  assert.ok(
    notes.some((note) => /access log by .*audit/.test(note)),
    notes.join('\n'),
  );
});

test('notes name the external authorizer that has to agree, and one that is missing denies', () => {
  const custom = policyOf(
    {
      action: 'CUSTOM',
      provider: { name: 'opa' },
      rules: [{ to: [{ operation: { paths: ['/x'] } }] }],
    },
    'asks',
  );
  const authorizers: InboundSpec['authorizers'] = [
    {
      name: 'opa',
      protocol: 'grpc',
      host: 'opa.shop.svc.cluster.local',
      port: 9191,
      timeoutMs: 100,
      failOpen: false,
      statusOnError: 403,
      http: undefined,
    },
  ];
  const asked = explain({ policies: [custom], inbound: { authorizers } }, { path: '/x' });
  assert.equal(asked.isAllowed, true);
  assert.ok(
    asked.notes.some((note) => note.includes('authorizer opa')),
    asked.notes.join('\n'),
  );
  const other = explain({ policies: [custom], inbound: { authorizers } }, { path: '/y' });
  assert.deepEqual(
    other.notes.filter((note) => note.includes('opa')),
    [],
  );
  assert.equal(explain({ policies: [custom] }, { path: '/y' }).isAllowed, false);
});

test('workloads behind a Service that are alike are one answer, and different ones are each said', () => {
  const registry = registryOf(
    [workloadOf('a'), workloadOf('b'), workloadOf('c', { policies: [NO_ADMIN] })],
    [serviceOf('web')],
  );
  const explained = explainCalls(registry, ask({ path: '/admin', port: 80 }));
  assert.ok(explained.ok);
  assert.deepEqual(
    explained.value.map(({ workloads, isAllowed, port }) => [workloads, isAllowed, port]),
    [
      [['a.shop', 'b.shop'], true, 8080],
      [['c.shop'], false, 8080],
    ],
  );
});

test("a Service's named target port is the container's of that name", () => {
  const registry = registryOf(
    [workloadOf('web-1', { ports: [HTTP, { ...HTTP, port: 9090 }] })],
    [
      serviceOf('web', { ports: [{ targetPort: 'metrics' }] }),
      podOf('web', {
        ports: [
          { name: 'http', port: 8080 },
          { name: 'metrics', port: 9090 },
        ],
      }),
    ],
  );
  const explained = explainCalls(registry, ask({ port: 80 }));
  assert.ok(explained.ok);
  assert.deepEqual(
    explained.value.map(({ port }) => port),
    [9090],
  );
});

const WRONG: readonly (readonly [string, Partial<CallQuestion>, string])[] = [
  ['an unknown name', { to: 'shop/wep' }, 'unknown-workload'],
  ['a name without a namespace', { to: 'web' }, 'bad-name'],
  ['a caller that is no identity', { from: 'web' }, 'bad-question'],
  ['a path without a slash', { path: 'a' }, 'bad-question'],
  ['a port that is none', { port: 70_000 }, 'bad-question'],
];
for (const [claim, question, code] of WRONG) {
  test(`explainCalls() refuses ${claim} and says what to write`, () => {
    const explained = explainCalls(registryOf([workloadOf('web')]), ask(question));
    assert.ok(!explained.ok);
    assert.equal(explained.problems[0]?.code, code);
    assert.ok(explained.problems[0]?.cure !== undefined);
  });
}

test('readQuestion() reads what writeQuestion() wrote, and refuses names it does not know', () => {
  const question = ask({
    port: 80,
    path: '/a?b=c&d',
    headers: [
      ['x-a', 'b=c'],
      ['x-a', 'd'],
    ],
    claims: [['iss', 'https://x']],
    sourceIp: '10.0.0.7',
  });
  const read = readQuestion(new URLSearchParams(writeQuestion(question)));
  assert.ok(read.ok, JSON.stringify(read));
  assert.deepEqual(read.value, question);
  assert.ok(!readQuestion(new URLSearchParams('to=shop/web&form=shop/x')).ok);
});
