// What routes of Services come to: for whom, in which order, and what of them leads nowhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { routesFor } from '@weft/model/routes/routing';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import type { Route } from '@weft/xds/resources/route';
import { readObjects } from '../../registry/read-objects.ts';
import { createResourceCache } from '../../resources/resource-cache.ts';
import { createWorkloadView } from '../../resources/workload-view.ts';
import { buildRuledRoute } from '../../resources/ruled-route.ts';
import { compileMesh } from '../compile-mesh.ts';
import { MeshCompiler } from '../mesh-compiler.ts';
import { judgeParent, judgeReferences } from './judge-route.ts';
import { surroundingsOf } from './route-statuses.ts';

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);
const IDENTITY = { trustDomain, rootNamespace: 'weft-system' };

const service = (name: string, namespace = 'shop'): string => `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  clusterIP: 10.0.0.${name.length + (namespace === 'shop' ? 0 : 100)}
  selector: {app: ${name}}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: tcp-raw, port: 90}
`;
const route = (name: string, spec: string, more = ''): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: shop${more}}
spec: ${spec}
`;
const PARENT = 'parentRefs: [{group: "", kind: Service, name: web, port: 80}]';

function objectsOf(...texts: readonly string[]): ReadonlyMap<string, RegistryObject> {
  const { objects, problems } = readObjects(texts.join('\n---\n'), 'a.yaml');
  assert.deepEqual(problems, []);
  return new Map(
    objects.flatMap(({ key, outcome, problems: own }) => {
      assert.ok(outcome.kind === 'good', JSON.stringify(own));
      return outcome.object === undefined ? [] : [[key, outcome.object] as const];
    }),
  );
}

const compile = (...texts: readonly string[]): Mesh =>
  compileMesh({ revision: 1, objects: objectsOf(...texts) }, IDENTITY);

const WEB = 'outbound|80||web.shop.svc.cluster.local';

function waysOf(mesh: Mesh, namespace = 'other', name = WEB): readonly Route[] | undefined {
  const set = routesFor(mesh.destinations.get(name)?.routes, namespace);
  return set && buildRuledRoute(set).virtualHosts[0]?.routes;
}

const SERVICES = [service('web'), service('web-v2'), service('cart')].join('---');

test('a Service without routes is called as it is', () => {
  const mesh = compile(SERVICES);
  assert.equal(mesh.destinations.get(WEB)?.routes, undefined);
  assert.equal(mesh.routing, undefined);
});

test('a route splits by weight, and sends what belongs to a missing backend to an answer of 500', () => {
  const spec = `{${PARENT}, rules: [{backendRefs: [{name: web, port: 80, weight: 9}, {name: web-v2, port: 80},
    {name: none, port: 80, weight: 2}, {name: cart, port: 80, weight: 0}]}]}`;
  const [way, ...more] = waysOf(compile(SERVICES, route('r', spec))) ?? [];
  assert.deepEqual(more, []);
  assert.deepEqual(way?.rule, {
    clusters: [
      { cluster: WEB, weight: 9 },
      { cluster: 'outbound|80||web-v2.shop.svc.cluster.local', weight: 1 },
      { cluster: 'unresolved', weight: 2 },
    ],
    unresolvedStatus: 500,
  });
});

test('a rule whose backends are all missing answers 500 itself, and 503 for gRPC', () => {
  const spec = `{${PARENT}, rules: [{backendRefs: [{name: none, port: 80}]}]}`;
  const grpc = route('g', spec).replace('HTTPRoute', 'GRPCRoute');
  for (const [text, status] of [
    [route('r', spec), 500],
    [grpc, 503],
  ] as const) {
    const [way] = waysOf(compile(SERVICES, text)) ?? [];
    assert.deepEqual(way?.rule?.answer, { kind: 'respond', status });
  }
});

test('ways are tried in the order of Gateway API, across routes', () => {
  const rule = (match: string): string =>
    `{matches: [${match}], backendRefs: [{name: web, port: 80}]}`;
  const mesh = compile(
    SERVICES,
    route(
      'b',
      `{${PARENT}, rules: [${[
        '{path: {value: /}}',
        '{path: {value: /a}, headers: [{name: x, value: a}, {name: y, value: a}]}',
        '{path: {type: Exact, value: /a}}',
        '{path: {value: /a}, method: GET}',
      ]
        .map(rule)
        .join()}]}`,
    ),
    route(
      'a',
      `{${PARENT}, rules: [${[
        '{path: {value: /a/long}}',
        '{path: {type: RegularExpression, value: "/a/.*"}}',
        '{path: {value: /a}, queryParams: [{name: q, value: a}]}',
        '{path: {value: /}}',
      ]
        .map(rule)
        .join()}]}`,
    ),
  );
  const seen = waysOf(mesh)?.map(({ match: { kind, value, headers, query } }) =>
    [kind, value, headers?.length ?? 0, query?.length ?? 0].join(' '),
  );
  assert.deepEqual(seen, [
    'path /a 0 0',
    'regex /a/.* 0 0',
    'separatedPrefix /a/long 0 0',
    'separatedPrefix /a 1 0',
    'separatedPrefix /a 2 0',
    'separatedPrefix /a 0 1',
    'prefix / 0 0',
    'prefix / 0 0',
  ]);
});

test('the older of two routes comes first', () => {
  const spec = (name: string): string =>
    `{${PARENT}, rules: [{backendRefs: [{name: ${name}, port: 80}]}]}`;
  const at = (year: number): string => `, creationTimestamp: "${year}-01-01T00:00:00Z"`;
  const mesh = compile(
    SERVICES,
    route('a', spec('web'), at(2026)),
    route('b', spec('cart'), at(2025)),
  );
  assert.equal(waysOf(mesh)?.[0]?.cluster, 'outbound|80||cart.shop.svc.cluster.local');
});

const CONSUMER = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mine, namespace: client}
spec:
  parentRefs: [{group: "", kind: Service, namespace: shop, name: web}]
  rules: [{backendRefs: [{name: web, namespace: shop, port: 80}], timeouts: {request: 1s}}]
`;
const GRANT = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: clients, namespace: shop}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: client}]
  to: [{group: "", kind: Service, name: web}]
