// Tells the application that files have changed: a signal to the process of a pid file, or a command.
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { CredentialMetrics } from './credential-metrics.ts';
import type { OnChange } from './options.ts';

/** 30 s: a command that hangs is ended, and the next change runs it again. */
const COMMAND_MS = 30_000;
const MAX_PID_BYTES = 16;

export interface TellingOptions {
  readonly onChange: OnChange;
  readonly log: Logger;
  readonly metrics: CredentialMetrics;
}

/** Never rejects: what could not be told is said in the log and counted. The credentials' values are in neither of them. */
export async function tellOfChange(options: TellingOptions): Promise<void> {
  const { onChange, log, metrics } = options;
  try {
    if (onChange.kind === 'signal') process.kill(await readPid(onChange.pidFile), onChange.signal);
    else await run(onChange.argv);
  } catch (error) {
    metrics.failed(onChange.kind);
    const reason = error instanceof Error ? error.message : String(error);
    log.warn({ reason }, 'cannot tell the application of changed credentials');
  }
}

/** @throws Error for a file that names no process of its own. */
async function readPid(path: string): Promise<number> {
  await using file = await open(path, 'r');
  const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_PID_BYTES), 0, MAX_PID_BYTES, 0);
  const text = buffer.toString('latin1', 0, bytesRead).trim();
  const pid = Number(text);
  /** 0 and below would be groups of processes, 1 is the init of the container. */
  if (!Number.isInteger(pid) || pid < 1 || String(pid) !== text) {
    throw new Error(`${path} holds no process id`);
  }
  if (pid === process.pid) throw new Error(`${path} names the sidecar itself`);
  return pid;
}

function run(argv: readonly string[]): Promise<void> {
  const [command = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    /** Nothing of the sidecar's environment, and no output: it might hold the values. */
    const child = spawn(command, args, {
      stdio: 'ignore',
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
      timeout: COMMAND_MS,
      killSignal: 'SIGKILL',
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ended with ${signal ?? `status ${code}`}`));
    });
  });
}
