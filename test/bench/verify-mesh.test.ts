// A pair that judges nobody, or speaks in plain text, is never measured.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { issueIdentities } from './identities.ts';
import type { Pair } from './peers/pairs.ts';
import { CALLED, CALLER, POLICY, STRANGER } from './policies.ts';
import type { MeshSpec } from './scenario.ts';
import { verifyMeshPair } from './verify-mesh.ts';

/** Of the benchmark's TCP protocol: the mode and the length. */
const HEAD_BYTES = 9;

async function listening(stack: AsyncDisposableStack, server: net.Server): Promise<number> {
  const open = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function verified(
  stack: AsyncDisposableStack,
  app: MeshSpec['app'],
  server: net.Server,
): Promise<unknown> {
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-verify-'));
  stack.defer(() => rm(stateDir, { recursive: true, force: true }));
  const accounts = [CALLER, CALLED, STRANGER];
  const identities = await issueIdentities({ stateDir, namespace: 'shop', accounts });
  const at = { host: '127.0.0.1', port: await listening(stack, server) };
  const pair: Pair = {
    name: 'weft',
    front: at,
    inbound: at,
    pids: [],
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const mesh: MeshSpec = { name: app, app, port: app, rules: 'two' };
  return verifyMeshPair(pair, { identities, folder: stateDir, mesh });
}

/** @param isDenied paths that are answered 403 */
const http2Server = (isDenied: (path: string) => boolean): net.Server => {
  const server = http2.createServer();
  server.on('request', (request, response) => {
    response.writeHead(isDenied(request.url) ? 403 : 200).end();
  });
  return server;
};

test('verifyMeshPair() refuses HTTP/2 whose denied path is answered', async () => {
  await using stack = new AsyncDisposableStack();
  const server = http2Server(() => false);
  await assert.rejects(verified(stack, 'h2c', server), /not so that the denied path is denied/);
});

test('verifyMeshPair() refuses HTTP/2 that takes every method', async () => {
  await using stack = new AsyncDisposableStack();
  const server = http2Server((path) => path === POLICY.deniedPath);
  await assert.rejects(verified(stack, 'h2c', server), /not so that a method that no rule allows/);
});

test('verifyMeshPair() refuses TCP without TLS', async () => {
  await using stack = new AsyncDisposableStack();
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (part: Buffer) => socket.write(part.subarray(HEAD_BYTES)));
  });
  await assert.rejects(verified(stack, 'tcp', server), /not so that the caller by its certificate/);
});
