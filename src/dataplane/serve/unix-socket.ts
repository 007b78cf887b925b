// Makes room for a Unix socket: what an earlier process left is removed, and nothing else is.
import { lstat, rm } from 'node:fs/promises';
import net from 'node:net';

/** @throws Error when something other than an abandoned socket is there. */
export async function removeOldSocket(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = (await lstat(path)).isSocket();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  if (!isSocket) throw new Error(`Cannot listen on ${path}: something else is there`);
  if (await isAnswered(path)) throw new Error(`Cannot listen on ${path}: another process does`);
  await rm(path);
}

const isAnswered = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(path);
    const end = (isOpen: boolean) => (): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', end(true));
    /** Refused: whoever made it is gone. */
    socket.once('error', end(false));
  });
