import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect, type PeerCertificate } from 'node:tls';
import { Server } from '@grpc/grpc-js';
import { parseTrustDomain } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import { type Authority, openAuthority } from './authority.ts';
import { createServerCredentials, peerOf } from './server-credentials.ts';
import { createMemoryStore } from './store/memory.ts';
import { opensslRequest } from './testing/requests.ts';
import { createTurnableClock } from './testing/turnable-clock.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const names = { dnsNames: ['localhost', 'control.test'], ipAddresses: ['127.0.0.1', '::1'] };

async function served(authority: Authority, port: number): Promise<PeerCertificate> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    ca: authority.bundle().pem,
    ALPNProtocols: ['h2'],
  });
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(5_000) });
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    return socket.getPeerCertificate();
  } finally {
    socket.destroy();
  }
}

const bind = (server: Server, credentials: Parameters<Server['bindAsync']>[1]): Promise<number> =>
  new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });

test('the server’s certificate names the control plane, and where it is dialled', async (t) => {
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain });
  using made = createServerCredentials({ mode: 'server-auth', authority, ...names });
  const server = new Server();
  t.after(() => server.forceShutdown());
  const certificate = await served(authority, await bind(server, made.credentials));
  const identity = peerIdentity(certificate.raw);
  assert.ok(identity.ok && identity.serverAuth);
  assert.equal(identity.spiffeId, authority.controlPlaneId);
  assert.equal(identity.spiffeId, 'spiffe://mesh.test/ns/weft-system/sa/weft-control-plane');
  assert.equal(identity.facts.otherSanCount, 4);
});

test('the certificate is replaced at half of its life while the server runs', async (t) => {
  // The client's clock is the real one, so that the turned one has to end there.
  const clock = createTurnableClock(Date.now() - 1_900_000);
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain, clock });
  using made = createServerCredentials({ mode: 'server-auth', authority, clock, ...names });
  const server = new Server();
  t.after(() => server.forceShutdown());
  const port = await bind(server, made.credentials);
  const first = await served(authority, port);
  clock.turn(1_700_000);
  assert.equal((await served(authority, port)).serialNumber, first.serialNumber);
  clock.turn(200_000);
  assert.notEqual((await served(authority, port)).serialNumber, first.serialNumber);
});

test('peerOf() refuses a connection whose certificate was not verified or is no workload’s', async () => {
  await using authority = await openAuthority({ store: createMemoryStore(), trustDomain });
  const call = (raw: Uint8Array | undefined) => ({
    getAuthContext: () => (raw === undefined ? {} : { sslPeerCertificate: { raw } }),
  });
  assert.equal(peerOf({ getAuthContext: () => null }).ok, false);
  assert.equal(peerOf(call(undefined)).ok, false);
  assert.equal(peerOf(call(Buffer.from('garbage'))).ok, false);
  assert.equal(peerOf(call(authority.bundle().rootsDer[0])).ok, false);
  const identity = { namespace: 'shop', serviceAccount: 'web' };
  const issuance = authority.issue(opensslRequest().csrDer, identity, 'test', 'test');
  assert.ok(issuance.ok);
  const peer = peerOf(call(issuance.svid.chainDer[0]));
  assert.ok(peer.ok);
  assert.equal(peer.serial, issuance.svid.serial);
  assert.equal(peer.issuerKeyId, authority.issuerKeyId);
});
