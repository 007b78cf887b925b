// Tells file systems that are in memory from those that keep what is written to them, and refuses the latter.
import { readFile, statfs } from 'node:fs/promises';

/** linux/magic.h. */
const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;

/** @throws Error naming the folder and the cure where it is not in memory, or not there. */
export async function requireMemory(
  directory: string,
  { isForced, cure }: { readonly isForced: boolean; readonly cure: string },
): Promise<void> {
  let type: number;
  try {
    ({ type } = await statfs(directory));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot write credentials to ${directory}: ${reason}`, { cause: error });
  }
  if (type === TMPFS_MAGIC || type === RAMFS_MAGIC || isForced) return;
  throw new Error(
    `Cannot write credentials to ${directory}: its file system is not in memory (tmpfs), and would keep them; ${cure}`,
  );
}

/** Whether memory may be written to a disk: pages of tmpfs are swapped as others are. */
export async function hasSwap(): Promise<boolean> {
  try {
    const lines = (await readFile('/proc/swaps', 'utf8')).trim().split('\n');
    return lines.slice(1).some((line) => !line.startsWith('/dev/zram'));
  } catch {
    /** No /proc: nothing is known, and nothing can be done about it. */
    return false;
  }
}
