// With the rights of the chart and no others: credentials from the Secrets that it names, in time, taken away in time, and
// `kubectl wait --for=condition=Enforced` returns when a binding is in force. The proxy is played.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createMeshViews, type MeshViews } from '@weft/controlplane/compile/mesh-views';
import { createSecretSource } from '@weft/controlplane/credentials/sources/secret-source';
import {
  type CredentialServer,
  startCredentialServer,
} from '@weft/controlplane/credentials/testing/credential-rig';
import { readingsOf } from '@weft/controlplane/credentials/testing/readings';
import { readCredentialBinding } from '@weft/controlplane/registry/read-credential-binding';
import { StatusWriter } from '@weft/controlplane/kubernetes/status-writer';
import {
  type KubernetesSource,
  openKubernetesSource,
} from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { connect } from '@weft/kube/connect';
import { createKubeClient } from '@weft/kube/https-client';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import {
  apiVersionOf,
  CREDENTIAL_BINDINGS,
  type KubeResource,
  NAMESPACES,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
} from '@weft/kube/resource';
import { systemClock as clock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { parse } from 'yaml';
import { helmBinary } from '../support/go-tools.ts';
import { weft } from '../support/installation.ts';
import { whyNot } from '../support/kube-objects.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { CREDENTIAL_MS, eventually } from '../support/lab-wait.ts';

const helm = helmBinary();
const skip = kubelabMissing() ?? ('missing' in helm ? helm.missing : false);
const only = { skip };
const log = pino({ level: 'silent' });
const ROOT = 'weft-system';
const ACCOUNT = 'weft-control-plane';
const VALUE = 'value-of-the-Secret-Hq7zB3';
/** Whoever may not read all of its kinds waits for ever. */
const READ_MS = 20_000;

const owned = new AsyncDisposableStack();
let lab: Kubelab;
let client: KubeClient;
let source: KubernetesSource;
let views: MeshViews;
let server: CredentialServer;

async function made(resource: KubeResource, object: KubeObject): Promise<void> {
  const { kind } = resource;
  const whole = { apiVersion: apiVersionOf(resource), kind, ...object };
  const answer = await lab.client.create(resource, whole);
  assert.ok(answer.ok, whyNot(answer));
}

async function write(name: string, password: string, namespace = 'shop'): Promise<void> {
  const data = { password: btoa(password) };
  const whole = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, data };
  const options = { fieldManager: 'test', isForced: true };
  const answer = await lab.client.apply(SECRETS, whole, options);
  assert.ok(answer.ok, whyNot(answer));
}

/** As the control plane's service account. */
async function clientOfAccount(): Promise<KubeClient> {
  const token = await lab.kubectl(['create', 'token', ACCOUNT, '-n', ROOT]);
  assert.equal(token.code, 0, token.stderr);
  const cluster = { server: lab.server, 'certificate-authority-data': btoa(lab.caPem) };
  const kubeconfig = join(lab.dir, 'account.kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token: token.stdout.trim() } }],
    }),
    { mode: 0o600 },
  );
  return createKubeClient(connect({ kubeconfig }));
}

before(async () => {
  if (skip !== false) return;
  lab = owned.use(await startKubelab({ controllers: [] }));
  for (const name of ['shop', 'pay']) await made(NAMESPACES, { metadata: { name } });
  const values = join(lab.dir, 'values.json');
  writeFileSync(values, JSON.stringify({ credentials: { secrets: { shop: ['shop-db'] } } }));
  const more = ['--set', 'validator.enabled=false', '--set', 'injector.enabled=false'];
  const end = await weft(
    lab,
    ['install', '--no-wait', '--values', values, ...more, '--set', 'workloads.enabled=false'],
    { isHelm: true },
  );
  assert.equal(end.code, 0, end.stderr);
  for (const [name, namespace] of [
    ['shop-db', 'shop'],
    ['other', 'shop'],
    ['shop-db', 'pay'],
  ] as const) {
    await write(name, VALUE, namespace);
  }
  await made(SERVICE_ACCOUNTS, { metadata: { name: 'web', namespace: 'shop' } });
  await createPod();
  client = owned.use(await clientOfAccount());
  const signal = AbortSignal.timeout(READ_MS);
  let waiting = '';
  source = owned.use(
    await openKubernetesSource({
      client,
      rootNamespace: ROOT,
      log,
      clock,
      signal,
      onWaiting: (reasons) => (waiting = reasons.map(({ message }) => message).join('; ')),
    }).catch((cause: unknown) => {
      throw new Error(`the cluster cannot be read: ${waiting}`, { cause });
    }),
  );
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  views = owned.use(
    createMeshViews({
      source,
      trustDomain,
      rootNamespace: ROOT,
      bundle: () => ({ version: '1', pem: '' }),
      onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
      moreProblems: () => server?.part.problems() ?? [],
    }),
  );
  server = owned.use(await startCredentialServer(views, createSecretSource({ client, clock })));
  const policies = server.part;
  owned.use(new StatusWriter({ client, source, views, policies, clock, log }));
});
after(() => owned.disposeAsync());

