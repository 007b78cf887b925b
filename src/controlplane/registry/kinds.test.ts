import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readObjects, type ReadFile, type ReadObject } from './read-objects.ts';

const read = (text: string): ReadFile => readObjects(text, 'a.yaml');

function only(text: string): ReadObject {
  const { objects, problems } = read(text);
  assert.deepEqual(problems, []);
  const [object] = objects;
  assert.ok(object !== undefined && objects.length === 1, `${objects.length} objects`);
  return object;
}

/** Code, field, line and column of each problem of the only object. */
const found = (text: string): readonly unknown[] =>
  only(text).problems.map(({ code, field, source }) => [code, field, source?.line, source?.column]);

function goodOf(text: string): unknown {
  const { outcome, problems } = only(text);
  assert.deepEqual(problems, []);
  assert.ok(outcome.kind === 'good');
  return outcome.object;
}

const META = 'metadata: {name: web, namespace: shop}';
const meta = { namespace: 'shop', name: 'web', labels: new Map(), annotations: new Map() };
const POLICY = `apiVersion: security.weft.dev/v1\nkind: AuthorizationPolicy\n${META}\n`;

const good: readonly (readonly [string, string, unknown])[] = [
  [
    'a Namespace',
    'apiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {a: b}}',
    { kind: 'Namespace', meta: { ...meta, namespace: '', labels: new Map([['a', 'b']]) } },
  ],
  [
    'a ServiceAccount, in default when no namespace is named',
    'apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}',
    { kind: 'ServiceAccount', meta: { ...meta, namespace: 'default' } },
  ],
  [
    'a Service',
    `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {
      "clusterIP": "10.0.0.1", "selector": {"app": "web"}, "ports": [
        {"port": 80, "targetPort": "web"}, {"name": "grpc", "port": 81, "appProtocol": "grpc"},
        {"port": 53, "protocol": "UDP"}]}}`,
    {
      kind: 'Service',
      meta,
      selector: new Map([['app', 'web']]),
      clusterIps: ['10.0.0.1'],
      isHeadless: false,
      publishesNotReady: false,
      ports: [
        { name: '', port: 80, targetPort: 'web', appProtocol: undefined },
        { name: 'grpc', port: 81, targetPort: 81, appProtocol: 'grpc' },
      ],
    },
  ],
  [
    'a headless Service',
    `apiVersion: v1\nkind: Service\n${META}\nspec: {clusterIP: None, clusterIPs: [None], publishNotReadyAddresses: true}`,
    {
      kind: 'Service',
      meta,
      selector: undefined,
      clusterIps: [],
      isHeadless: true,
      publishesNotReady: true,
      ports: [],
    },
  ],
  [
    'an EndpointSlice',
    `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {port: null}]
endpoints:
- addresses: [127.0.1.1]
  targetRef: {kind: Pod, name: web-0}
- {addresses: ["fd00:0::1"], conditions: {ready: false, serving: true, terminating: true}}`,
    {
      kind: 'EndpointSlice',
      meta: { ...meta, labels: new Map([['kubernetes.io/service-name', 'web']]) },
      service: 'web',
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [
        { addresses: ['127.0.1.1'], isReady: true, isDraining: false, pod: 'web-0' },
        { addresses: ['fd00::1'], isReady: false, isDraining: true, pod: undefined },
      ],
    },
  ],
  [
    'a Pod',
    `apiVersion: v1
kind: Pod
${META}
spec:
  serviceAccountName: web
  containers: [{ports: [{containerPort: 8080, name: http}, {containerPort: 53, protocol: UDP}]}, {}]
status:
  phase: Running
  podIP: 127.0.1.1
  podIPs: [{ip: 127.0.1.1}, {ip: fd00::1}]
  conditions: [{type: Ready, status: "False"}]`,
    {
      kind: 'Pod',
      meta,
      serviceAccount: 'web',
      ips: ['127.0.1.1', 'fd00::1'],
      ports: [{ name: 'http', port: 8080 }],
      isReady: false,
      isDeleting: false,
      isFinished: false,
    },
  ],
  [
    'a Pod that says nothing as ready, with the default account',
    `apiVersion: v1\nkind: Pod\n${META}`,
    {
      kind: 'Pod',
      meta,
      serviceAccount: 'default',
      ips: [],
      ports: [],
      isReady: true,
      isDeleting: false,
      isFinished: false,
    },
  ],
  [
    'a MeshConfig, with defaults for what it leaves out',
    'apiVersion: mesh.weft.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {trustDomainAliases: [old.example], trustedHops: 2}',
    {
      kind: 'MeshConfig',
      name: 'mesh',
      config: {
        trustDomainAliases: ['old.example'],
        pathNormalization: 'BASE',
        ambiguousPaths: 'NORMALIZE',
        outboundTrafficPolicy: 'ALLOW_ANY',
        extensionProviders: [],
        trustedHops: 2,
        jwksAllowedNetworks: [],
      },
    },
  ],
];
for (const [name, text, expected] of good) {
  test(`readObjects() reads ${name}`, () => {
    assert.deepEqual(goodOf(text), expected);
  });
}

