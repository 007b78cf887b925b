// Binds a server to an address, and says in words why it could not.
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { formatHostPort } from '@weft/model/host-port';
import { whyNoPort } from './why-no-port.ts';

/**
 * @param address port 0: any; `backlog` where the system's default is too few.
 * @throws Error with the cure when the address cannot be bound
 */
export async function listenOn(
  server: Server,
  address: { readonly host: string; readonly port: number; readonly backlog?: number },
): Promise<AddressInfo> {
  server.listen(address);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new Error(`Cannot listen on ${formatHostPort(address)}: ${whyNoPort(cause)}`, { cause });
  }
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new TypeError('Cannot serve: no port');
  return bound;
}
