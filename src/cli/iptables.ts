// Runs iptables and ip6tables, and says what to do when they cannot do their work.
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import type { Family } from '@weft/dataplane/listener/capture';

const run = promisify(execFile);

export const IPTABLES: Readonly<Record<Family, string>> = { 4: 'iptables', 6: 'ip6tables' };

/** What the tools say, and what cures it; the first that fits holds. */
const CURES: readonly (readonly [sign: string, cure: string])[] = [
  ['ENOENT', 'it is not installed; use the image weft/capture, or install the package iptables'],
  [
    'ermission denied',
    'it needs the capability NET_ADMIN; give it to the container (securityContext.capabilities.add) and run it as root',
  ],
  [
    'peration not permitted',
    'it needs the capability NET_ADMIN; give it to the container (securityContext.capabilities.add) and run it as root',
  ],
  [
    'xtables lock',
    'its lock cannot be taken; mount a writable folder at /run, or name a writable file in XTABLES_LOCKFILE',
  ],
  [
    'xtables.lock',
    'its lock cannot be written; mount a writable folder at /run, or name a writable file in XTABLES_LOCKFILE',
  ],
  [
    'not supported',
    "the node's kernel has no nf_tables NAT for it; load the kernel modules nf_tables and nft_chain_nat on the node",
  ],
  [
    'No such file or directory',
    "the node's kernel lacks a part of it; load the kernel modules xt_owner, xt_REDIRECT and nf_nat on the node",
  ],
  [
    'No chain/target/match',
    "the node's kernel lacks a part of it; load the kernel modules xt_owner, xt_REDIRECT and nf_nat on the node",
  ],
];

/** @param said by the tool or by the system that could not start it. */
function failure(tool: string, said: string, cause?: unknown): Error {
  const cure = CURES.find(([sign]) => said.includes(sign))?.[1];
  const words = said.trim().split('\n', 1)[0] ?? '';
  return new Error(`Cannot capture with ${tool}: ${cure ?? words}${cure ? ` (${words})` : ''}`, {
    cause,
  });
}

/** @returns whether the command succeeded: what it looked for is there, or was there to be taken away. */
export async function succeeds(family: Family, args: readonly string[]): Promise<boolean> {
  const tool = IPTABLES[family];
  try {
    await run(tool, [...args]);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw failure(tool, error.message, error);
    }
    return false;
  }
}

/** Sets all of the rules or none. @throws Error that names the tool and the cure. */
export function restore(family: Family, rules: string): Promise<void> {
  const tool = `${IPTABLES[family]}-restore`;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn(tool, ['--noflush'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(0, 4_096);
  });
  child.on('error', (error) => reject(failure(tool, error.message, error)));
  child.on('close', (code) => {
    if (code === 0) resolve();
    else reject(failure(tool, said));
  });
  /** It may end before it has read everything; how it ended says why. */
  child.stdin.on('error', () => undefined);
  child.stdin.end(rules);
  return promise;
}

/** Whether rules can be read at all: a question that anybody with the right may ask. @throws as `restore` does. */
export async function requireAccess(family: Family): Promise<void> {
  try {
    await run(IPTABLES[family], ['-t', 'nat', '-S', 'OUTPUT']);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw failure(IPTABLES[family], said === '' ? String(error) : said, error);
  }
}
