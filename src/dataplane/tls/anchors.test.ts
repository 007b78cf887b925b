// THE rule of federation: a root vouches for identities of its own trust domain alone, in real handshakes, for clients and servers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { CA_EXTENSIONS, opensslCa, type TestCa } from '@weft/ca/testing/openssl-ca';
import { parseTrustDomain, type TrustDomain } from '@weft/model/identity';
import { createTestPki, type Credential, idOf } from '../../../test/support/mesh-pki.ts';
import { connectMesh } from './client.ts';
import { createMeshContexts, isStillTrusted, type MeshContexts } from './credentials.ts';
import { MeshAcceptor } from './server.ts';

function domain(name: string): TrustDomain {
  const parsed = parseTrustDomain(name);
  assert.ok(parsed !== undefined);
  return parsed;
}

const OWN = 'mesh.test';
const PARTNER = 'partner.test';
const OTHER = 'other.test';
const own = createTestPki(OWN);
const partner = createTestPki(PARTNER);
const other = createTestPki(OTHER);
const FEDERATED = [
  { trustDomain: domain(PARTNER), trustedCaPem: partner.bundlePem },
  { trustDomain: domain(OTHER), trustedCaPem: other.bundlePem },
];

function contextsOf(bundlePem = own.bundlePem, federated = FEDERATED): MeshContexts {
  const spiffeId = idOf('shop/web', OWN);
  const credential = own.issue({ uris: [spiffeId] });
  return createMeshContexts({ spiffeId, ...credential, bundlePem, federated });
}

