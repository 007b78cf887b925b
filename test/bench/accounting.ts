// Reads from /proc what processes have cost: CPU time of all their threads, and memory.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second of /proc/PID/stat. */
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const US_PER_SECOND = 1e6;
/** Places of utime and stime behind the command's name, which may hold spaces. */
const UTIME = 11;
const STIME = 12;

/** User and system time of whole processes, all threads, in µs; its step is a tick, mostly 10 ms. */
export function cpuUsOf(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[UTIME]) + Number(fields[STIME]);
  }
  return (ticks / ticksPerSecond) * US_PER_SECOND;
}

export interface Memory {
  readonly residentMb: number;
  /** Pages that nobody shares: what one more such process costs. */
  readonly privateMb: number;
  /** Written pages alone: nobody could share them, nor could they be read from disk again. */
  readonly dirtyMb: number;
  /** Shared pages counted by their share. */
  readonly proportionalMb: number;
}

export function memoryOf(pid: number): Memory {
  const kbByName = new Map<string, number>();
  for (const line of readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').split('\n')) {
    const [name = '', rest = ''] = line.split(':');
    kbByName.set(name, Number.parseInt(rest, 10));
  }
  const mb = (name: string): number => (kbByName.get(name) ?? 0) / 1_024;
  return {
    residentMb: mb('Rss'),
    privateMb: mb('Private_Clean') + mb('Private_Dirty'),
    dirtyMb: mb('Private_Dirty'),
    proportionalMb: mb('Pss'),
  };
}

/**
 * The same to the nanosecond, from the scheduler's own account of every thread: for work shorter than a tick. Threads
 * that ended are not in it.
 */
export function preciseCpuUsOf(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [running = ''] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    nanoseconds += Number(running);
  }
  return nanoseconds / 1_000;
}
