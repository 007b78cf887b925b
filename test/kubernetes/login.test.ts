// BasicAuthentications of a real cluster: what the API server takes, the Secret that is followed by its name alone, and the status that says so.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createMeshViews, type MeshViews } from '@weft/controlplane/compile/mesh-views';
import { StatusWriter } from '@weft/controlplane/kubernetes/status-writer';
import { openKubernetesSource } from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { withNamedSecrets } from '@weft/controlplane/registry/kubernetes/named-secrets';
import { PolicyStatus } from '@weft/controlplane/status/policy-status';
import type { KubeObject } from '@weft/kube/kube-api';
import {
  apiVersionOf,
  BASIC_AUTHENTICATIONS,
  type KubeResource,
  NAMESPACES,
  PODS,
  SECRETS,
} from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { pino } from 'pino';
import { installCrds, whyNot } from '../support/kube-objects.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
const log = pino({ level: 'silent' });
const ROOT = 'weft-system';
const HASHES = [
  '$2b$08$sF6CQ9vo13WtOVejO94sZu3g6gF98XAcUHeRS6ieQCIGs1KygdlcW',
  '$2b$08$VSqLqtl/7TkQUca2ypyBw.8Tl5a2dSeK57Vi1oWhgJu6ciiVfpjHi',
] as const;

const owned = new AsyncDisposableStack();
let lab: Kubelab;
let views: MeshViews;

async function made(resource: KubeResource, object: KubeObject): Promise<void> {
  const { kind } = resource;
  const whole = { apiVersion: apiVersionOf(resource), kind, ...object };
  const answer = await lab.client.create(resource, whole);
  assert.ok(answer.ok, whyNot(answer));
}

const login = (spec: object, name = 'login'): KubeObject => ({
  apiVersion: apiVersionOf(BASIC_AUTHENTICATIONS),
  kind: 'BasicAuthentication',
  metadata: { name, namespace: 'shop' },
  spec,
});

const apply = (object: KubeObject) =>
  lab.kubectl(['apply', '--validate=false', '-f', '-'], { input: JSON.stringify(object) });

const list = (text: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'web-users', namespace: 'shop' },
  stringData: { auth: text },
});

before(async () => {
  if (skip !== false) return;
  lab = owned.use(await startKubelab({ controllers: [] }));
  await installCrds(lab);
  for (const name of ['shop', ROOT]) await made(NAMESPACES, { metadata: { name } });
  await lab.kubectl(['create', 'serviceaccount', 'web', '-n', 'shop']);
  await made(PODS, {
    metadata: { name: 'web-1', namespace: 'shop', labels: { app: 'web' } },
    spec: {
      serviceAccountName: 'web',
      automountServiceAccountToken: false,
      containers: [{ name: 'web', image: 'web', ports: [{ name: 'http', containerPort: 8080 }] }],
    },
  });
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  const [client, clock] = [lab.client, systemClock];
  const objects = await openKubernetesSource({ client, rootNamespace: ROOT, log, clock });
  const source = owned.use(await withNamedSecrets(objects, { client, clock }));
  views = owned.use(
    createMeshViews({
      source,
      trustDomain,
      rootNamespace: ROOT,
      bundle: () => ({ version: '1', pem: '' }),
      onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
    }),
  );
  const policies = owned.use(
    new PolicyStatus({
      views,
      ads: { statusOf: () => [], onAnswer: () => ({ [Symbol.dispose]: () => undefined }) },
      evaluationOf: () => ({ isReporting: false }),
      onReport: () => ({ [Symbol.dispose]: () => undefined }),
      clock,
      onEnforced: () => undefined,
    }),
  );
  owned.use(new StatusWriter({ client, source, views, policies, clock, log }));
});
after(() => owned.disposeAsync());

const loginOf = () => views.mesh().workloads.get('web-1.shop')?.inbound.login;

const eventuallyLists = (what: string, hashes: readonly string[]): Promise<unknown> =>
  eventually(
    () =>
      JSON.stringify(loginOf()?.users.map(({ hash }) => hash.reveal())) === JSON.stringify(hashes),
    { what, withinMs: 15_000, told: () => JSON.stringify(views.problems()) },
  );

test('the API server refuses what the schema can tell, and says the field', only, async () => {
  for (const [spec, field] of [
    [{}, 'users'],
    [{ users: {} }, 'secretName'],
    [{ users: { secretName: 'a' }, realm: '' }, 'realm'],
    [{ users: { secretName: 'a' }, allowPlaintext: 'yes' }, 'allowPlaintext'],
  ] as const) {
    const { code, stderr } = await apply(login(spec, 'bad'));
    assert.notEqual(code, 0, JSON.stringify(spec));
    assert.match(stderr, new RegExp(field));
  }
});

test(
  'the users of the Secret are in force, change with it and go with it; the status says what is missing',
  only,
  async () => {
    const { code, stderr } = await apply(login({ users: { secretName: 'web-users' } }));
    assert.equal(code, 0, stderr);
    await eventuallyLists('a login that lets nobody in', []);
    const accepted = await lab.kubectl([
      'wait',
      '-n',
      'shop',
      '--for=jsonpath={.status.selected}=1',
      '--timeout=20s',
      'basicauthentication/login',
    ]);
    assert.equal(accepted.code, 0, accepted.stderr);
    const { stdout } = await lab.kubectl(['get', 'wba', '-n', 'shop', '-o', 'json']);
    assert.match(stdout, /the Secret web-users with the key auth is not there/);
    await apply(list(`ann:${HASHES[0]}\n`));
    await eventuallyLists('the user of the Secret', [HASHES[0]]);
    await apply(list(`ann:${HASHES[1]}\n`));
    await eventuallyLists('the changed hash', [HASHES[1]]);
    const status = await lab.kubectl(['get', 'wba', '-n', 'shop', '-o', 'json']);
    assert.ok(!status.stdout.includes(HASHES[1].slice(10, 30)), 'no status shows a hash');
    const deleted = await lab.client.delete(SECRETS, { namespace: 'shop', name: 'web-users' });
    assert.ok(deleted.ok, whyNot(deleted));
    await eventuallyLists('nobody', []);
  },
);