`;

test('a route of another namespace holds for the callers of that namespace alone (ISTIO-SECURITY-2026-002)', () => {
  const producer = route('p', `{${PARENT}, rules: [{backendRefs: [{name: cart, port: 80}]}]}`);
  const mesh = compile(SERVICES, CONSUMER, GRANT, producer);
  assert.equal(waysOf(mesh, 'client')?.[0]?.cluster, WEB);
  assert.equal(waysOf(mesh, 'client')?.[0]?.timeoutMs, 1_000);
  assert.equal(waysOf(mesh, 'shop')?.[0]?.cluster, 'outbound|80||cart.shop.svc.cluster.local');
  assert.equal(waysOf(compile(SERVICES, CONSUMER, GRANT), 'shop'), undefined);
});

const pod = (name: string, namespace: string, ip: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}}
spec: {serviceAccountName: ${name}, containers: [{ports: [{containerPort: 8080}]}]}
status: {podIP: ${ip}}
`;

test('proxies of one namespace never see the routes of another (CVE-2021-34824)', () => {
  const pods = [pod('a', 'client', '10.1.0.1'), pod('b', 'shop', '10.1.0.2')];
  const producer = route('p', `{${PARENT}, rules: [{backendRefs: [{name: cart, port: 80}]}]}`);
  const mesh = compile(SERVICES, CONSUMER, GRANT, producer, ...pods);
  const cache = createResourceCache({ onFailure: () => undefined });
  const shared = new Map();
  const viewOf = (id: string) =>
    createWorkloadView({
      revision: 1,
      mesh,
      bundle: { pem: '', version: '1' },
      cache,
      shared,
      workload: mesh.workloads.get(id),
    });
  const leadsTo = (bytes: Uint8Array | undefined): string | undefined => {
    const decoded = decodeResource('route', bytes ?? new Uint8Array());
    return decoded.ok ? decoded.value.virtualHosts[0]?.routes[0]?.cluster : undefined;
  };
  const cart = 'outbound|80||cart.shop.svc.cluster.local';
  for (const [id, cluster] of [
    ['a.client', WEB],
    ['b.shop', cart],
    ['a.client', WEB],
  ] as const) {
    const view = viewOf(id);
    assert.equal(leadsTo(view.get('route', WEB)?.bytes), cluster);
    const listed = [...view.list('route')].find(({ name }) => name === WEB);
    assert.equal(leadsTo(listed?.bytes), cluster);
  }
});

test('without a grant a Service of another namespace is no backend', () => {
  const mesh = compile(SERVICES, CONSUMER);
  assert.deepEqual(waysOf(mesh, 'client')?.[0]?.rule?.answer, { kind: 'respond', status: 500 });
  const granted = GRANT.replace('name: web}', 'name: cart}');
  const other = compile(SERVICES, CONSUMER, granted);
  assert.deepEqual(waysOf(other, 'client')?.[0]?.rule?.answer, { kind: 'respond', status: 500 });
});

