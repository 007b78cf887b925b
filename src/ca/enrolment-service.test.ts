import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { peerIdentity } from '@weft/model/x509';
import { messageOf } from '@weft/xds/protocol/fields';
import {
  chainOf,
  createTestMesh,
  enrol,
  enrolledWorkload,
  leafOf,
  openRenewal,
  versionOf,
} from './testing/mesh.ts';
import { opensslCsr, opensslRequest } from './testing/requests.ts';
import { createTurnableClock } from './testing/turnable-clock.ts';

test('Enrol gives the identity of the token, whatever the request asks for (CVE-2022-40716)', async () => {
  await using mesh = await createTestMesh();
  const csr_der = opensslCsr({
    subject: '/CN=admin/O=system:masters',
    names: 'DNS:admin.example,IP:10.0.0.1',
    extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=keyCertSign'],
  });
  const response = await enrol(mesh, { csr_der, join_token: await mesh.token() });
  const svid = messageOf(response, 'svid');
  const [leaf] = chainOf(svid);
  const identity = peerIdentity(leaf!);
  assert.ok(identity.ok);
  assert.equal(identity.spiffeId, 'spiffe://mesh.test/ns/shop/sa/web');
  assert.equal(identity.facts.otherSanCount, 0);
  assert.equal(identity.facts.isCa, false);
  assert.equal(new X509Certificate(leaf!).subject, undefined);
  assert.equal(svid?.['spiffe_id'], identity.spiffeId);
  assert.equal(svid?.['not_after_unix_seconds'], identity.facts.notAfterUnixSeconds);
  assert.equal(messageOf(response, 'bundle')?.['version'], mesh.authority.bundle().version);
});

