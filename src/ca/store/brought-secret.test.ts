import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SECRETS } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure, type MemoryKube } from '@weft/kube/testing/memory-kube';
import { parseTrustDomain } from '@weft/model/identity';
import { openAuthority } from '../authority.ts';
import type { BroughtPem } from '../brought.ts';
import { broughtPem, opensslCa } from '../testing/openssl-ca.ts';
import { createTurnableClock } from '../testing/turnable-clock.ts';
import { createBroughtSecret } from './brought-secret.ts';
import { createKubernetesSecretStore } from './kubernetes-secret.ts';

const namespace = 'weft-system';
const secretName = 'mesh-ca';
const trustDomain = parseTrustDomain('mesh.test')!;
const DEADLINE_MS = 5_000;
const root = opensslCa({ subject: '/CN=root' });
/** Of ten days: what ends is looked at every hour until it does. */
const pem = broughtPem(opensslCa({ subject: '/CN=issuing', days: 10 }, root), root);
const encoded = (text: string): string => Buffer.from(text).toString('base64');

const bring = (client: MemoryKube, { chain, key, root: top }: BroughtPem): void =>
  client.put(SECRETS, {
    metadata: { name: secretName, namespace },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': encoded(chain), 'tls.key': encoded(key), 'ca.crt': encoded(top) },
  });

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error(`Cannot see that ${what}`);
    await nextTurn();
  }
}

test('load() says what to do when the Secret is absent, incomplete or cannot be read', async () => {
  const client = createMemoryKube();
  await using brought = createBroughtSecret({ client, namespace, secretName });
  await assert.rejects(
    brought.load(),
    /weft-system\/mesh-ca \(--ca-secret\) is not there; make it/,
  );
  client.put(SECRETS, { metadata: { name: secretName, namespace }, data: {} });
  await assert.rejects(brought.load(), /tls\.crt has 0 certificates.*ca\.crt.*tls\.key is empty/);
  client.answerWith(() => kubeFailure(403, 'Forbidden', 'Cannot get secrets: needs verb "get"'));
  await assert.rejects(brought.load(), /needs verb "get"/);
});

test('replicas with a brought CA issue under one root, and follow the Secret together', async () => {
  const client = createMemoryKube();
  bring(client, pem);
  await using owned = new AsyncDisposableStack();
  const open = async () => {
    const store = owned.use(createKubernetesSecretStore({ client, namespace, trustDomain }));
    const brought = owned.use(createBroughtSecret({ client, namespace, secretName }));
    return owned.use(await openAuthority({ store, trustDomain, brought }));
  };
  const [one, two] = await Promise.all([open(), open()]);
  assert.equal(one.issuerKeyId, two.issuerKeyId);
  assert.equal(one.bundle().rootsDer.length, 1);
  const before = one.issuerKeyId;
  bring(client, broughtPem(opensslCa({ subject: '/CN=renewed' }, root), root));
  await until('both have the next', () => [one, two].every((each) => each.issuerKeyId !== before));
  assert.equal(one.issuerKeyId, two.issuerKeyId);
  const other = opensslCa({ subject: '/CN=other root' });
  bring(client, broughtPem(opensslCa({ subject: '/CN=of other' }, other), other));
  await until('both distribute', () =>
    [one, two].every((each) => each.status().rotation.phase === 'distribute'),
  );
  assert.equal(one.bundle().version, two.bundle().version);
});

test('a Secret that turns bad is said, and what it held stays in use', async () => {
  const client = createMemoryKube();
  const clock = createTurnableClock();
  bring(client, pem);
  await using store = createKubernetesSecretStore({ client, namespace, trustDomain, clock });
  await using brought = createBroughtSecret({ client, namespace, secretName, clock });
  await using authority = await openAuthority({ store, trustDomain, brought, clock });
  const before = authority.issuerKeyId;
  bring(client, { ...pem, key: 'garbage' });
  await until('it is said', () => brought.problem?.includes('no private key') === true);
  assert.equal(authority.issuerKeyId, before);
  bring(client, pem);
  await until('it is good', () => brought.problem === undefined);
  client.remove(SECRETS, secretName, namespace);
  await until('it is said', () => brought.problem?.includes('is gone') === true);
  assert.equal(authority.issuerKeyId, before);
  bring(client, pem);
  await until('it is good', () => brought.problem === undefined);
  clock.turn(9.99 * 86_400_000);
  await until('its end is said', () => brought.problem?.includes('renew it') === true);
});
