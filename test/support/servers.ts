// Small servers on loopback, and bounded waiting, for tests with real sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { PATIENCE_MS } from './lab-wait.ts';

export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly server: Server;
  /** Connections accepted so far. */
  readonly sockets: readonly Socket[];
}

/** Owns every connection: disposing ends them all. */
export async function serve(
  server: Server,
  event: 'connection' | 'secureConnection' = 'connection',
): Promise<TestServer> {
  const sockets: Socket[] = [];
  const raw = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    raw.add(socket);
    socket.on('error', () => socket.destroy());
  });
  server.on(event, (socket: Socket) => {
    sockets.push(socket);
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    server,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of raw) socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

export const serveTcp = (
  onSocket: (socket: Socket) => void = () => undefined,
): Promise<TestServer> => serve(net.createServer({ allowHalfOpen: true }, onSocket));

/** Looks again and again until the claim holds. */
export async function eventually(claim: () => boolean, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!claim()) {
    assert.ok(performance.now() < end, `in ${PATIENCE_MS} ms not seen: ${what}`);
    await setImmediate();
  }
}

export const deadline = (): AbortSignal => AbortSignal.timeout(PATIENCE_MS);

/** Reads until what came satisfies the claim. @throws when the socket ends or time runs out before. */
export async function readUntil(
  socket: Socket,
  isEnough: (text: string) => boolean,
): Promise<string> {
  let text = '';
  const onData = (chunk: Buffer): void => {
    text += chunk.toString('latin1');
  };
  socket.on('data', onData);
  try {
    await eventually(() => isEnough(text) || socket.destroyed || socket.readableEnded, 'an answer');
  } finally {
    socket.removeListener('data', onData);
  }
  assert.ok(isEnough(text), `the connection ended after ${JSON.stringify(text)}`);
  return text;
}