test('Enrol refuses requests that cannot be granted, and leaves the token good', async () => {
  await using mesh = await createTestMesh();
  const join_token = await mesh.token();
  const good = opensslCsr();
  const tampered = Buffer.from(good);
  tampered[tampered.length - 1]! ^= 1;
  for (const [csr_der, details] of [
    [opensslCsr({ newKey: ['rsa:2048'] }), /not an ECDSA key on P-256/],
    [opensslCsr({ newKey: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'] }), /on P-256/],
    [tampered, /not signed by the key/],
    [Buffer.from('garbage'), /no PKCS#10/],
    [Buffer.alloc(0), /no PKCS#10/],
    [Buffer.alloc(9_000, 0x30), /9000 bytes/],
    [Buffer.alloc(20_000), /larger than 16 KiB/],
    [opensslCsr({ names: 'URI:spiffe://mesh.test/ns/shop/sa/admin' }), /another|not the proven/],
    [
      opensslCsr({
        names: 'URI:spiffe://mesh.test/ns/shop/sa/web,URI:spiffe://mesh.test/ns/x/sa/y',
      }),
      /not the proven/,
    ],
  ] as const) {
    await assert.rejects(
      enrol(mesh, { csr_der, join_token }),
      (error: { code: number; details: string }) => {
        assert.equal(error.code, status.INVALID_ARGUMENT);
        assert.match(error.details, details);
        return true;
      },
    );
  }
  await enrol(mesh, { csr_der: good, join_token });
});

test('Enrol says the same of wrong, used and unknown tokens, and the log says which', async () => {
  await using mesh = await createTestMesh();
  const csr_der = opensslCsr();
  const used = await mesh.token();
  await enrol(mesh, { csr_der, join_token: used });
  const fresh = await mesh.token();
  const wrong = `${fresh.slice(0, -2)}${fresh.endsWith('AA') ? 'BB' : 'AA'}`;
  const unknown = `weft-join.${'A'.repeat(22)}.${'A'.repeat(43)}`;
  for (const join_token of [used, wrong, unknown, 'x', 'x'.repeat(10_000)]) {
    await assert.rejects(enrol(mesh, { csr_der, join_token }), {
      code: status.UNAUTHENTICATED,
      details: 'the join token is not accepted: it may be wrong, used or expired',
    });
  }
  const refusals = mesh.lines.filter(({ msg }) => msg === 'identity refused');
  assert.deepEqual(
    refusals.map(({ reasonCode }) => reasonCode),
    ['token-used', 'token-wrong', 'token-unknown', 'token-malformed', 'token-malformed'],
  );
  const issued = mesh.lines.filter(({ msg }) => msg === 'identity issued');
  assert.equal(issued.length, 1);
  assert.equal(issued[0]!['spiffeId'], 'spiffe://mesh.test/ns/shop/sa/web');
  assert.equal(issued[0]!['attestor'], 'join-token');
  const text = JSON.stringify(mesh.lines);
  for (const token of [used, fresh]) assert.ok(!text.includes(token.split('.')[2]!));
});

test('Enrol takes exactly one kind of evidence, and only a kind that it has an attestor for', async () => {
  await using mesh = await createTestMesh();
  const csr_der = opensslRequest().csrDer;
  const join_token = await mesh.token();
  const service_account_token = 'x.y.z';
  for (const [fields, code, details] of [
    [{}, status.INVALID_ARGUMENT, /neither/],
    [{ join_token: '', pod: 'web-1', namespace: 'shop' }, status.INVALID_ARGUMENT, /neither/],
    [{ join_token, service_account_token }, status.INVALID_ARGUMENT, /both/],
    [{ service_account_token, pod: 'web-1' }, status.INVALID_ARGUMENT, /which Pod/],
    [
      { service_account_token, pod: 'web-1', namespace: 'shop' },
      status.UNAUTHENTICATED,
      /takes no service account token: give a join token/,
    ],
  ] as const) {
    await assert.rejects(
      enrol(mesh, { csr_der, ...fields }),
      (error: { code: number; details: string }) => {
        assert.equal(error.code, code);
        assert.match(error.details, details);
        return true;
      },
    );
  }
  assert.deepEqual(Object.fromEntries(mesh.authority.status().refusedByReason), {
    'evidence-missing': 2,
    'evidence-ambiguous': 1,
    'evidence-incomplete': 1,
    'evidence-not-accepted': 1,
  });
  await enrol(mesh, { csr_der, join_token });
});

test('Enrol refuses a token of the identity that the control plane itself has', async () => {
  await using mesh = await createTestMesh({
    authority: { controlPlane: { namespace: 'shop', serviceAccount: 'web' } },
  });
  const request = { csr_der: opensslCsr(), join_token: await mesh.token() };
  await assert.rejects(enrol(mesh, request), { code: status.INVALID_ARGUMENT });
});

test('Enrol refuses an address that asks too often', async () => {
  const limits = { perAddress: { burst: 2, perSecond: 0.001 } };
  await using mesh = await createTestMesh({ limits });
  const request = { csr_der: Buffer.alloc(0), join_token: 'x' };
  await assert.rejects(enrol(mesh, request), { code: status.UNAUTHENTICATED });
  await assert.rejects(enrol(mesh, request), { code: status.UNAUTHENTICATED });
  await assert.rejects(enrol(mesh, request), { code: status.RESOURCE_EXHAUSTED });
});

test('Enrol is not reached by a client that trusts another root', async () => {
  await using mesh = await createTestMesh();
  await using other = await createTestMesh();
  const request = { csr_der: opensslCsr(), join_token: await mesh.token() };
  await assert.rejects(enrol(mesh, request, other.authority.bundle().pem), {
    code: status.UNAVAILABLE,
  });
});

test('Renew gives the identity of the connection, and tells what is connected', async () => {
  await using mesh = await createTestMesh();
  const workload = await enrolledWorkload(mesh);
  using stream = openRenewal(mesh, workload);
  const version = versionOf(await stream.next());
  assert.equal(version, mesh.authority.bundle().version);
  const { promise, resolve } = Promise.withResolvers<void>();
  using _ = mesh.renewal.onProgress(resolve);
  stream.send({ bundle_ack: version });
  await promise;
  const csr_der = opensslCsr({ subject: '/CN=other' });
  stream.send({ csr_der });
  const identity = peerIdentity(leafOf(await stream.next()));
  assert.ok(identity.ok);
  assert.equal(identity.spiffeId, 'spiffe://mesh.test/ns/shop/sa/web');
  const [connected, ...more] = mesh.renewal.connected();
  assert.equal(more.length, 0);
  assert.equal(connected!.identity, identity.spiffeId);
  assert.equal(connected!.ackedBundleVersion, version);
  assert.equal(connected!.issuerKeyId, mesh.authority.issuerKeyId);
});

test('Renew gives a certificate beside the one of the connection, and goes on by that one', async () => {
  const clock = createTurnableClock();
  await using mesh = await createTestMesh({ clock });
  using stream = openRenewal(mesh, await enrolledWorkload(mesh));
  await stream.next();
  const { issued } = mesh.authority.status();
  stream.send({ additional_csr_der: opensslCsr() });
  const identity = peerIdentity(leafOf(await stream.next()));
  assert.ok(identity.ok);
  assert.equal(identity.spiffeId, 'spiffe://mesh.test/ns/shop/sa/web');
  assert.equal(mesh.authority.status().issued, issued + 1);
  await mesh.authority.startRotation();
  await mesh.authority.advance(() => []);
  const [waiting] = mesh.authority.gate(() => []).waitsFor;
  assert.match(String(waiting), /2 /, 'neither is taken for replaced by the other');
  clock.turn(3_700_000);
  stream.send({ additional_csr_der: opensslCsr() });
  /** The stream's bundle and its call to renew come first. */
  await assert.rejects(
    async () => {
      for (let message = 0; message < 4; message++) await stream.next();
    },
    { code: status.UNAUTHENTICATED },
  );
});

test('Renew refuses a request that claims the identity of another', async () => {
  await using mesh = await createTestMesh();
  using stream = openRenewal(mesh, await enrolledWorkload(mesh));
  await stream.next();
  stream.send({ csr_der: opensslCsr({ names: 'URI:spiffe://mesh.test/ns/shop/sa/admin' }) });
  await assert.rejects(stream.next(), { code: status.INVALID_ARGUMENT });
});

test('Renew is not reached without a certificate, or with one of another CA', async () => {
  await using mesh = await createTestMesh();
  await using other = await createTestMesh();
  using without = openRenewal(mesh);
  await assert.rejects(without.next(), { code: status.UNAVAILABLE });
  using foreign = openRenewal(mesh, await enrolledWorkload(other));
  await assert.rejects(foreign.next(), { code: status.UNAVAILABLE });
  assert.deepEqual(mesh.renewal.connected(), []);
});

test('Renew refuses on a connection whose certificate has expired since, and goes on where it was renewed', async () => {
  const clock = createTurnableClock();
  await using mesh = await createTestMesh({ clock });
  const workload = await enrolledWorkload(mesh);
  using renewing = openRenewal(mesh, workload);
  using idle = openRenewal(mesh, workload);
  await renewing.next();
  await idle.next();
  clock.turn(3_590_000);
  renewing.send({ csr_der: opensslCsr() });
  assert.ok(messageOf(await renewing.next(), 'svid'));
  clock.turn(20_000);
  idle.send({ csr_der: opensslCsr() });
  await assert.rejects(idle.next(), { code: status.UNAUTHENTICATED });
});

test('the mutual port resumes no TLS session, which would skip the verification (CVE-2026-48934)', async () => {
  await using mesh = await createTestMesh();
  const { keyed, chainPem } = await enrolledWorkload(mesh);
  const options = {
    port: mesh.renewalPort,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: mesh.authority.bundle().pem,
    key: keyed.keyPem,
    cert: chainPem,
    ALPNProtocols: ['h2'],
  };
  const signal = AbortSignal.timeout(5_000);
  using owned = new DisposableStack();
  const first = owned.adopt(connectTls(options), (socket) => socket.destroy());
  const sessions: Buffer[] = [];
  first.on('session', (session: Buffer) => sessions.push(session));
  // The server's first frame comes after whatever tickets there are.
  await once(first, 'data', { signal });
  first.destroy();
  const [session = first.getSession()] = sessions;
  const resuming = { ...options, ...(session === undefined ? {} : { session }) };
  const second = owned.adopt(connectTls(resuming), (socket) => socket.destroy());
  await once(second, 'secureConnect', { signal });
  assert.equal(second.isSessionReused(), false);
});

test('Renew ends a stream that sends too much', async () => {
  const limits = { perStream: { burst: 3, perSecond: 0.001 } };
  await using mesh = await createTestMesh({ limits });
  using stream = openRenewal(mesh, await enrolledWorkload(mesh));
  await stream.next();
  for (let count = 0; count < 4; count++) stream.send({ bundle_ack: 'x' });
  await assert.rejects(stream.next(), { code: status.RESOURCE_EXHAUSTED });
});

test('the ports speak TLS 1.3 alone, and garbage on them ends nothing', async () => {
  await using mesh = await createTestMesh();
  for (const port of [mesh.enrolmentPort, mesh.renewalPort]) {
    const old = connectTls({
      port,
      host: '127.0.0.1',
      maxVersion: 'TLSv1.2',
      rejectUnauthorized: false,
    });
    await assert.rejects(once(old, 'secureConnect'), /alert|protocol/i);
    const garbage = connectTcp(port, '127.0.0.1');
    garbage.on('error', () => {});
    garbage.end('GET / HTTP/1.1\r\n\r\n\0\xff'.repeat(100));
    await once(garbage, 'close');
  }
  const raw = connectTls({
    port: mesh.enrolmentPort,
    host: '127.0.0.1',
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  raw.on('error', () => {});
  await once(raw, 'secureConnect');
  raw.end(Buffer.alloc(1_000, 0xff));
  await once(raw.resume(), 'close');
  await enrol(mesh, { csr_der: opensslRequest().csrDer, join_token: await mesh.token() });
});
