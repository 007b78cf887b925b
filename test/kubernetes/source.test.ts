// The registry follows a real API server: what every source owes the mesh, and what an API server may do to it.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { FOLLOWED_KINDS } from '@weft/controlplane/registry/kubernetes/followed-kinds';
import {
  type KubernetesSource,
  type KubernetesSourceOptions,
  openKubernetesSource,
} from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import type { KubeClient, KubeResult } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  type KubeResource,
  NAMESPACES,
  resource,
} from '@weft/kube/resource';
import type { SourceState } from '@weft/controlplane/registry/source';
import type { Problem } from '@weft/model/problem';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { clientOf } from '../support/kubelab-account.ts';
import { eventually } from '../support/lab-wait.ts';
import {
  type Manifest,
  type SourcePlace,
  testSource,
  untilState,
} from '../support/source-suite.ts';

const skip = kubelabMissing() ?? false;
const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const ROOT_NAMESPACE = 'weft-system';
const ROLES = resource('rbac.authorization.k8s.io/v1', 'Role', 'roles', 'namespaced');
const CLUSTER_ROLES = resource(
  'rbac.authorization.k8s.io/v1',
  'ClusterRole',
  'clusterroles',
  'cluster',
);
const RESOURCES: readonly KubeResource[] = [
  ...FOLLOWED_KINDS.flatMap(({ resources }) => resources),
  CUSTOM_RESOURCE_DEFINITIONS,
  ROLES,
  { ...ROLES, kind: 'RoleBinding', plural: 'rolebindings' },
  CLUSTER_ROLES,
  { ...CLUSTER_ROLES, kind: 'ClusterRoleBinding', plural: 'clusterrolebindings' },
];
const ISTIO = resource(
  'security.istio.io/v1',
  'AuthorizationPolicy',
  'authorizationpolicies',
  'namespaced',
);
const ROUTES = resource('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes', 'namespaced');

let lab: Kubelab;
let count = 0;

before(async () => {
  if (skip !== false) return;
  lab = await startKubelab({ controllers: ['serviceaccount', 'namespace'] });
  for (const file of globSync('deploy/crds/*.yaml', { cwd: ROOT })) {
    await apply(parse(readFileSync(join(ROOT, file), 'utf8')) as Manifest);
  }
  for (const { kind, resources } of FOLLOWED_KINDS) {
    if (kind.close !== undefined && resources[0].group.endsWith('weft.dev')) {
      await served(resources[0]);
    }
  }
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: ROOT_NAMESPACE } });
});
after(() => lab?.[Symbol.asyncDispose]());

function good<T>(answer: KubeResult<T>): T {
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
  return answer.value;
}

function resourceOf({ apiVersion, kind }: Manifest): KubeResource {
  const found = RESOURCES.find((each) => each.kind === kind && apiVersionOf(each) === apiVersion);
  assert.ok(found, `${apiVersion} ${kind}`);
  return found;
}

/** As `kubectl apply --server-side`; a Pod's status as its kubelet. */
async function apply(manifest: Manifest): Promise<void> {
  const { status, ...object } = manifest;
  const to = resourceOf(manifest);
  const options = { fieldManager: 'test', isForced: true };
  good(await lab.client.apply(to, object, options));
  if (status === undefined) return;
  const { apiVersion, kind, metadata } = manifest;
  const { name, namespace } = metadata;
  const report = { apiVersion, kind, metadata: { name, namespace }, status };
  good(await lab.client.apply(to, report, { ...options, subresource: 'status' }));
}

async function remove(manifest: Manifest): Promise<void> {
  const { name, namespace } = manifest.metadata;
  const options = { gracePeriodSeconds: 0 };
  good(await lab.client.delete(resourceOf(manifest), { name, namespace }, options));
}

/** Until the API server lists it; a new definition takes a moment. */
async function served(what: KubeResource): Promise<void> {
  const endMs = Date.now() + 20_000;
  for (;;) {
    const answer = await lab.client.list(what, { limit: 1 });
    if (answer.ok) return;
    if (Date.now() > endMs) throw new Error(answer.message);
  }
}

async function newNamespace(): Promise<string> {
  const name = `source-${++count}`;
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  return name;
}

