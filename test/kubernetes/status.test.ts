// `kubectl wait --for=condition=Enforced` returns when a policy is enforced and not before, with a real API server; the proxies are played.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createMeshViews, type MeshViews } from '@weft/controlplane/compile/mesh-views';
import { Federations } from '@weft/controlplane/federation/federations';
import { StatusWriter } from '@weft/controlplane/kubernetes/status-writer';
import { openKubernetesSource } from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { GrpcShortfallWatch } from '@weft/controlplane/status/grpc-shortfall-watch';
import { PolicyStatus } from '@weft/controlplane/status/policy-status';
import type { KubeObject } from '@weft/kube/kube-api';
import { numberAt, objectAt, textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  FEDERATED_TRUST_DOMAINS,
  type KubeResource,
  MESH_CONFIGS,
  NAMESPACES,
  PEER_AUTHENTICATIONS,
  PODS,
  SERVICE_ACCOUNTS,
  SERVICES,
  TRAFFIC_POLICIES,
} from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { installCrds, whyNot } from '../support/kube-objects.ts';
import { type Kubelab, type KubectlEnd, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
const log = pino({ level: 'silent' });
const ROOT = 'weft-system';
const PODS_PLAYED = 3;
const IN_ROOT: readonly KubeResource[] = [MESH_CONFIGS, FEDERATED_TRUST_DOMAINS];

const owned = new AsyncDisposableStack();
let lab: Kubelab;
let views: MeshViews;
/** Version of its listener that each proxy has acknowledged. */
const acked = new Map<string, string>();
const answered = new Set<() => void>();
/** Those of the proxies that are none: programs of grpc-go that serve themselves. */
const serving = new Set<string>();
let shortfalls: GrpcShortfallWatch | undefined;

async function made(resource: KubeResource, object: KubeObject): Promise<void> {
  const { kind } = resource;
  const answer = await lab.client.create(resource, {
    apiVersion: apiVersionOf(resource),
    kind,
    ...object,
  });
  assert.ok(answer.ok, whyNot(answer));
}

async function createPod(name: string): Promise<void> {
  await made(PODS, {
    metadata: { name, namespace: 'shop', labels: { app: 'web' } },
    spec: {
      serviceAccountName: 'web',
      automountServiceAccountToken: false,
      containers: [{ name: 'web', image: 'web', ports: [{ name: 'http', containerPort: 8080 }] }],
    },
  });
  const podIP = `10.1.0.${name.slice(4)}`;
  const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }] };
  const options = { type: 'merge', patch: { status }, subresource: 'status' } as const;
  const answer = await lab.client.patch(PODS, { namespace: 'shop', name }, options);
  assert.ok(answer.ok, whyNot(answer));
}

before(async () => {
  if (skip !== false) return;
  lab = owned.use(await startKubelab({ controllers: [] }));
  await installCrds(lab);
  for (const name of ['shop', ROOT]) await made(NAMESPACES, { metadata: { name } });
  await made(SERVICE_ACCOUNTS, { metadata: { name: 'web', namespace: 'shop' } });
  for (let at = 1; at <= PODS_PLAYED; at++) await createPod(`web-${at}`);
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  const clock = systemClock;
  const source = owned.use(
    await openKubernetesSource({ client: lab.client, rootNamespace: ROOT, log, clock }),
  );
  const bundle = { sequence: 7, x509Authorities: [], jwtAuthorities: [] };
  const fetch = () => Promise.resolve({ ok: true, bundle, document: '{}' } as const);
  const federation = owned.use(new Federations({ clock, log, fetch }));
  views = owned.use(
    createMeshViews({
      source,
      federations: federation,
      trustDomain,
      rootNamespace: ROOT,
      bundle: () => ({ version: '1', pem: '' }),
      onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
      moreProblems: () => shortfalls?.problems() ?? [],
    }),
  );
  shortfalls = owned.use(
    new GrpcShortfallWatch({
      views,
      ads: {
        *grpcServers() {
          for (const proxyId of serving) yield { proxyId, library: 'go' };
        },
        onAnswer: () => ({ [Symbol.dispose]: () => undefined }),
      },
      elsewhere: () => [],
      clock,
    }),
  );
  const policies = owned.use(
    new PolicyStatus({
      views,
      ads: {
        statusOf: () =>
          [...views.mesh().workloads.values()].flatMap(({ id, identity }) =>
            identity === undefined
              ? []
              : [{ proxyId: id, identity, acked: acked.get(id), refused: undefined }],
          ),
        onAnswer: (listener) => {
          const entry = (): void => listener(Object.create(null));
          answered.add(entry);
          return { [Symbol.dispose]: () => answered.delete(entry) };
        },
      },
      evaluationOf: () => ({ isReporting: false }),
      unenforced: () => shortfalls?.unenforced() ?? new Map(),
      onReport: () => ({ [Symbol.dispose]: () => undefined }),
      clock,
      onEnforced: () => undefined,
    }),
  );
  const { client } = lab;
  owned.use(new StatusWriter({ client, source, views, policies, federation, clock, log }));
});
after(() => owned.disposeAsync());

