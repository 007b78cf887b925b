// Runs one command to its end, or starts one that ends with this process whatever becomes of it.
import { execFile, spawn } from 'node:child_process';

/** 8 MiB: `iptables-save` of a large node. */
const MAX_OUTPUT_BYTES = 8_388_608;

/** Before a command: the kernel kills it when the process that started it is gone. */
export const DIES_WITH_US: readonly string[] = ['setpriv', '--pdeathsig', 'SIGKILL', '--'];

export interface CommandEnd {
  /** -1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  /** Then it is killed, and its code is -1. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** @throws Error only when it cannot be started. */
export function runToEnd(
  argv: readonly string[],
  { input, timeoutMs, signal }: CommandOptions = {},
): Promise<CommandEnd> {
  const [command = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const told = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (told.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (told.stderr += text));
    // It may end before it has read all: its code says more than EPIPE.
    child.stdin.on('error', () => {}).end(input ?? '');
    const kill = (): void => void child.kill('SIGKILL');
    const timer = timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs);
    signal?.addEventListener('abort', kill, { once: true });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
      resolve({ code: code ?? -1, ...told });
    });
  });
}

/** @returns its standard output. @throws Error with its last words when it fails. */
export function run(argv: readonly string[], input?: string): Promise<string> {
  const [command = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { maxBuffer: MAX_OUTPUT_BYTES },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`Cannot run ${argv.join(' ')}: ${stderr.trim() || error.message}`));
      },
    );
    child.stdin?.on('error', () => {}).end(input ?? '');
  });
}
