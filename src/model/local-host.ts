// Tells a request that was made to this machine from one that a web page made to a name pointed at it (DNS rebinding).
import { parseIp } from './ip.ts';

/** Whether the Host header is absent, `localhost` or an address, with or without a port. */
export function isLocalHost(host: string | undefined): boolean {
  if (host === undefined) return true;
  if (host.startsWith('[')) {
    const end = host.indexOf(']');
    return end !== -1 && parseIp(host.slice(1, end))?.family === 6;
  }
  const colon = host.lastIndexOf(':');
  const bare = colon === -1 ? host : host.slice(0, colon);
  return bare === 'localhost' || parseIp(bare) !== undefined;
}