/** The first of the proxies acknowledge what they are to have now. */
function acknowledge(name: string, count = PODS_PLAYED): void {
  const placement = views.policies().find((one) => one.name === name);
  for (const { proxyId, listenerVersion } of placement?.workloads.slice(0, count) ?? []) {
    acked.set(proxyId, listenerVersion);
  }
  for (const listener of answered) listener();
}

const apply = async (resource: KubeResource, name: string, spec: object): Promise<void> => {
  const { kind } = resource;
  const namespace = IN_ROOT.includes(resource) ? ROOT : 'shop';
  const object = { apiVersion: apiVersionOf(resource), kind, metadata: { name, namespace }, spec };
  const args = ['apply', '--validate=false', '-f', '-'];
  const { code, stderr } = await lab.kubectl(args, { input: JSON.stringify(object) });
  assert.equal(code, 0, stderr);
};

const wait = (what: string, seconds = 20): Promise<KubectlEnd> =>
  lab.kubectl(['wait', '-n', 'shop', '--for=condition=Enforced', `--timeout=${seconds}s`, what]);

/** Again and again: what is acknowledged is what a proxy has by then, which may be the version before. */
const untilAcknowledged = (what: string, name: string): Promise<boolean> =>
  eventually(
    async () => {
      acknowledge(name);
      return (await wait(what, 2)).code === 0;
    },
    { what: `${what} is enforced`, withinMs: 30_000 },
  );

async function statusOf(resource: KubeResource, name: string): Promise<KubeObject | undefined> {
  const namespace = IN_ROOT.includes(resource) ? ROOT : 'shop';
  const found = await lab.client.get(resource, { namespace, name });
  assert.ok(found.ok, whyNot(found));
  return objectAt(found.value, 'status');
}

function condition(status: KubeObject | undefined, type: string): PlainObject | undefined {
  const conditions = status?.['conditions'];
  const list: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  return list.filter(isPlainObject).find((one) => one['type'] === type);
}

const eventuallyIs = (
  resource: KubeResource,
  name: string,
  [type, status, reason]: readonly [string, string, string],
): Promise<PlainObject> =>
  eventually(
    async () => {
      const found = condition(await statusOf(resource, name), type);
      return found?.['status'] === status && found['reason'] === reason ? found : undefined;
    },
    { what: `${name} ${type}=${status} ${reason}`, withinMs: 20_000 },
  );

const READERS = { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] };
const WRITERS = { rules: [{ to: [{ operation: { methods: ['POST'] } }] }] };

