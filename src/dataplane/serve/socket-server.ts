// Listens on one address and hands over accepted sockets; errors of a socket never reach the process.
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface SocketServer extends AsyncDisposable {
  readonly address: AddressInfo;
  /** No new connections; those that are open go on. */
  stop(): void;
}

/** 64 Ki: file descriptors run out about there, and an operator is better told by a counter than by a crash. */
const MAX_CONNECTIONS = 65_536;
const BACKLOG = 1_024;

/**
 * @param listen port 0 takes a free one.
 * @throws Error naming the address and the cure when it cannot be bound.
 */
export async function openSocketServer(
  listen: ListenAddress,
  onSocket: (socket: Socket) => void,
): Promise<SocketServer> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    onSocket(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await listenOn(server, listen.host, listen.port);
  } catch (error) {
    throw listenFailure(listen, error);
  }
  /** Later errors (no descriptors left) end one accept, not the listener. */
  server.on('error', () => undefined);
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('Cannot serve: no port');
  return {
    address,
    stop: () => server.close(),
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      await Promise.race([closed, new Promise((resolve) => setImmediate(resolve))]);
    },
  };
}

/** `::` takes both families; where the host has no IPv6 it means every IPv4 address. */
async function listenOn(server: net.Server, host: string, port: number): Promise<void> {
  try {
    server.listen({ host, port, backlog: BACKLOG });
    await once(server, 'listening');
  } catch (error) {
    if (host !== '::' || !NO_IPV6.has(codeOf(error))) throw error;
    server.listen({ host: '0.0.0.0', port, backlog: BACKLOG });
    await once(server, 'listening');
  }
}

const NO_IPV6: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : '';

/** Names the address and the cure. */
export const listenFailure = ({ host, port }: ListenAddress, cause: unknown): Error =>
  new Error(`Cannot listen on ${host}:${port}: ${cureOf(cause)}`, { cause });

function cureOf(error: unknown): string {
  const code = codeOf(error);
  if (code === 'EADDRINUSE') return 'another process listens there; stop it or choose another port';
  if (code === 'EADDRNOTAVAIL') return 'this host has no such address';
  if (code === 'EACCES') return 'the port needs more privilege; choose one from 1024 up';
  return error instanceof Error ? error.message : String(error);
}
