// Which open connections are told to go when rules, modes, trust or time change.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createTestPki, idOf } from '../../../test/support/mesh-pki.ts';
import { eventually } from '../../../test/support/servers.ts';
import type { ListenerRuntime } from '../state/chain.ts';
import {
  type AcceptRig,
  admission,
  chainOf,
  createRig,
  denying,
  listenerOf,
  MESH_TLS,
  MTLS,
  PERMISSIVE,
  pki,
  plain,
  PORT,
  secure,
  STRICT,
  web,
  WEB,
} from '../../../test/support/accept-rig.ts';

const stranger = createTestPki();

async function openOne(listener: ListenerRuntime): Promise<AcceptRig> {
  const rig = await createRig(listener);
  secure(rig, web);
  await admission(rig);
  return rig;
}

test('a bundle without the peer’s root cuts its open connection; one with both keeps it', async () => {
  await using rig = await openOne(STRICT);
  const both = pki.bundlePem + stranger.bundlePem;
  rig.setContexts(pki.contexts('shop/prices', { bundlePem: both }));
  rig.open.rejudgeAll();
  assert.deepEqual(rig.cuts, []);
  rig.setContexts(pki.contexts('shop/prices', { bundlePem: stranger.bundlePem }));
  rig.open.rejudgeAll();
  assert.deepEqual(rig.cuts, ['peer-not-trusted']);
  await eventually(() => rig.open.size === 0, 'that it is closed');
});

test('a peer whose certificate has expired meanwhile is cut when it is judged again', async () => {
  await using rig = await openOne(STRICT);
  rig.nowMs += 3 * 3_600_000;
  rig.open.rejudgeAll();
  assert.deepEqual(rig.cuts, ['peer-not-trusted']);
});

test('open connections are cut when certificate or configuration are gone', async () => {
  await using rig = await openOne(STRICT);
  rig.setContexts(undefined);
  rig.open.rejudgeAll();
  assert.deepEqual(rig.cuts, ['no-certificate']);
  await using second = await openOne(STRICT);
  second.listener = undefined;
  second.open.rejudgeAll();
  assert.deepEqual(second.cuts, ['mtls-mode-changed']);
});

const newer: readonly (readonly [string, ListenerRuntime, readonly string[]])[] = [
  [
    'a TCP rule against the peer',
    listenerOf(chainOf('m', MTLS, { tls: MESH_TLS, rules: denying(WEB) })),
    ['rbac-denied'],
  ],
  [
    'a TCP rule against another',
    listenerOf(chainOf('m', MTLS, { tls: MESH_TLS, rules: denying(idOf('shop/x')) })),
    [],
  ],
  ['PERMISSIVE', PERMISSIVE, []],
  ['DISABLE', listenerOf(chainOf('plain', PORT)), ['mtls-mode-changed']],
  [
    'a trust domain that is not the peer’s',
    listenerOf(
      chainOf('m', MTLS, {
        tls: {
          ...MESH_TLS,
          peerUris: [{ kind: 'prefix', value: 'spiffe://other.test/', ignoreCase: false }],
        },
      }),
    ),
    ['peer-identity-unexpected'],
  ],
];
for (const [what, listener, cuts] of newer) {
  test(`an open mTLS connection is ${cuts.length > 0 ? 'cut' : 'left'} by ${what}`, async () => {
    await using rig = await openOne(STRICT);
    rig.listener = listener;
    rig.open.rejudgeAll();
    assert.deepEqual(rig.cuts, cuts);
  });
}

test('an open plaintext connection is cut when the port becomes STRICT', async () => {
  await using rig = await createRig(PERMISSIVE);
  plain(rig, 'hello there\n');
  await admission(rig);
  rig.listener = STRICT;
  rig.open.rejudgeAll();
  assert.deepEqual(rig.cuts, ['mtls-mode-changed']);
});

test('handshakes after new certificates show the new one, and connections of before go on', async () => {
  await using rig = await createRig(STRICT);
  const before = secure(rig, web);
  await once(before, 'secureConnect');
  const first = before.getPeerX509Certificate()?.serialNumber;
  rig.setContexts(pki.contexts('shop/prices'));
  rig.open.rejudgeAll();
  const after = secure(rig, web);
  await once(after, 'secureConnect');
  assert.notEqual(after.getPeerX509Certificate()?.serialNumber, first);
  assert.deepEqual(rig.cuts, []);
  assert.equal(before.destroyed, false);
});