test(
  'kubectl wait returns when every proxy has a policy, and not while one has not',
  only,
  async () => {
    await apply(AUTHORIZATION_POLICIES, 'p', READERS);
    await eventuallyIs(AUTHORIZATION_POLICIES, 'p', ['Enforced', 'False', 'Waiting']);
    acknowledge('p', 2);
    const waiting = await eventually(
      async () => {
        const found = condition(await statusOf(AUTHORIZATION_POLICIES, 'p'), 'Enforced');
        const text = String(found?.['message']);
        return text.startsWith('2 of 3') ? text : undefined;
      },
      { what: 'two of three', withinMs: 20_000 },
    );
    assert.match(waiting, /web-\d\.shop \(not-acknowledged\)/);
    assert.notEqual((await wait('wap/p', 1)).code, 0);
    acknowledge('p');
    const { code, stderr } = await wait('wap/p');
    assert.equal(code, 0, stderr);
    const { stdout } = await lab.kubectl(['get', 'wap', '-n', 'shop', 'p', '--no-headers']);
    assert.match(stdout, /^p +ALLOW +3 +3\/3 +True/);
  },
);

test(
  'after a change kubectl wait does not return by the status of the version before (threat: false assurance)',
  only,
  async () => {
    await apply(AUTHORIZATION_POLICIES, 'p', WRITERS);
    assert.notEqual((await wait('wap/p', 1)).code, 0);
    await untilAcknowledged('wap/p', 'p');
    const found = await lab.client.get(AUTHORIZATION_POLICIES, { namespace: 'shop', name: 'p' });
    assert.ok(found.ok);
    const { value } = found;
    assert.equal(
      numberAt(value, 'status', 'observedGeneration'),
      numberAt(value, 'metadata', 'generation'),
    );
  },
);

test('a policy that cannot be read says so, and what is wrong with it', only, async () => {
  await apply(AUTHORIZATION_POLICIES, 'p', { rules: [{ form: [] }] });
  const accepted = await eventuallyIs(AUTHORIZATION_POLICIES, 'p', [
    'Accepted',
    'False',
    'Invalid',
  ]);
  assert.match(String(accepted['message']), /spec\.rules\[0\]\.form: unknown field "form"/);
  assert.equal(
    condition(await statusOf(AUTHORIZATION_POLICIES, 'p'), 'Enforced')?.['status'],
    'False',
  );
  await apply(AUTHORIZATION_POLICIES, 'p', READERS);
  await eventuallyIs(AUTHORIZATION_POLICIES, 'p', ['Accepted', 'True', 'Valid']);
});

test('other kinds have a status too, and a MeshConfig has no enforcement', only, async () => {
  await apply(PEER_AUTHENTICATIONS, 'strict', { mtls: { mode: 'STRICT' } });
  await apply(MESH_CONFIGS, 'mesh', { ambiguousPaths: 'REFUSE' });
  const config = await eventuallyIs(MESH_CONFIGS, 'mesh', ['Accepted', 'True', 'Valid']);
  assert.equal(config['observedGeneration'], 1);
  await eventually(() => views.mesh().settings.ambiguousPaths === 'REFUSE', { what: 'REFUSE' });
  await untilAcknowledged('wpa/strict', 'strict');
  assert.equal(condition(await statusOf(MESH_CONFIGS, 'mesh'), 'Enforced'), undefined);
});

test(
  'a FederatedTrustDomain says when its bundle was fetched and until when it holds; one of our own is refused',
  only,
  async () => {
    const bundleEndpoint = { url: 'https://partner.example/', profile: 'https_web' };
    await apply(FEDERATED_TRUST_DOMAINS, 'partner', {
      trustDomain: 'partner.example',
      bundleEndpoint,
    });
    await eventuallyIs(FEDERATED_TRUST_DOMAINS, 'partner', ['Accepted', 'True', 'Valid']);
    const fetched = ['BundleFetched', 'True', 'Fetched'] as const;
    const { message } = await eventuallyIs(FEDERATED_TRUST_DOMAINS, 'partner', fetched);
    assert.match(String(message), /^fetched at 20.*Z, believed until 20.*Z; sequence 7, 0 roots/);
    await apply(FEDERATED_TRUST_DOMAINS, 'own', { trustDomain: 'cluster.local', bundleEndpoint });
    await eventuallyIs(FEDERATED_TRUST_DOMAINS, 'own', ['Accepted', 'False', 'Invalid']);
    await eventuallyIs(FEDERATED_TRUST_DOMAINS, 'own', ['BundleFetched', 'False', 'NotInForce']);
  },
);