async function openPlace(): Promise<SourcePlace> {
  const namespace = await newNamespace();
  return {
    namespace,
    apply,
    remove,
    open: () => openKubernetesSource({ client: lab.client, rootNamespace: ROOT_NAMESPACE }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function open(
  t: TestContext,
  options: Partial<KubernetesSourceOptions> = {},
): Promise<KubernetesSource> {
  const source = await openKubernetesSource({
    client: lab.client,
    rootNamespace: ROOT_NAMESPACE,
    signal: t.signal,
    ...options,
  });
  t.after(() => source[Symbol.asyncDispose]());
  return source;
}

const policy = (namespace: string, spec: object, group = 'security.weft.dev'): Manifest => ({
  apiVersion: `${group}/v1`,
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace },
  spec,
});
const DENY = { action: 'DENY', rules: [{}] };
const keyOf = (namespace: string): string => `AuthorizationPolicy/${namespace}/p`;

testSource({ name: 'a cluster as a source', openPlace, skip });

test('a cluster as a source gives uid, generation and status of a policy as they are there', {
  skip,
}, async (t) => {
  const namespace = await newNamespace();
  await apply(policy(namespace, DENY));
  const source = await open(t);
  const key = keyOf(namespace);
  const before = source.state.snapshot;
  const { status } = { status: { selected: 3, enforced: '1/3' } };
  const { spec: _, ...rest } = policy(namespace, DENY);
  const options = { fieldManager: 'weft', subresource: 'status' };
  const made = good(await lab.client.apply(AUTHORIZATION_POLICIES, { ...rest, status }, options));
  const state = await untilState(
    source,
    ({ origins }) => origins?.get(key)?.status?.['selected'] === 3,
  );
  const origin = state.origins?.get(key);
  assert.equal(origin?.uid, textAt(made, 'metadata', 'uid'));
  assert.equal(origin?.resourceVersion, textAt(made, 'metadata', 'resourceVersion'));
  assert.equal(origin?.generation, 1);
  assert.deepEqual(origin?.status, status);
  assert.equal(state.snapshot.objects.get(key), before.objects.get(key));
  await apply(policy(namespace, { rules: [{}] }));
  await untilState(source, ({ origins }) => origins?.get(key)?.generation === 2);
});

test('a cluster as a source keeps what was read while the API server is stopped, and goes on when it is back', {
  skip,
}, async (t) => {
  const namespace = await newNamespace();
  await apply(policy(namespace, DENY));
  const source = await open(t);
  // A controller makes it, some time after the namespace.
  const account = `ServiceAccount/${namespace}/default`;
  const { snapshot } = await untilState(source, (state) => state.snapshot.objects.has(account));
  await lab.kill('apiserver');
  const away = await untilState(source, ({ problems }) => problems.some(isAway));
  assert.equal(away.snapshot, snapshot);
  assert.equal(away.problems.filter(isAway).length, 1);
  await lab.start('apiserver');
  await remove(policy(namespace, DENY));
  await untilState(source, (state) => !state.snapshot.objects.has(keyOf(namespace)));
  await untilState(source, ({ problems }) => !problems.some(isAway));
});
const isAway = ({ code }: Problem): boolean => code === 'api-server-unreachable';

test('a cluster as a source goes on after API server and etcd were killed', { skip }, async (t) => {
  const namespace = await newNamespace();
  const source = await open(t);
  await lab.restart();
  await apply(policy(namespace, DENY));
  await untilState(source, ({ snapshot }) => snapshot.objects.has(keyOf(namespace)));
  await untilState(source, ({ problems }) => !problems.some(isAway));
});

const definition = (of: KubeResource): Manifest => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: `${of.plural}.${of.group}`,
    annotations: { 'api-approved.kubernetes.io': 'unapproved, test' },
  },
  spec: {
    group: of.group,
    scope: 'Namespaced',
    names: { kind: of.kind, plural: of.plural },
    versions: [
      {
        name: of.version,
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        },
      },
    ],
  },
});

test('a cluster as a source picks up policies of Istio when their CRD comes, and drops them when it goes', {
  skip,
}, async (t) => {
  const namespace = await newNamespace();
  const source = await open(t);
  const key = keyOf(namespace);
  await apply(definition(ISTIO));
  await served(ISTIO);
  await apply(policy(namespace, DENY, ISTIO.group));
  const { origins } = await untilState(source, ({ snapshot }) => snapshot.objects.has(key));
  assert.equal(origins?.get(key)?.resource.group, ISTIO.group);
  await remove(definition(ISTIO));
  await untilState(source, ({ snapshot }) => !snapshot.objects.has(key));
});

test('a cluster as a source takes a route that is attached to a Service', {
  skip,
}, async (t) => {
  const namespace = await newNamespace();
  await apply(definition(ROUTES));
  await served(ROUTES);
  await apply({
    apiVersion: apiVersionOf(ROUTES),
    kind: ROUTES.kind,
    metadata: { name: 'r', namespace },
    spec: { parentRefs: [{ group: '', kind: 'Service', name: 'web' }] },
  });
  const source = await open(t);
  await untilState(source, ({ snapshot }) => snapshot.objects.has(`HTTPRoute/${namespace}/r`));
  await remove(definition(ROUTES));
});

