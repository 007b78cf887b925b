// Ports for programs that take no port 0: below those that the system gives out, so that neither a connection nor another server gets one by chance.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

/** Linux gives out 32768 and above; the defaults of all that is tested are below 20000. */
const FIRST = 20_000;
const END = 32_000;
const TRIES = 100;

/** Free a moment ago. Default: at `127.0.0.1`; `::` is every address. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = randomInt(FIRST, END);
    const server = net.createServer();
    try {
      await once(server.listen(port, host), 'listening');
    } catch {
      // Taken; another is tried.
      continue;
    }
    await once(server.close(), 'close');
    return port;
  }
  throw new Error(`Cannot find a free port: ${TRIES} between ${FIRST} and ${END} are taken`);
}
