// Says what was measured: machine, versions, commit, and how busy the machine was with other things.
import { execFile } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly loadAverage: number;
  readonly node: string;
  readonly openssl: string;
  readonly commit: string;
  /** Whether the checkout has changes that no commit holds. */
  readonly isModified: boolean;
}

/** Above this, something else runs as well, and times are worth less. */
const BUSY_LOAD = 0.7;

export async function describeMachine(): Promise<Machine> {
  const git = async (...args: readonly string[]): Promise<string> => {
    try {
      return (await run('git', ['-C', ROOT, ...args])).stdout.trim();
    } catch {
      // Not a checkout, or no git: said as it is.
      return 'unknown';
    }
  };
  return {
    date: new Date().toISOString(),
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    loadAverage: os.loadavg()[0] ?? 0,
    node: process.versions.node,
    openssl: process.versions.openssl ?? 'unknown',
    commit: await git('rev-parse', '--short=12', 'HEAD'),
    isModified: (await git('status', '--porcelain', '--', 'src')) !== '',
  };
}

export function machineText(machine: Machine): string {
  const { cpu, cores, memoryGb, kernel, node, openssl, commit, isModified, loadAverage } = machine;
  const busy =
    loadAverage > BUSY_LOAD ? ' — something else is running: figures are worth less' : '';
  return [
    `${machine.date}  commit ${commit}${isModified ? ' with changes' : ''}`,
    `${cpu}, ${cores} cores, ${memoryGb} GB, Linux ${kernel}, Node ${node}, OpenSSL ${openssl}`,
    `load average before: ${loadAverage.toFixed(2)}${busy}`,
  ].join('\n');
}
