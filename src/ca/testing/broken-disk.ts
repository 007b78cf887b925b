// A disk for tests on which one kind of call fails, as on a full or dying one.
import type { FileHandle } from 'node:fs/promises';
import { type DiskCalls, diskCalls } from '../store/atomic-file.ts';

export function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

export function brokenDisk(call: 'rename' | 'writeFile' | 'sync', code: string): DiskCalls {
  const fail = (): Promise<never> => Promise.reject(diskError(code));
  if (call === 'rename') return { ...diskCalls, rename: fail };
  const open = async (...args: Parameters<typeof diskCalls.open>): Promise<FileHandle> => {
    const file = await diskCalls.open(...args);
    file[call] = fail;
    return file;
  };
  return { ...diskCalls, open };
}
