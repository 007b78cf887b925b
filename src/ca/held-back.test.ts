// Whom the control plane holds back gets no further certificate, on streams that are open too, and it is written down.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf } from '@weft/xds/protocol/fields';
import { createTestMesh, enrolledWorkload, openRenewal } from './testing/mesh.ts';
import { opensslCsr } from './testing/requests.ts';

test('Renew gives nothing more to who is held back, and again when it no longer is (threat: an identity that is renewed after its loss)', async () => {
  let why: string | undefined;
  const asked: unknown[] = [];
  await using mesh = await createTestMesh({
    authority: {
      heldBack(identity, peer) {
        asked.push([identity.namespace, identity.serviceAccount, peer.includes('127.0.0.1')]);
        return why;
      },
    },
  });
  const workload = await enrolledWorkload(mesh);
  using stream = openRenewal(mesh, workload);
  await stream.next();
  stream.send({ csr_der: opensslCsr() });
  assert.ok(messageOf(await stream.next(), 'svid'));
  assert.deepEqual(asked.at(-1), ['shop', 'web', true]);

  why = 'Pod shop/web-1 has lost its identity';
  stream.send({ csr_der: opensslCsr() });
  await assert.rejects(stream.next(), /has lost its identity/);
  using another = openRenewal(mesh, workload);
  await another.next();
  another.send({ csr_der: opensslCsr() });
  await assert.rejects(another.next(), /has lost its identity/);
  assert.ok(mesh.lines.some((line) => line['reasonCode'] === 'identity-revoked'));

  why = undefined;
  using last = openRenewal(mesh, workload);
  await last.next();
  last.send({ csr_der: opensslCsr() });
  assert.ok(messageOf(await last.next(), 'svid'));
});
