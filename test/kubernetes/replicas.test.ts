// Replicas of the control plane share one CA and elect one leader, whatever is done to the objects they stand on: on a real API server.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Authority, openAuthority } from '@weft/ca/authority';
import {
  BUNDLE_CONFIG_MAP,
  CA_SECRET,
  createKubernetesSecretStore,
  type KubernetesSecretStore,
} from '@weft/ca/store/kubernetes-secret';
import { startBundleConfigMaps } from '@weft/controlplane/kubernetes/bundle-config-maps';
import { startTrustBundleStatus } from '@weft/controlplane/kubernetes/trust-bundle-status';
import { type LeaderElection, startLeaderElection } from '@weft/kube/leader';
import { textAt } from '@weft/kube/object-fields';
import {
  CONFIG_MAPS,
  type KubeResource,
  LEASES,
  NAMESPACES,
  SECRETS,
  TRUST_BUNDLES,
} from '@weft/kube/resource';
import { parseTrustDomain } from '@weft/model/identity';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const namespace = 'weft-system';
/** Most waits end at once; a cold controller manager takes some seconds. */
const WAIT_MS = 60_000;
const trustDomain = parseTrustDomain('mesh.test')!;

let lab: Kubelab;
before(async () => {
  if (skip !== false) return;
  lab = await startKubelab();
  await createNamespace(namespace);
});
after(() => lab?.[Symbol.asyncDispose]());

async function createNamespace(name: string): Promise<void> {
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
  const answer = await lab.client.create(NAMESPACES, object);
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
}

const until = (what: string, ask: () => boolean | Promise<boolean>): Promise<boolean> =>
  eventually(ask, { what, withinMs: WAIT_MS });

async function read(resource: KubeResource, name: string, inNamespace?: string) {
  const answer = await lab.client.get(resource, { name, namespace: inNamespace });
  return answer.ok ? answer.value : undefined;
}

async function removed(resource: KubeResource, name: string, inNamespace?: string): Promise<void> {
  const answer = await lab.client.delete(resource, { name, namespace: inNamespace });
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
}

interface Replica extends AsyncDisposable {
  readonly store: KubernetesSecretStore;
  readonly authority: Authority;
}