test('a GRPCRoute holds alone at a port that an HTTPRoute is attached to as well', () => {
  const spec = `{${PARENT}, rules: [{backendRefs: [{name: web, port: 80}]}]}`;
  const grpc = route(
    'g',
    `{${PARENT}, rules: [{matches: [{method: {service: a.B, method: C}}],
    backendRefs: [{name: web, port: 80}]}]}`,
  ).replace('HTTPRoute', 'GRPCRoute');
  const mesh = compile(SERVICES, route('r', spec), grpc);
  assert.deepEqual(
    waysOf(mesh)?.map(({ match }) => match),
    [{ kind: 'path', value: '/a.B/C' }],
  );
  const verdicts = mesh.routing?.routes.map((one) => {
    const [parent] = one.parents;
    assert.ok(parent !== undefined);
    return judgeParent(one, parent, surroundingsOf(mesh)).reason;
  });
  assert.deepEqual(verdicts, ['Accepted', 'Conflicted']);
});

const VERDICTS: readonly (readonly [string, string, string])[] = [
  [PARENT.replace('name: web', 'name: none'), 'NoMatchingParent', 'ResolvedRefs'],
  [PARENT.replace('80', '81'), 'NoMatchingParent', 'ResolvedRefs'],
  [PARENT.replace('80', '90'), 'UnsupportedProtocol', 'ResolvedRefs'],
  [PARENT, 'Accepted', 'ResolvedRefs'],
  [`${PARENT}, rules: [{backendRefs: [{name: none, port: 80}]}]`, 'Accepted', 'BackendNotFound'],
  [`${PARENT}, rules: [{backendRefs: [{name: web}]}]`, 'Accepted', 'BackendNotFound'],
  [
    `${PARENT}, rules: [{backendRefs: [{group: a, kind: B, name: web}]}]`,
    'Accepted',
    'InvalidKind',
  ],
  [
    `${PARENT}, rules: [{backendRefs: [{name: web, namespace: x, port: 80}]}]`,
    'Accepted',
    'RefNotPermitted',
  ],
];
for (const [spec, accepted, resolved] of VERDICTS) {
  test(`a route with ${spec.slice(0, 110)} is ${accepted} and ${resolved}`, () => {
    const mesh = compile(SERVICES, route('r', `{${spec}}`));
    const [one] = mesh.routing?.routes ?? [];
    const [parent] = one?.parents ?? [];
    assert.ok(one !== undefined && parent !== undefined);
    const around = surroundingsOf(mesh);
    assert.equal(judgeParent(one, parent, around).reason, accepted);
    assert.equal(judgeReferences(one, around).reason, resolved);
    const told = mesh.problems.filter(({ object }) => object?.kind === 'HTTPRoute');
    const expected = [
      ...(accepted === 'Accepted' ? [] : ['route-not-accepted']),
      ...(resolved === 'ResolvedRefs' ? [] : ['route-unresolved']),
    ];
    assert.deepEqual(
      told.map(({ code }) => code),
      expected,
    );
  });
}

test('a mesh that is kept compiled has the same ways as one that is compiled from nothing', () => {
  const all = [
    ...objectsOf(
      SERVICES,
      CONSUMER,
      GRANT,
      route('r', `{${PARENT}, rules: [{backendRefs: [{name: cart, port: 80}]}]}`),
    ),
  ];
  const compiler = new MeshCompiler(IDENTITY);
  let objects: ReadonlyMap<string, RegistryObject> = new Map();
  const check = (next: ReadonlyMap<string, RegistryObject>): void => {
    objects = next;
    const kept = compiler.compile({ revision: 1, objects });
    const fresh = compileMesh({ revision: 1, objects }, IDENTITY);
    assert.deepEqual(
      [...kept.destinations].map(([name, { routes }]) => [name, routes]),
      [...fresh.destinations].map(([name, { routes }]) => [name, routes]),
    );
    assert.deepEqual(kept.routing, fresh.routing);
  };
  let seed = 7;
  for (let step = 0; step < 200; step++) {
    seed = (seed * 48_271) % 2_147_483_647;
    const chosen = all[seed % all.length];
    assert.ok(chosen !== undefined);
    const next = new Map(objects);
    if (next.has(chosen[0])) next.delete(chosen[0]);
    else next.set(...chosen);
    check(next);
  }
});
