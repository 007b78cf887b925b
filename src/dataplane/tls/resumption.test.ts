import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { MeshAcceptor } from './server.ts';

test('no session of a sidecar can be resumed, neither before nor after its certificate is renewed: every peer is verified anew (CVE-2026-48934)', async () => {
  const pki = createTestPki();
  const acceptor = new MeshAcceptor({
    contexts: pki.contexts('shop/web'),
    alpn: [],
    isExpected: () => true,
  });
  const refused: string[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    acceptor.accept(socket, {
      onSecure: (secure) => secure.end('hello'),
      onRefused: (reasonCode) => void refused.push(reasonCode),
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const sessions: Buffer[] = [];
  try {
    for (let round = 0; round < 6; round++) {
      if (round === 3) acceptor.setContexts(pki.contexts('shop/web'));
      const session = sessions.at(-1);
      const client: tls.TLSSocket = tls.connect({
        port: address.port,
        host: '127.0.0.1',
        secureContext: pki.contexts('shop/cart').client,
        checkServerIdentity: () => undefined,
        ...(session !== undefined && { session }),
      });
      client.on('session', (one) => sessions.push(one));
      let received = '';
      client.on('data', (part) => (received += part.toString()));
      await once(client, 'end', { signal: AbortSignal.timeout(5_000) });
      assert.deepEqual([round, client.isSessionReused(), received], [round, false, 'hello']);
      client.destroy();
    }
    assert.deepEqual(refused, []);
  } finally {
    server.close();
  }
});