test('readObjects() takes objects that the mesh cannot route to for nothing, with a warning', () => {
  const slice = `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n${META}`;
  for (const [text, code] of [
    [service('  type: ExternalName'), 'external-name'],
    [slice, 'slice-without-service'],
  ] as const) {
    const { outcome, problems } = only(text);
    assert.deepEqual(outcome, { kind: 'good', object: undefined });
    assert.deepEqual(
      problems.map((problem) => [problem.severity, problem.code]),
      [['warning', code]],
    );
  }
});

test('readObjects() has nothing to say about a route of a gateway', () => {
  assert.equal(goodOf(route('HTTPRoute', '{name: gateway}')), undefined);
});

test('readObjects() makes a Pod for each address of a Deployment in a folder', () => {
  const { objects, problems } = read(`apiVersion: apps/v1
kind: Deployment
${META}
spec:
  template:
    metadata:
      labels: {app: web}
      annotations: {weft.dev/pod-ips: "127.0.1.1, 127.0.1.2"}
    spec: {serviceAccountName: web, containers: [{ports: [{containerPort: 8080}]}]}
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    objects.map(({ key }) => key),
    ['Pod/shop/web-0', 'Pod/shop/web-1'],
  );
  const ips = objects.map(({ outcome }) =>
    outcome.kind === 'good' && outcome.object?.kind === 'Pod' ? outcome.object.ips : undefined,
  );
  assert.deepEqual(ips, [['127.0.1.1'], ['127.0.1.2']]);
});

test('readObjects() makes nothing of a Deployment without addresses', () => {
  assert.deepEqual(read(`apiVersion: apps/v1\nkind: Deployment\n${META}`).objects, []);
});

const service = (spec: string): string =>
  `apiVersion: v1\nkind: Service\n${META}\nspec:\n${spec}\n`;
const route = (kind: string, parent = '{group: "", kind: Service, name: web}'): string =>
  `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\n${META}\nspec: {parentRefs: [${parent}]}\n`;
const bad: readonly (readonly [string, string, readonly unknown[]])[] = [
  [
    'a port out of range',
    service('  ports: [{port: 70000}]'),
    [['bad-port', 'spec.ports[0].port', 5, 12]],
  ],
  [
    'a port that is a mapping',
    service('  ports: [{port: {a: 1}}]'),
    [['bad-port', 'spec.ports[0].port', 5, 12]],
  ],
  [
    'a number for a label',
    service('  selector:\n    app: 1'),
    [['wrong-type', 'spec.selector.app', 6, 5]],
  ],
  ['a list for the spec', service('- a'), [['wrong-type', 'spec', 4, 1]]],
  ['an address that is none', service('  clusterIP: 1.2.3'), [['bad-ip', 'spec.clusterIP', 5, 3]]],
  [
    'a name that is none',
    'apiVersion: v1\nkind: Pod\nmetadata:\n  name: Web',
    [['bad-name', 'metadata.name', 4, 3]],
  ],
  ['no metadata', 'apiVersion: v1\nkind: Pod', [['bad-name', 'metadata.name', 1, 1]]],
  [
    'an unknown field of a policy',
    `${POLICY}spec:\n  acton: DENY\n`,
    [['unknown-field', 'spec.acton', 5, 3]],
  ],
  [
    'an unknown version of a policy',
    POLICY.replace('weft', 'wefd'),
    [['unknown-api-version', 'apiVersion', 1, 1]],
  ],
  [
    'an unknown field of a MeshConfig',
    'apiVersion: mesh.weft.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\nspec: {trustedHop: 1}',
    [['unknown-field', 'spec.trustedHop', 4, 8]],
  ],
];
for (const [name, text, expected] of bad) {
  test(`readObjects() refuses ${name} and says where it is`, () => {
    assert.deepEqual(found(text), expected);
    assert.equal(only(text).outcome.kind, 'bad');
  });
}