/** A client with the rights of a service account of its own, and nothing beside them. */
async function clientWith(
  t: TestContext,
  bind: (subject: object, name: string) => readonly Manifest[],
): Promise<KubeClient> {
  const namespace = await newNamespace();
  const metadata = { name: 'control-plane', namespace };
  await apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata });
  const subject = { kind: 'ServiceAccount', ...metadata };
  for (const manifest of bind(subject, namespace)) await apply(manifest);
  const client = await clientOf(lab, metadata);
  t.after(() => client[Symbol.dispose]());
  return client;
}

const rbac = (kind: string, metadata: Manifest['metadata'], more: object): Manifest => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind,
  metadata,
  ...more,
});
const roleRef = (kind: string, name: string): object => ({
  apiGroup: 'rbac.authorization.k8s.io',
  kind,
  name,
});
const rulesFor = (kinds: typeof FOLLOWED_KINDS): readonly object[] =>
  kinds.map(({ resources: [{ group, plural }] }) => ({
    apiGroups: [group],
    resources: [plural],
    verbs: ['list', 'watch'],
  }));

test('a cluster as a source needs to list and watch what it follows, no more, and says which of that is missing', {
  skip,
}, async (t) => {
  const roleOf = (name: string, kinds: typeof FOLLOWED_KINDS): Manifest =>
    rbac('ClusterRole', { name }, { rules: rulesFor(kinds) });
  let role = '';
  const client = await clientWith(t, (subject, name) => {
    role = name;
    const more = { roleRef: roleRef('ClusterRole', name), subjects: [subject] };
    const all = FOLLOWED_KINDS.filter(({ kind }) => kind.kind !== 'Pod');
    return [roleOf(name, all), rbac('ClusterRoleBinding', { name }, more)];
  });
  // The API server knows of a Role some time after it is there.
  await eventually(async () => (await client.list(NAMESPACES)).ok, { what: 'the rights' });
  const told = Promise.withResolvers<readonly Problem[]>();
  const random = (): number => 0;
  const opening = open(t, { client, random, onWaiting: told.resolve });
  const [problem] = await told.promise;
  assert.equal(problem?.code, 'not-permitted');
  assert.match(problem.message, /^Cannot list pods in all namespaces: .*verb "list" on "pods"/);
  await apply(roleOf(role, FOLLOWED_KINDS));
  const source = await opening;
  assert.deepEqual(
    source.state.problems.filter(({ code }) => code === 'not-permitted'),
    [],
  );
  await untilState(source, () => source.staleSinceMs === undefined);
});

test('a cluster as a source does with Roles alone when it is to follow a few namespaces', {
  skip,
}, async (t) => {
  const namespace = await newNamespace();
  const other = await newNamespace();
  const client = await clientWith(t, (subject) =>
    [ROOT_NAMESPACE, namespace].flatMap((each) => {
      const metadata = { name: 'follow', namespace: each };
      const own = { apiGroups: [''], resources: ['namespaces'], verbs: ['get'] };
      const kinds = FOLLOWED_KINDS.filter(({ scope }) => scope !== 'namespace-names');
      return [
        rbac('Role', metadata, { rules: [own, ...rulesFor(kinds)] }),
        rbac('RoleBinding', metadata, { roleRef: roleRef('Role', 'follow'), subjects: [subject] }),
      ];
    }),
  );
  await apply(policy(other, DENY));
  const source = await open(t, { client, namespaces: [namespace] });
  assert.deepEqual(source.state.problems, []);
  await apply(policy(namespace, DENY));
  const { snapshot } = await untilState(source, (state) =>
    state.snapshot.objects.has(keyOf(namespace)),
  );
  assert.ok(snapshot.objects.has(`Namespace//${namespace}`));
  assert.equal(snapshot.objects.has(keyOf(other)), false);
  assert.equal(snapshot.objects.has(`Namespace//${other}`), false);
});

test('a cluster as a source reads a namespace that is being deleted to its end', {
  skip,
}, async (t) => {
  const namespace = await newNamespace();
  await apply(policy(namespace, DENY));
  const source = await open(t);
  good(await lab.client.delete(NAMESPACES, { name: namespace }));
  const isGone = ({ snapshot }: SourceState): boolean =>
    !snapshot.objects.has(`Namespace//${namespace}`);
  // Controllers of the cluster let some seconds go by before they look at it.
  await untilState(source, isGone, 60_000);
  assert.equal(source.state.snapshot.objects.has(keyOf(namespace)), false);
});

test('a cluster as a source follows more namespaces than it may have requests at once', {
  skip,
}, async (t) => {
  const namespaces = Array.from({ length: 8 }, (_, index) => `many-${index}`);
  const source = await open(t, { namespaces });
  const last = namespaces.at(-1) ?? '';
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: last } });
  await apply(policy(last, DENY));
  await untilState(source, ({ snapshot }) => snapshot.objects.has(keyOf(last)));
});
