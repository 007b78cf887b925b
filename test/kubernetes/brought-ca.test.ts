// A CA in a Secret of kubectl's or cert-manager's making issues for the mesh, and a change of it is followed by every replica.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Authority, openAuthority } from '@weft/ca/authority';
import type { BroughtPem } from '@weft/ca/brought';
import { createBroughtSecret, type BroughtSecret } from '@weft/ca/store/brought-secret';
import { createKubernetesSecretStore } from '@weft/ca/store/kubernetes-secret';
import { broughtPem, opensslCa } from '@weft/ca/testing/openssl-ca';
import { NAMESPACES, SECRETS } from '@weft/kube/resource';
import { parseTrustDomain } from '@weft/model/identity';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const namespace = 'weft-system';
const secretName = 'mesh-ca';
const trustDomain = parseTrustDomain('mesh.test')!;

let lab: Kubelab;
before(async () => {
  if (skip !== false) return;
  lab = await startKubelab();
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
  assert.ok((await lab.client.create(NAMESPACES, object)).ok);
});
after(() => lab?.[Symbol.asyncDispose]());

const until = (what: string, ask: () => boolean): Promise<boolean> =>
  eventually(ask, { what, withinMs: 20_000 });

async function bring({ chain, key, root }: BroughtPem): Promise<void> {
  const answer = await lab.client.apply(
    SECRETS,
    {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: secretName, namespace },
      stringData: { 'tls.crt': chain, 'tls.key': key, 'ca.crt': root },
    },
    { fieldManager: 'cert-manager', isForced: true },
  );
  assert.ok(answer.ok, answer.ok ? '' : answer.message);
}

async function openReplica(owned: AsyncDisposableStack): Promise<{
  readonly authority: Authority;
  readonly brought: BroughtSecret;
}> {
  const { client } = lab;
  const store = owned.use(createKubernetesSecretStore({ client, namespace, trustDomain }));
  const brought = owned.use(createBroughtSecret({ client, namespace, secretName }));
  const authority = owned.use(await openAuthority({ store, trustDomain, brought }));
  return { authority, brought };
}

test('every replica issues from the Secret, follows its renewal, and rotates to another root of it', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  await assert.rejects(openReplica(owned), /mesh-ca \(--ca-secret\) is not there/);
  const root = opensslCa({ subject: '/CN=root' });
  await bring(broughtPem(opensslCa({ subject: '/CN=first' }, root), root));
  const replicas = await Promise.all([openReplica(owned), openReplica(owned)]);
  const issuers = () => new Set(replicas.map(({ authority }) => authority.issuerKeyId));
  const phases = () => new Set(replicas.map(({ authority }) => authority.status().rotation.phase));
  assert.equal(issuers().size, 1);
  const [first] = issuers();
  assert.equal(replicas[0].authority.bundle().pem.trim(), root.certificatePem.trim());

  await bring(broughtPem(opensslCa({ subject: '/CN=second' }, root), root));
  await until(
    'both issue from the renewed one',
    () => issuers().size === 1 && !issuers().has(first!),
  );
  assert.deepEqual([...phases()], ['stable']);

  const other = opensslCa({ subject: '/CN=other' });
  await bring(broughtPem(opensslCa({ subject: '/CN=third' }, other), other));
  await until('both distribute', () => phases().size === 1 && phases().has('distribute'));
  const before = [...issuers()];
  assert.ok((await replicas[1].authority.advance(() => [])).ok);
  await until(
    'both sign under the other',
    () => issuers().size === 1 && !issuers().has(before[0]!),
  );

  await bring({ chain: 'garbage', key: 'garbage', root: 'garbage' });
  await until('it is said', () => replicas.every(({ brought }) => brought.problem !== undefined));
  assert.match(replicas[0].brought.problem ?? '', /CA of before stays in use: tls\.crt has 0/);
  assert.deepEqual([...phases()], ['sign']);
});
