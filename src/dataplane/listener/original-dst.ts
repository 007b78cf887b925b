// Asks the kernel where a redirected connection was going before netfilter turned it to us.
import type { Socket } from 'node:net';

export interface Destination {
  readonly address: string;
  readonly port: number;
}

/** Answers for one accepted socket; `undefined` when the connection was not redirected. */
export type OriginalDst = (socket: Socket) => Destination | undefined;

/** linux/in.h, linux/netfilter_ipv4.h and netfilter_ipv6/ip6_tables.h. */
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCKADDR_IN6_BYTES = 28;

/** What a `net.Socket` has below it; Node does not describe it in its types. */
interface HandleWithFd {
  readonly _handle?: { readonly fd?: number } | null;
}

/**
 * Loads the call into libc. Only transparent interception pays for it.
 * @throws Error where there is no `getsockopt` to call (not Linux).
 */
export async function loadOriginalDst(): Promise<OriginalDst> {
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const getsockopt = libc.func(
    'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
  );
  return (socket) => {
    const fd = (socket as Socket & HandleWithFd)._handle?.fd;
    if (fd === undefined || fd < 0) return undefined;
    const isIpv6 = socket.localFamily === 'IPv6' && !isMapped(socket.localAddress);
    const value = Buffer.alloc(SOCKADDR_IN6_BYTES);
    const length = [value.length];
    const status: unknown = getsockopt(
      fd,
      isIpv6 ? SOL_IPV6 : SOL_IP,
      SO_ORIGINAL_DST,
      value,
      length,
    );
    return status === 0 ? decodeSockaddr(value) : undefined;
  };
}

const isMapped = (address: string | undefined): boolean => address?.startsWith('::ffff:') === true;

/** `struct sockaddr_in` or `sockaddr_in6`: family in host order, port and address in network order. */
export function decodeSockaddr(bytes: Buffer): Destination | undefined {
  const family = bytes.readUInt16LE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) {
    return { address: [...bytes.subarray(4, 8)].join('.'), port };
  }
  if (family !== AF_INET6) return undefined;
  const groups: string[] = [];
  for (let at = 8; at < 24; at += 2) groups.push(bytes.readUInt16BE(at).toString(16));
  return { address: compressIpv6(groups), port };
}

/** RFC 5952 §4.2: the longest run of zeros becomes `::`, the first of equal ones. */
function compressIpv6(groups: readonly string[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.start === -1) return groups.join(':');
  const head = groups.slice(0, best.start).join(':');
  return `${head}::${groups.slice(best.start + best.length).join(':')}`;
}