/** @returns the id that the server took the client for, or why it did not. */
async function showTo(contexts: MeshContexts, client: Credential): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const acceptor = new MeshAcceptor({ contexts, alpn: [], isExpected: () => true });
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    acceptor.accept(socket, {
      onSecure: (secure, { spiffeId }) => {
        resolve(spiffeId);
        secure.destroy();
      },
      onRefused: (reasonCode, detail) => resolve(`${reasonCode} ${detail}`),
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const socket = tls.connect({
    port: address.port,
    host: '127.0.0.1',
    key: client.keyPem,
    cert: client.chainPem,
    rejectUnauthorized: false,
  });
  socket.on('error', () => socket.destroy());
  try {
    return await promise;
  } finally {
    socket.destroy();
    server.close();
  }
}

const PKIS = [
  [OWN, own],
  [PARTNER, partner],
  [OTHER, other],
] as const;
for (const [root, pki] of PKIS) {
  for (const [claimed] of PKIS) {
    const isTaken = root === claimed;
    test(`a root of ${root} ${isTaken ? 'vouches' : 'does not vouch'} for a caller of ${claimed}`, async () => {
      const id = idOf('shop/cart', claimed);
      const seen = await showTo(contextsOf(), pki.issue({ uris: [id] }));
      if (isTaken) assert.equal(seen, id);
      else assert.match(seen, /^peer-not-vouched-for peer claims .* another trust domain$/);
    });
    test(`a server of ${claimed} under a root of ${root} ${isTaken ? 'is' : 'is not'} called`, async () => {
      const id = idOf('shop/cart', claimed);
      const { keyPem: key, chainPem: cert } = pki.issue({ uris: [id] });
      const server = tls.createServer({ key, cert }, (socket) => void socket.end());
      server.on('tlsClientError', () => undefined);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      assert.ok(typeof address === 'object' && address !== null);
      const { promise, resolve } = Promise.withResolvers<string>();
      connectMesh(
        {
          host: '127.0.0.1',
          port: address.port,
          timeoutMs: 5_000,
          contexts: contextsOf(),
          sni: '',
          alpn: [],
          isExpected: (peer) => peer === id,
        },
        {
          onConnect(socket) {
            socket.destroy();
            resolve('connected');
          },
          onFailure: ({ code }) => resolve(code),
        },
      );
      assert.equal(await promise, isTaken ? 'connected' : 'peer-not-vouched-for');
      server.close();
    });
  }
}

test('an id of nobody who is believed is refused under whatever root', async () => {
  const id = idOf('shop/cart', 'stranger.test');
  for (const [, pki] of PKIS) {
    assert.match(await showTo(contextsOf(), pki.issue({ uris: [id] })), /^peer-not-vouched-for/);
  }
  const stranger = createTestPki('stranger.test');
  assert.match(await showTo(contextsOf(), stranger.issue({ uris: [id] })), /^handshake-failed/);
});

/** The same CA, signed by another. */
function signedBy(ca: TestCa, signer: TestCa): string {
  const directory = mkdtempSync(join(tmpdir(), 'weft-cross-'));
  try {
    writeFileSync(join(directory, 'ca.pem'), ca.certificatePem);
    writeFileSync(join(directory, 'by.pem'), signer.certificatePem);
    writeFileSync(join(directory, 'key.pem'), signer.keyPem);
    writeFileSync(join(directory, 'own.pem'), ca.keyPem);
    writeFileSync(join(directory, 'extensions'), CA_EXTENSIONS.join('\n'));
    const run = (...args: readonly string[]): void => {
      execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
    };
    const asked = ['-in', 'ca.pem', '-signkey', 'own.pem', '-out', 'csr.pem'];
    run('x509', '-x509toreq', ...asked);
    const by = ['-CA', 'by.pem', '-CAkey', 'key.pem', '-CAcreateserial'];
    run('x509', '-req', '-in', 'csr.pem', '-extfile', 'extensions', ...by, '-out', 'cross.pem');
    return readFileSync(join(directory, 'cross.pem'), 'utf8');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('a CA of ours that may not name us cannot do so by way of a foreign root that signs it too', async () => {
  const [ours, theirs] = [opensslCa({ subject: '/CN=ours' }), opensslCa({ subject: '/CN=theirs' })];
  const constrained = [...CA_EXTENSIONS, 'nameConstraints=critical,permitted;URI:elsewhere.test'];
  const below = opensslCa({ subject: '/CN=below', extensions: constrained }, ours);
  const free = opensslCa({ subject: '/CN=below' }, ours);
  const id = idOf('shop/admin', OWN);
  const leafOf = (issuer: TestCa) =>
    opensslCa(
      {
        subject: '/CN=leaf',
        extensions: [
          'basicConstraints=critical,CA:FALSE',
          'keyUsage=critical,digitalSignature',
          'extendedKeyUsage=serverAuth,clientAuth',
          `subjectAltName=URI:${id}`,
        ],
      },
      issuer,
    );
  const federated = [{ trustDomain: domain(PARTNER), trustedCaPem: theirs.certificatePem }];
  const both = own.bundlePem + ours.certificatePem;
  const contexts = contextsOf(both, federated);
  const show = (leaf: TestCa, ...chain: readonly string[]): Promise<string> =>
    showTo(contexts, { keyPem: leaf.keyPem, chainPem: [leaf.certificatePem, ...chain].join('') });
  const leaf = leafOf(free);
  assert.equal(await show(leaf, free.certificatePem), id, 'without another way it is taken');
  const cross = signedBy(free, theirs);
  const ways = [[cross], [cross, free.certificatePem], [free.certificatePem, cross]];
  for (const way of ways) {
    const seen = await show(leafOf(free), ...way);
    assert.match(seen, /^peer-not-vouched-for/);
  }
  const padded = [free.certificatePem, ...Array(3).fill(other.bundlePem), cross];
  assert.match(await show(leafOf(free), ...padded), /^peer-not-vouched-for .* too long$/);
  const named = leafOf(below);
  assert.match(await show(named, below.certificatePem), /^handshake-failed/, 'by OpenSSL');
  const around = signedBy(below, theirs);
  for (const way of [[around], [around, below.certificatePem], [below.certificatePem, around]]) {
    assert.match(await show(named, ...way), /^(peer-not-vouched-for|handshake-failed)/);
  }
});

test('without federations there is one trust domain, whose roots vouch for every id as before', async () => {
  const id = idOf('shop/cart', 'old.test');
  const contexts = contextsOf(own.bundlePem, []);
  assert.equal(await showTo(contexts, own.issue({ uris: [id] })), id);
});

test('connections are judged again by the roots of their own trust domain', () => {
  const contexts = contextsOf();
  const chainOf = (pki: typeof own) =>
    createMeshContexts({
      spiffeId: idOf('shop/web', OWN),
      ...own.issue({ uris: [idOf('shop/web', OWN)] }),
      bundlePem: pki.bundlePem,
    }).rootsOf(idOf('shop/web', OWN));
  const id = idOf('shop/cart', PARTNER);
  assert.equal(contexts.rootsOf(id), contexts.rootsOf(id), 'one array, for what is kept by it');
  assert.ok(isStillTrusted(chainOf(partner), contexts.rootsOf(id), Date.now()));
  assert.ok(!isStillTrusted(chainOf(other), contexts.rootsOf(id), Date.now()));
  assert.deepEqual(contexts.rootsOf(idOf('shop/cart', 'nobody.test')), []);
});

test('createMeshContexts() refuses other roots for our own trust domain, one that is there twice, and one without roots', () => {
  const [first] = FEDERATED;
  assert.ok(first !== undefined);
  const rows = [
    [{ ...first, trustDomain: domain(OWN) }],
    [first, first],
    [{ ...first, trustedCaPem: '' }],
    [{ ...first, trustedCaPem: 'hello' }],
  ];
  for (const federated of rows) assert.throws(() => contextsOf(own.bundlePem, federated));
});