async function openReplica(inNamespace = namespace): Promise<Replica> {
  const { client } = lab;
  const store = createKubernetesSecretStore({ client, namespace: inNamespace, trustDomain });
  const authority = await openAuthority({ store, trustDomain });
  return {
    store,
    authority,
    async [Symbol.asyncDispose]() {
      await authority[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

test('three replicas that open at once have one root, and follow a rotation of any of them', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  const replicas = await Promise.all([1, 2, 3].map(() => openReplica()));
  for (const replica of replicas) owned.use(replica);
  const versions = () => new Set(replicas.map(({ authority }) => authority.bundle().version));
  assert.equal(versions().size, 1);
  const [before] = versions();
  const outcomes = await Promise.all(replicas.map(({ authority }) => authority.startRotation()));
  assert.equal(outcomes.filter(({ ok }) => ok).length, 1);
  await until('all have both roots', () => versions().size === 1 && !versions().has(before!));
  const [one, two] = replicas;
  const outcome = await two!.authority.advance(() => []);
  assert.ok(outcome.ok && outcome.phase === 'sign');
  const issuer = two!.authority.issuerKeyId;
  await until('all sign with the new one', () =>
    replicas.every(({ authority }) => authority.issuerKeyId === issuer),
  );
  assert.ok((await one!.authority.rollback()).ok);
});

test('a Secret edited into garbage leaves the last good state in force; deleted, it is put back', {
  skip,
}, async () => {
  await using replica = await openReplica();
  const { authority, store } = replica;
  const good = textAt(await read(SECRETS, CA_SECRET, namespace), 'data', 'state.json');
  assert.ok(good);
  const { version } = authority.bundle();
  const patch = { data: { 'state.json': Buffer.from('garbage').toString('base64') } };
  const target = { namespace, name: CA_SECRET };
  assert.ok((await lab.client.patch(SECRETS, target, { type: 'merge', patch })).ok);
  await until('it is said', () => store.problem?.includes('cut off or damaged') === true);
  assert.equal(authority.bundle().version, version);
  await assert.rejects(openReplica(), /Cannot read Secret weft-system\/weft-ca.*backup/);
  await removed(SECRETS, CA_SECRET, namespace);
  await until('it is good again', () => store.problem === undefined);
  assert.equal(textAt(await read(SECRETS, CA_SECRET, namespace), 'data', 'state.json'), good);
  await using again = await openReplica();
  assert.equal(again.authority.bundle().version, version);
});

test('one of three leads, and another soon after that one ends', { skip }, async () => {
  await using owned = new AsyncDisposableStack();
  const elections = ['a', 'b', 'c'].map((identity) =>
    owned.use(
      startLeaderElection({
        client: lab.client,
        namespace,
        identity,
        leaseMs: 3_000,
        renewMs: 2_000,
        retryMs: 200,
      }),
    ),
  );
  const leading = (): readonly LeaderElection[] => elections.filter(({ isLeader }) => isLeader);
  await until('one leads', () => leading().length === 1);
  const [first] = leading();
  await first![Symbol.asyncDispose]();
  await until('another leads', () => leading().length === 1);
  const [second] = leading();
  assert.notEqual(second, first);
  const lease = await read(LEASES, 'weft-control-plane', namespace);
  assert.equal(textAt(lease, 'spec', 'holderIdentity'), second!.identity);
});

test('the bundle is in every namespace, and is put back wherever it is touched', {
  skip,
}, async () => {
  await using replica = await openReplica();
  const { authority } = replica;
  await createNamespace('bundle-early');
  await using maps = startBundleConfigMaps({
    client: lab.client,
    bundle: () => authority.bundle(),
    onBundleChange: (listener) => authority.onBundleChange(listener),
  });
  const pemIn = async (name: string) =>
    textAt(await read(CONFIG_MAPS, BUNDLE_CONFIG_MAP, name), 'data', 'bundle.pem');
  const has = (name: string) =>
    until(`${name} has the bundle`, async () => (await pemIn(name)) === authority.bundle().pem);
  for (const name of [namespace, 'bundle-early', 'default', 'kube-system']) await has(name);
  await createNamespace('bundle-late');
  await has('bundle-late');
  const edited = await lab.kubectl([
    '-n',
    'bundle-late',
    'patch',
    'configmap',
    BUNDLE_CONFIG_MAP,
    '--type=merge',
    '-p',
    JSON.stringify({ data: { 'bundle.pem': 'of somebody else' } }),
  ]);
  assert.equal(edited.code, 0, edited.stderr);
  await has('bundle-late');
  await removed(CONFIG_MAPS, BUNDLE_CONFIG_MAP, 'bundle-early');
  await has('bundle-early');
  assert.deepEqual(maps.problems, []);
  await removed(NAMESPACES, 'bundle-late');
  await until('the namespace is gone', async () => {
    const gone = await lab.client.get(NAMESPACES, { name: 'bundle-late' });
    return !gone.ok && gone.code === 404;
  });
  assert.deepEqual(maps.missing, []);
});

test('TrustBundle shows the roots, and spec.rotate begins a rotation', { skip }, async () => {
  const file = fileURLToPath(new URL('../../deploy/crds/trustbundles.yaml', import.meta.url));
  const applied = await lab.kubectl(['apply', '-f', '-'], { input: await readFile(file, 'utf8') });
  assert.equal(applied.code, 0, applied.stderr);
  // A CA of its own: tests before have left a rotation under way.
  await createNamespace('weft-other');
  await using replica = await openReplica('weft-other');
  const { authority } = replica;
  await using _ = startTrustBundleStatus({ client: lab.client, authority });
  const shows = async (...path: string[]) =>
    textAt(await read(TRUST_BUNDLES, 'weft'), 'status', ...path);
  await until('it is shown', async () => (await shows('trustDomain')) === 'mesh.test');
  const waited = await lab.kubectl([
    'wait',
    '--for=condition=Ready',
    'trustbundle/weft',
    '--timeout=20s',
  ]);
  assert.equal(waited.code, 0, waited.stderr);
  const patch = { spec: { rotate: '2026-11-21' } };
  const asked = await lab.client.patch(TRUST_BUNDLES, { name: 'weft' }, { type: 'merge', patch });
  assert.ok(asked.ok, asked.ok ? '' : asked.message);
  await until('it is observed', async () => (await shows('observedRotate')) === '2026-11-21');
  await until('it is shown', async () => (await shows('phase')) === 'distribute');
});
