// The agent's Unix sockets for its Envoy: discovery and secrets, proofs of interception, and probes that came by the redirect.
import { chmod } from 'node:fs/promises';
import { once } from 'node:events';
import net, { type Server, type Socket } from 'node:net';
import { join } from 'node:path';

export interface SocketPaths {
  readonly discovery: string;
  readonly proofs: string;
  readonly probes: string;
  readonly admin: string;
}

export const socketPathsIn = (folder: string): SocketPaths => ({
  discovery: join(folder, 'agent.sock'),
  proofs: join(folder, 'proofs.sock'),
  probes: join(folder, 'probes.sock'),
  admin: join(folder, 'admin.sock'),
});

const SOCKET_MODE = 0o600;
const MAX_CONNECTIONS = 256;

/** @throws Error when it cannot listen there. */
export async function openPrivateSocket(
  path: string,
  onSocket: (socket: Socket) => void,
): Promise<AsyncDisposable> {
  const server: Server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    onSocket(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen({ path });
  await once(server, 'listening');
  await chmod(path, SOCKET_MODE);
  /** Later errors (no descriptors left) end one accept, not the listener. */
  server.on('error', () => undefined);
  return {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
