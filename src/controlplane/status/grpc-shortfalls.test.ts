// Of every kind of policy it is told what a gRPC server closes or does not do of it, once for all workloads, and of none where there is no such server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { formatProblem } from '@weft/model/problem';
import { policyYaml, type PolicySpec } from '../../../test/support/lab-manifests.ts';
import { compileMesh } from '../compile/compile-mesh.ts';
import { readObjects } from '../registry/read-objects.ts';
import { followGrpcServers } from './grpc-workloads.ts';
import {
  findShortfalls,
  type GrpcServers,
  shortfallProblems,
  unenforcedOf,
} from './grpc-shortfalls.ts';

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);

const pod = (name: string, annotations = '{}'): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: prices }, annotations: ${annotations} }
spec: { serviceAccountName: prices, containers: [{ name: app, ports: [{ containerPort: 8080 }] }] }
status: { podIP: 10.0.0.${name.at(-1)}, phase: Running }
`;
const PODS = [pod('prices-1'), pod('prices-2')];

function objectsOf(...texts: readonly string[]): ReadonlyMap<string, RegistryObject> {
  const { objects } = readObjects(texts.join('\n---\n'), 'a.yaml');
  return new Map(
    objects.map(({ key, outcome, problems }) => {
      assert.ok(outcome.kind === 'good' && outcome.object !== undefined, JSON.stringify(problems));
      return [key, outcome.object];
    }),
  );
}

const compiled = (...texts: readonly string[]): Mesh =>
  compileMesh(
    { revision: 1, objects: objectsOf(...texts) },
    { trustDomain, rootNamespace: 'weft-system' },
  );
const meshOf = (...texts: readonly string[]): Mesh => compiled(...PODS, ...texts);

const serving = (...ids: readonly string[]) =>
  new Map(ids.map((id) => [id, new Set(['other'] as const)]));
const BOTH = serving('prices-1.shop', 'prices-2.shop');

const linesOf = (mesh: Mesh, servers: GrpcServers = BOTH): readonly string[] =>
  shortfallProblems(findShortfalls(mesh, servers)).map(formatProblem);

const rules = (
  action: PolicySpec['action'],
  text: string,
  more: Partial<PolicySpec> = {},
): string => policyYaml({ name: 'p', action, app: 'prices', rules: text, ...more });
const own = (kind: string, spec: string, group = 'security'): string => `
apiVersion: ${group}.weft.dev/v1
kind: ${kind}
metadata: { name: p, namespace: shop }
spec: ${spec}
`;
const when = (key: string): string => `when: [{ key: "${key}", values: ["x"] }]`;
const traffic = (spec: string): string =>
  own('TrafficPolicy', `{ selector: { matchLabels: { app: prices } }, ${spec} }`, 'mesh');

const TOLD: readonly (readonly [string, string, RegExp])[] = [
  [
    'a claim in an ALLOW',
    rules('ALLOW', `[{}, { ${when('request.auth.claims[a]')} }]`),
    /^warning AuthorizationPolicy shop\/p spec\.rules\[1\]: allows less than it says at prices-1\.shop, prices-2\.shop, gRPC without a proxy: tokens are not checked, and no claim is seen — ask for what gRPC can judge/,
  ],
  [
    'a header in a DENY',
    rules('DENY', `[{ ${when('request.headers[content-type]')} }]`),
    /spec\.rules\[0\]: denies more than it says at .*: the header content-type is not seen/,
  ],
  [
    'tokens',
    own('RequestAuthentication', '{ jwtRules: [{ issuer: i, jwksUri: "https://i.test/keys" }] }'),
    /RequestAuthentication shop\/p: denies every call with a token at/,
  ],
  [
    'logins',
    own('BasicAuthentication', '{ users: { secretName: users } }'),
    /BasicAuthentication shop\/p: lets nobody in at/,
  ],
  [
    'audits',
    rules('AUDIT', '[{}]'),
    /AuthorizationPolicy shop\/p spec\.rules\[0\]: marks nothing at .* — give it a sidecar or an Envoy$/,
  ],
  [
    'throttling',
    traffic('throttling: [{ name: a, requests: 5 }]'),
    /TrafficPolicy shop\/p: holds back, limits and disturbs nothing at/,
  ],
  ['limits', traffic('limits: { maxBodyBytes: 1Mi }'), /TrafficPolicy shop\/p: holds back/],
  [
    'TLS of clients outside',
    own('TlsTermination', '{ ports: [8080], certificates: [{ secret: tls }] }'),
    /TlsTermination shop\/p: is not served at/,
  ],
  [
    'plaintext',
    own('PeerAuthentication', '{ mtls: { mode: PERMISSIVE } }'),
    /PeerAuthentication shop\/p: refuses plaintext where it is PERMISSIVE at/,
  ],
];
for (const [claim, text, line] of TOLD) {
  test(`what gRPC servers make of ${claim} is told in one line for all of them`, () => {
    const mesh = meshOf(text);
    const lines = linesOf(mesh).filter(
      (one) => !one.startsWith('warning Peer') || claim === 'plaintext',
    );
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.match(lines[0] ?? '', line);
    assert.deepEqual(linesOf(mesh, new Map()), [], 'nobody serves so');
    assert.deepEqual(linesOf(mesh, serving('cart-1.shop')), [], 'somebody else does');
  });
}

test('what gRPC does as it is written is told by nobody', () => {
  const from = 'from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"] } }]';
  const to = 'to: [{ operation: { paths: ["/a.B/*"] } }]';
  const header = when('request.headers[x-team]');
  const strict = own('PeerAuthentication', '{ mtls: { mode: STRICT } }');
  const mesh = meshOf(strict, rules('DENY', `[{ ${from}, ${to}, ${header} }]`));
  assert.deepEqual(linesOf(mesh), []);
});

test('a rule on content-type is closed where the library does not show it, and at no server of grpc-go', () => {
  const mesh = meshOf(rules('ALLOW', `[{ ${when('request.headers[content-type]')} }]`));
  const servers: GrpcServers = new Map([
    ['prices-1.shop', new Set(['go', 'core'])],
    ['prices-2.shop', new Set(['go'])],
  ]);
  const [line, ...others] = linesOf(mesh, servers);
  assert.match(line ?? '', /at prices-1\.shop, gRPC/);
  assert.deepEqual(others, []);
});

test('a policy on trial is told not to be counted, and counts as enforced nowhere', () => {
  const trial = rules('DENY', '[{}]', { annotations: { 'weft.dev/dry-run': 'true' } });
  const [line, ...others] = linesOf(meshOf(trial));
  assert.match(line ?? '', /shop\/p: is on trial, and what it would decide is not counted at/);
  assert.deepEqual(others, []);
});

test('what is closed is enforced, and what is not done is not, by workload and with the reason', () => {
  const found = findShortfalls(
    meshOf(traffic('floods: { connections: 5 }'), rules('DENY', `[{ ${when('connection.sni')} }]`)),
    serving('prices-2.shop'),
  );
  assert.deepEqual(found.map(({ effect }) => effect).toSorted(), ['closed', 'unenforced']);
  const [[policy, byWorkload] = [], ...others] = unenforcedOf(found);
  assert.equal(policy, 'TrafficPolicy/shop/p');
  assert.deepEqual([...(byWorkload?.keys() ?? [])], ['prices-2.shop']);
  assert.match(byWorkload?.get('prices-2.shop') ?? '', /the work of a proxy$/);
  assert.deepEqual(others, []);
});

test('a line names three reasons of a rule, and three workloads', () => {
  const many = [1, 2, 3, 4, 5].map((at) => when(`request.headers[x-${at}-bin]`).slice(7, -1));
  const mesh = meshOf(
    ...[3, 4, 5].map((at) => pod(`prices-${at}`)),
    rules('ALLOW', `[{ when: [${many.join()}] }]`),
  );
  const [line] = linesOf(mesh, serving(...[1, 2, 3, 4, 5].map((at) => `prices-${at}.shop`)));
  assert.match(line ?? '', /prices-1\.shop, prices-2\.shop, prices-3\.shop and 2 more, gRPC/);
  assert.match(line ?? '', /x-3-bin is not seen, and 2 more — /);
});

test('who serves is who is connected, and whose Pod says so for as long as it does', () => {
  const none = pod('prices-2', '{ weft.dev/proxy: none }');
  let { workloads } = compiled(pod('prices-1'), none);
  const connected = [
    { proxyId: 'prices-1.shop', library: 'go' },
    { proxyId: 'prices-1.shop', library: 'core' },
  ] as const;
  const servers = followGrpcServers({ workloads: () => workloads, connected: () => connected });
  const now = () => [...servers()].map(([id, libraries]) => [id, ...libraries].join(' ')).sort();
  assert.deepEqual(now(), ['prices-1.shop go core', 'prices-2.shop other']);
  ({ workloads } = compiled(pod('prices-1'), pod('prices-2', '{ weft.dev/proxy: envoy }')));
  assert.deepEqual(now(), ['prices-1.shop go core']);
});

test('a rule that lets in callers of a federated trust domain is told not to, and none that denies them', () => {
  const federated = `
apiVersion: security.weft.dev/v1
kind: FederatedTrustDomain
metadata: { name: partner, namespace: weft-system }
spec: { trustDomain: partner.test, bundleEndpoint: { url: "https://partner.test/b", profile: https_web } }
`;
  const from = (more: string): string => `{ from: [{ source: { ${more} } }] }`;
  const partner = from('principals: ["partner.test/ns/shop/sa/web"]');
  const domain = from('trustDomains: [partner.test]');
  const own = from('namespaces: [shop]');
  const allow = rules('ALLOW', `[${own}, ${partner}, ${domain}]`);
  const lines = linesOf(meshOf(federated, allow));
  assert.equal(lines.length, 2, lines.join('\n'));
  assert.match(lines[0] ?? '', /rules\[1\]: allows less .*: callers of other trust domains are/);
  assert.match(lines[1] ?? '', /rules\[2\]: allows less/);
  assert.deepEqual(linesOf(meshOf(allow)), [], 'they are nobody to sidecars either');
  assert.deepEqual(linesOf(meshOf(federated, rules('DENY', `[${partner}]`))), []);
});
