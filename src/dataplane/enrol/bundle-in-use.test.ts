// What must hold: where others go by the bundle too, a new one is acknowledged only when they do, for a rotation of the root waits for that.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textOf } from '@weft/xds/protocol/fields';
import { createKeeperRig } from '../../../test/support/keeper-rig.ts';
import { openScriptedControlPlane } from '../../../test/support/scripted-control-plane.ts';

async function rotate(whenBundleIsUsed: () => Promise<void>) {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await openScriptedControlPlane());
  const rig = stack.use(createKeeperRig(server, { whenBundleIsUsed }));
  await rig.start();
  await server.until(() => server.streams.length === 1);
  const acks = (): readonly string[] =>
    (server.streams[0]?.received ?? []).map((message) => textOf(message, 'bundle_ack'));
  await server.until(() => acks().length === 1);
  await server.authority.startRotation();
  server.streams[0]?.send({ bundle: server.bundle() });
  await rig.until(() => rig.lines.some((line) => line.includes('trust bundle in use')));
  const { version } = server.authority.bundle();
  return { stack, server, rig, acks, version };
}

test('a bundle is acknowledged when those who go by it do, and not before', async () => {
  const used = Promise.withResolvers<void>();
  const { stack, server, acks, version } = await rotate(() => used.promise);
  await using _ = stack;
  assert.ok(!acks().includes(version));
  used.resolve();
  await server.until(() => acks().includes(version));
});

test('a bundle that they cannot have is not acknowledged, and that is told', async () => {
  const { stack, rig, acks, version } = await rotate(() => Promise.reject(new Error('no disk')));
  await using _ = stack;
  await rig.until(() => rig.lines.some((line) => line.includes('a bundle is not acknowledged')));
  assert.ok(!acks().includes(version));
});
