// Asks the kernel which process is at the other end of a Unix socket: its word, not the caller's.
import type { Socket } from 'node:net';
import type { AllowedCallers } from './options.ts';

export interface PeerProcess {
  /** 0 where the caller is in a process namespace of its own. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** `undefined` when the kernel does not say. */
export type PeerOf = (socket: Socket) => PeerProcess | undefined;

/** asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** `struct ucred`: pid, uid, gid. */
const UCRED_BYTES = 12;

/** What a `net.Socket` has below it; Node does not describe it in its types. */
interface HandleWithFd {
  readonly _handle?: { readonly fd?: number } | null;
}

/** @throws Error where there is no `getsockopt` to call (not Linux): then nobody can be told from anybody. */
export async function loadPeerCredentials(): Promise<PeerOf> {
  const { default: koffi } = await import('koffi');
  const getsockopt = koffi
    .load(null)
    .func(
      'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
    );
  return (socket) => {
    const fd = (socket as Socket & HandleWithFd)._handle?.fd;
    if (fd === undefined || fd < 0) return undefined;
    const value = Buffer.alloc(UCRED_BYTES);
    const length = [UCRED_BYTES];
    const status: unknown = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length);
    if (status !== 0 || length[0] !== UCRED_BYTES) return undefined;
    return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
  };
}

/** Whether a caller fits every list that is given; with none given nobody does. */
export function isAllowedCaller(
  { uid, gid, pid }: PeerProcess,
  { uids, gids, pids }: AllowedCallers,
): boolean {
  const fits = (list: readonly number[], id: number): boolean =>
    list.length === 0 || list.includes(id);
  if (uids.length + gids.length + pids.length === 0) return false;
  return fits(uids, uid) && fits(gids, gid) && fits(pids, pid);
}
