// Counts the TCP connections that a process has open to a port, from /proc.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const ESTABLISHED = '01';

function socketsOf(pid: number): ReadonlySet<string> {
  const folder = `/proc/${pid}/fd`;
  const links = readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(`${folder}/${fd}`)];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
  return new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? ''));
}

/** To a remote port, over IPv4. */
export function connectionsTo(pid: number, port: number): number {
  const sockets = socketsOf(pid);
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, , remote = '', state, , , , , , inode = '']) =>
        remote.endsWith(suffix) && state === ESTABLISHED && sockets.has(inode),
    ).length;
}