async function createPod(): Promise<void> {
  await made(PODS, {
    metadata: { name: 'web-1', namespace: 'shop', labels: { app: 'web' } },
    spec: {
      serviceAccountName: 'web',
      automountServiceAccountToken: false,
      containers: [{ name: 'web', image: 'web' }],
    },
  });
  const status = { phase: 'Running', podIP: '10.1.0.1', podIPs: [{ ip: '10.1.0.1' }] };
  const options = { type: 'merge', patch: { status }, subresource: 'status' } as const;
  const answer = await lab.client.patch(PODS, { namespace: 'shop', name: 'web-1' }, options);
  assert.ok(answer.ok, whyNot(answer));
}

async function bind(name: string, secret: string): Promise<void> {
  await made(CREDENTIAL_BINDINGS, {
    metadata: { name, namespace: 'shop' },
    spec: {
      serviceAccounts: ['web'],
      credentials: [{ name, source: { secret: { name: secret } }, ways: ['url'] }],
    },
  });
}

/** `kubectl wait` for a condition of a binding. */
const waited = (name: string, condition: string) =>
  lab.kubectl([
    'wait',
    '-n',
    'shop',
    `credentialbindings.security.weft.dev/${name}`,
    `--for=condition=${condition}`,
    '--timeout=20s',
  ]);

test(
  'a binding of a Secret that the chart names is in force once its proxy says so',
  only,
  async () => {
    await bind('db', 'shop-db');
    const web = server.watch('web');
    await web.until(({ held }) => held.has('db'), 'the credential');
    assert.deepEqual(web.held.get('db'), { password: VALUE });
    assert.equal((await waited('db', 'Enforced=False')).code, 0);
    web.send({ in_force: [{ name: 'db', version: web.versions.get('db') }] });
    const end = await waited('db', 'Enforced');
    assert.equal(end.code, 0, end.stderr);
    const startedAt = performance.now();
    await write('shop-db', 'another');
    await web.until(({ held }) => held.get('db')?.['password'] === 'another', 'the change');
    assert.ok(performance.now() - startedAt < CREDENTIAL_MS);
    await lab.kubectl(['delete', '-n', 'shop', 'credentialbindings.security.weft.dev/db']);
    await web.until(({ held }) => held.size === 0, 'the withdrawal');
    web.close();
  },
);

test(
  'a Secret that the chart does not name is handed to nobody, and the status says what to do',
  only,
  async () => {
    await bind('other', 'other');
    const web = server.watch('web');
    await web.until(({ replies }) => replies.at(-1)?.['is_complete'] === true, 'a reply');
    assert.equal(web.held.size, 0);
    assert.equal((await waited('other', 'Accepted')).code, 0);
    // Its status may be written before the API server has refused to list the Secret.
    const get = ['get', '-n', 'shop', 'wcb', 'other', '-o', 'json'];
    await eventually(
      async () =>
        /Role in shop of this service account needs verb/.test((await lab.kubectl(get)).stdout),
      { what: 'what to do', withinMs: READ_MS },
    );
    web.close();
  },
);

test(
  'the binding of docs/credentials.md is taken by the API server and by the reader',
  only,
  async () => {
    const page = readFileSync(new URL('../../docs/credentials.md', import.meta.url), 'utf8');
    const [, example = ''] = /```yaml\n(apiVersion: security\.weft\.dev[^`]*)```/.exec(page) ?? [];
    const object: unknown = parse(example);
    assert.ok(isPlainObject(object));
    const reading = readCredentialBinding(object);
    assert.equal(reading.kind, 'good', JSON.stringify(reading.problems));
    const answer = await lab.client.create(CREDENTIAL_BINDINGS, object, { isDryRun: true });
    assert.ok(answer.ok, whyNot(answer));
  },
);

test('no other Secret can be read with the rights of the chart', only, async () => {
  const secrets = createSecretSource({ client, clock });
  await using _ = secrets;
  for (const place of ['shop/other', 'pay/shop-db', 'kube-system/any']) {
    using readings = readingsOf(secrets, place);
    assert.equal((await readings.next()).kind, 'gone', place);
  }
  using readings = readingsOf(secrets, 'shop/shop-db');
  assert.equal((await readings.next()).kind, 'values');
  const listed = await client.list(SECRETS, { namespace: 'shop' });
  assert.equal(listed.ok, false);
});