test('a status that somebody edits is put back', only, async () => {
  acknowledge('strict');
  await wait('wpa/strict');
  const patch = { status: { enforced: '9/9', conditions: [] } };
  const target = { namespace: 'shop', name: 'strict' };
  const options = { type: 'merge', patch, subresource: 'status' } as const;
  const edited = await lab.client.patch(PEER_AUTHENTICATIONS, target, options);
  assert.ok(edited.ok, whyNot(edited));
  await eventuallyIs(PEER_AUTHENTICATIONS, 'strict', ['Enforced', 'True', 'AllEnforced']);
  assert.equal(textAt(await statusOf(PEER_AUTHENTICATIONS, 'strict'), 'enforced'), '3/3');
});

test(
  'a policy made anew under a name does not inherit the status of the one before',
  only,
  async () => {
    acknowledge('p');
    assert.equal((await wait('wap/p')).code, 0);
    const deleted = await lab.kubectl(['delete', 'wap', '-n', 'shop', 'p', '--wait']);
    assert.equal(deleted.code, 0, deleted.stderr);
    await apply(AUTHORIZATION_POLICIES, 'p', WRITERS);
    assert.notEqual((await wait('wap/p', 1)).code, 0);
    await untilAcknowledged('wap/p', 'p');
  },
);

test(
  'a TrafficPolicy for a Service is enforced when every Pod behind it has it, and by nobody without the Service',
  only,
  async () => {
    const targetRefs = [{ kind: 'Service', name: 'front' }];
    await apply(TRAFFIC_POLICIES, 'calm', { targetRefs, limits: { maxHeaders: 50 } });
    await eventuallyIs(TRAFFIC_POLICIES, 'calm', ['Accepted', 'True', 'Valid']);
    const ofNobody = await statusOf(TRAFFIC_POLICIES, 'calm');
    assert.notEqual(condition(ofNobody, 'Enforced')?.['status'], 'True');
    const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
    await made(SERVICES, {
      metadata: { name: 'front', namespace: 'shop' },
      spec: { selector: { app: 'web' }, ports },
    });
    await eventuallyIs(TRAFFIC_POLICIES, 'calm', ['Enforced', 'False', 'Waiting']);
    acknowledge('calm');
    assert.equal((await wait('wtp/calm')).code, 0);
    assert.equal((await statusOf(TRAFFIC_POLICIES, 'calm'))?.['selected'], PODS_PLAYED);
  },
);

test(
  'a policy of which a gRPC server does nothing is Enforced no more, one that it closes says so, and kubectl shows both (threat: false assurance)',
  only,
  async () => {
    const spec = {
      action: 'DENY',
      rules: [{ when: [{ key: 'connection.sni', values: ['a'] }] }],
    };
    await apply(AUTHORIZATION_POLICIES, 'names', spec);
    await eventuallyIs(AUTHORIZATION_POLICIES, 'names', ['Accepted', 'True', 'Valid']);
    acknowledge('names');
    acknowledge('calm');
    await wait('wap/names');
    assert.equal((await wait('wtp/calm')).code, 0);
    serving.add('web-1.shop');
    acknowledge('calm');
    await eventuallyIs(TRAFFIC_POLICIES, 'calm', ['Enforced', 'False', 'Unsupported']);
    const never = condition(await statusOf(TRAFFIC_POLICIES, 'calm'), 'Enforced')?.['message'];
    assert.match(
      String(never),
      /^2 of 3 workloads enforce it; never, as they are, web-1\.shop \(unsupported: holds back/,
    );
    await eventuallyIs(AUTHORIZATION_POLICIES, 'names', ['Accepted', 'True', 'ValidWithWarnings']);
    await eventuallyIs(AUTHORIZATION_POLICIES, 'names', ['Enforced', 'True', 'AllEnforced']);
    const { stdout } = await lab.kubectl(['describe', 'wap', '-n', 'shop', 'names']);
    assert.match(
      stdout,
      /spec\.rules\[0\]: denies more than it says at web-1\.shop, gRPC without a proxy: the server name/,
    );
    serving.clear();
    acknowledge('calm');
    assert.equal((await wait('wtp/calm')).code, 0);
  },
);
