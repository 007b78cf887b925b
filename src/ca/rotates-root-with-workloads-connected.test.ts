// A root gives way to the next while workloads stay connected; no step is taken before each of them is ready for it.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect } from 'node:tls';
import type { ConnectedProxy } from './rotation.ts';
import {
  chainOf,
  createTestMesh,
  enrolledWorkload,
  leafOf,
  openRenewal,
  type TestMesh,
  versionOf,
} from './testing/mesh.ts';
import { opensslCsr } from './testing/requests.ts';
import { messageOf } from '@weft/xds/protocol/fields';

const connectedOf = (mesh: TestMesh) => (): readonly ConnectedProxy[] =>
  mesh.renewal.connected().map((workload) => ({
    proxyId: workload.peer,
    hasBundle: (version) => workload.ackedBundleVersion === version,
    issuerKeyId: workload.issuerKeyId,
  }));

async function progress(mesh: TestMesh, act: () => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _ = mesh.renewal.onProgress(resolve);
  act();
  await promise;
}

/** The server's certificate on the mutual port, verified against the bundle. */
async function servedRoot(mesh: TestMesh, ca: string): Promise<boolean> {
  const socket = connect({
    port: mesh.enrolmentPort,
    host: '127.0.0.1',
    servername: 'localhost',
    ca,
    ALPNProtocols: ['h2'],
  });
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(5_000) });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  } finally {
    socket.destroy();
  }
}

test('each phase waits for every connected workload, and the new root is alone in the end', async () => {
  await using mesh = await createTestMesh({ authority: { rotationGraceMs: 0 } });
  const { authority } = mesh;
  const oldPem = authority.bundle().pem;
  const connected = connectedOf(mesh);
  using stream = openRenewal(mesh, await enrolledWorkload(mesh));
  const first = versionOf(await stream.next());
  await progress(mesh, () => stream.send({ bundle_ack: first }));

  assert.ok((await authority.startRotation()).ok);
  const both = versionOf(await stream.next());
  assert.notEqual(both, first);
  assert.equal(authority.bundle().rootsDer.length, 2);
  const held = await authority.advance(connected);
  assert.ok(held.ok && held.phase === 'distribute' && held.waitsFor.length === 1);
  await progress(mesh, () => stream.send({ bundle_ack: both }));

  const signing = await authority.advance(connected);
  assert.ok(signing.ok && signing.phase === 'sign');
  assert.ok(messageOf(await stream.next(), 'renew_now'));
  assert.ok(await servedRoot(mesh, oldPem), 'a workload that was away gets in with the old root');
  const unrenewed = await authority.advance(connected);
  assert.ok(unrenewed.ok && unrenewed.phase === 'sign' && unrenewed.waitsFor.length === 2);
  await progress(mesh, () => stream.send({ csr_der: opensslCsr() }));
  const renewed = await stream.next();
  const issuing = new X509Certificate(chainOf(messageOf(renewed, 'svid'))[1]!);
  const newRoot = authority.bundle().rootsDer.map((der) => new X509Certificate(der));
  assert.ok(newRoot.some((root) => issuing.checkIssued(root)));
  assert.ok(new X509Certificate(leafOf(renewed)).checkIssued(issuing));

  const retiring = await authority.advance(connected);
  assert.ok(retiring.ok && retiring.phase === 'retire');
  const last = versionOf(await stream.next());
  assert.equal(authority.bundle().rootsDer.length, 1);
  assert.ok(!(await servedRoot(mesh, oldPem)));
  assert.ok(await servedRoot(mesh, authority.bundle().pem));
  await progress(mesh, () => stream.send({ bundle_ack: last }));
  const done = await authority.advance(connected);
  assert.ok(done.ok && done.phase === 'stable');
  assert.equal(authority.status().issuers.length, 1, 'the former key is gone');
});

test('rollback() during sign brings the workloads back to the former root', async () => {
  await using mesh = await createTestMesh({ authority: { rotationGraceMs: 0 } });
  const { authority } = mesh;
  const before = authority.bundle().version;
  const connected = connectedOf(mesh);
  using stream = openRenewal(mesh, await enrolledWorkload(mesh));
  await stream.next();
  await authority.startRotation();
  await progress(mesh, () => stream.send({ bundle_ack: authority.bundle().version }));
  await authority.advance(connected);
  await stream.next();
  assert.ok(messageOf(await stream.next(), 'renew_now'));
  await progress(mesh, () => stream.send({ csr_der: opensslCsr() }));
  await stream.next();

  const rolled = await authority.rollback();
  assert.ok(rolled.ok && rolled.phase === 'sign');
  assert.ok(messageOf(await stream.next(), 'renew_now'));
  await progress(mesh, () => stream.send({ csr_der: opensslCsr() }));
  assert.ok(messageOf(await stream.next(), 'svid'));
  const retiring = await authority.advance(connected);
  assert.ok(retiring.ok && retiring.phase === 'retire');
  assert.equal(authority.bundle().version, before);
});

test('a root is not retired while a workload that is away may hold a certificate of it', async () => {
  await using mesh = await createTestMesh({ authority: { rotationGraceMs: 0 } });
  const { authority } = mesh;
  await enrolledWorkload(mesh);
  await authority.startRotation();
  await authority.advance(() => []);
  const held = await authority.advance(() => []);
  assert.ok(held.ok && held.phase === 'sign');
  assert.equal(held.waitsFor.length, 1);
  assert.match(
    held.waitsFor[0] ?? '',
    /^1 certificates of the previous root may be in use .* until \d{4}-/,
  );
});
