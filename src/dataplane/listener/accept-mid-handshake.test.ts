// What changes while a client takes its time over the handshake holds for it too, though it was not open yet.
import assert from 'node:assert/strict';
import net, { type Socket } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { serveTcp } from '../../../test/support/servers.ts';
import {
  type AcceptRig,
  admission,
  chainOf,
  createRig,
  denying,
  listenerOf,
  MESH_TLS,
  MTLS,
  pki,
  refusedWith,
  STRICT,
  web,
  WEB,
} from '../../../test/support/accept-rig.ts';

interface Slow extends AsyncDisposable {
  readonly client: Socket;
  /** The server has done its half; the client's certificate is held back. */
  readonly halfway: Promise<void>;
  goOn(): void;
}

/** A client whose second flight waits between it and the listener. */
async function slowClient(rig: AcceptRig): Promise<Slow> {
  const held: Buffer[] = [];
  const halfway = Promise.withResolvers<void>();
  let upstream: Socket | undefined;
  let isHeld = true;
  const relay = await serveTcp((socket) => {
    const onward = net.connect(rig.server.port, '127.0.0.1');
    upstream = onward;
    onward.on('error', () => socket.destroy());
    onward.on('close', () => socket.destroy());
    socket.on('error', () => onward.destroy());
    socket.on('close', () => onward.destroy());
    onward.on('data', (bytes) => socket.write(bytes));
    socket.once('data', (hello) => {
      onward.write(hello);
      socket.on('data', (bytes: Buffer) => {
        if (!isHeld) onward.write(bytes);
        else held.push(bytes);
        halfway.resolve();
      });
    });
  });
  const client = tls.connect({
    port: relay.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['weft'],
    key: web.keyPem,
    cert: web.chainPem,
  });
  client.on('error', () => client.destroy());
  return {
    client,
    halfway: halfway.promise,
    goOn: () => {
      isHeld = false;
      for (const bytes of held) upstream?.write(bytes);
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await relay[Symbol.asyncDispose]();
    },
  };
}

const stranger = createTestPki();
const DENIED = listenerOf(chainOf('m', MTLS, { tls: MESH_TLS, rules: denying(WEB) }));

const changes: readonly (readonly [string, (rig: AcceptRig) => void, string])[] = [
  [
    'its root is retired',
    (rig) => rig.setContexts(pki.contexts('shop/prices', { bundlePem: stranger.bundlePem })),
    'peer-not-trusted',
  ],
  ['certificate and bundle go', (rig) => rig.setContexts(undefined), 'no-certificate'],
  ['a rule against it comes', (rig) => (rig.listener = DENIED), 'rbac-denied'],
  ['the configuration goes', (rig) => (rig.listener = undefined), 'mtls-mode-changed'],
];
for (const [what, change, reasonCode] of changes) {
  test(`a client whose handshake began before ${what} and ends after is refused`, async () => {
    await using rig = await createRig(STRICT);
    await using slow = await slowClient(rig);
    await slow.halfway;
    change(rig);
    rig.open.rejudgeAll();
    slow.goOn();
    await refusedWith(rig, slow.client, reasonCode);
  });
}

test('a client whose handshake began before a renewal and a harmless change of rules is served', async () => {
  await using rig = await createRig(STRICT);
  await using slow = await slowClient(rig);
  await slow.halfway;
  rig.setContexts(pki.contexts('shop/prices'));
  rig.listener = listenerOf(chainOf('m', MTLS, { tls: MESH_TLS }));
  slow.goOn();
  const { chain } = await admission(rig);
  assert.equal(chain, rig.listener.chainsByPort.get(8080)?.[0], 'by the rules of now');
});
