// Keeps two processes from being the CA of one directory.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { type DiskCalls, errorCode, removeIfThere, replaceFile } from './atomic-file.ts';

interface Owner {
  readonly host: string;
  readonly pid: number;
  /** Tells the process from a later one of the same number; empty where the system does not say. */
  readonly started: string;
}

/** Of this process: its own number on a lock that it does not hold is an earlier process's. */
const held = new Set<string>();

/** @throws when another living process holds it, or one on another machine may. */
export async function lockDirectory(disk: DiskCalls, path: string): Promise<AsyncDisposable> {
  const key = resolve(path);
  if (held.has(key)) throw new Error(`Cannot lock ${path}: this process holds it already`);
  held.add(key);
  try {
    await takeLock(disk, path);
  } catch (error) {
    held.delete(key);
    throw error;
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await removeIfThere(disk, path);
      held.delete(key);
    },
  };
}

async function takeLock(disk: DiskCalls, path: string): Promise<void> {
  const mine: Owner = { host: hostname(), pid: process.pid, started: startOf(process.pid) ?? '' };
  // A whole file appears at once under the lock's name, or the name is taken: there is no half-written lock.
  const prepared = join(dirname(path), `.${randomUUID()}.lock`);
  await replaceFile(disk, prepared, { text: JSON.stringify(mine), mode: 0o600 });
  try {
    if (await linked(disk, prepared, path)) return;
    const seen = await disk.readFile(path, 'utf8');
    refuseLiving(path, readOwner(seen), mine);
    await removeStale(disk, path, seen);
    if (await linked(disk, prepared, path)) return;
    throw new Error(`Cannot lock ${path}: another process has just taken it`);
  } finally {
    await removeIfThere(disk, prepared);
  }
}

async function linked(disk: DiskCalls, from: string, to: string): Promise<boolean> {
  try {
    await disk.link(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Moves the lock away before judging it again: of several that found it stale, one moves it. */
async function removeStale(disk: DiskCalls, path: string, seen: string): Promise<void> {
  const moved = join(dirname(path), `.${randomUUID()}.stale`);
  try {
    await disk.rename(path, moved);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  const isTheSame = (await disk.readFile(moved, 'utf8')) === seen;
  if (!isTheSame) await linked(disk, moved, path);
  await removeIfThere(disk, moved);
  if (!isTheSame) throw new Error(`Cannot lock ${path}: another process has just taken it`);
}

function refuseLiving(path: string, owner: Owner | undefined, mine: Owner): void {
  const cure = `if no such process runs, remove ${path}`;
  if (owner === undefined) throw new Error(`Cannot lock ${path}: it is damaged; ${cure}`);
  if (owner.host !== mine.host) {
    throw new Error(
      `Cannot lock ${path}: process ${owner.pid} on ${owner.host} has taken it; ${cure}`,
    );
  }
  if (owner.pid === mine.pid) return;
  const started = startOf(owner.pid);
  if (started === undefined || (started !== '' && started !== owner.started)) return;
  throw new Error(`Cannot lock ${path}: process ${owner.pid} has taken it; ${cure}`);
}

function readOwner(text: string): Owner | undefined {
  const { host, pid, started } = parseJsonObject(text) ?? {};
  if (typeof host !== 'string' || typeof pid !== 'number' || typeof started !== 'string') {
    return undefined;
  }
  return { host, pid, started };
}

/** When the process started, in ticks since boot. @returns `undefined` when there is none, empty when it cannot be told. */
function startOf(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return undefined;
    if (errorCode(error) !== 'EPERM') throw error;
  }
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Field 22; the second is the command's name in parentheses and may hold anything.
    return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw error;
  }
}
