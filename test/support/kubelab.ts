// A real Kubernetes API for one test file: etcd, API server and controller manager, started, stopped, killed and started again.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from '@weft/kube/connect';
import { createKubeClient } from '@weft/kube/https-client';
import type { KubeClient } from '@weft/kube/kube-api';
import { kubelabPath } from './go-tools.ts';
import { within } from './lab-wait.ts';

export { kubelabMissing } from './go-tools.ts';

/** 3 s on an idle machine; two cores that also run other tests need more. */
const READY_MS = 60_000;
const END_MS = 20_000;

export interface KubelabOptions {
  /** For data, keys and kubeconfig; used again when it was used before, and kept. Default: a new one, removed at the end. */
  readonly dir?: string;
  /** Names of controllers with commas, or `none`. */
  readonly controllers?: string;
  readonly serviceCidr?: string;
  readonly apiserverArgs?: readonly string[];
}

export interface KubectlInput {
  /** Standard input. */
  readonly input?: string;
  /** Default: the administrator's. */
  readonly kubeconfig?: string;
}

export interface KubectlEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Kubelab extends AsyncDisposable {
  readonly dir: string;
  /** Path of the administrator's kubeconfig; the same after a restart. */
  readonly kubeconfig: string;
  /** `https://127.0.0.1:PORT`; the same after a restart. */
  readonly server: string;
  /** The administrator's; lives across restarts. */
  readonly client: KubeClient;
  kubectl(args: readonly string[], options?: KubectlInput): Promise<KubectlEnd>;
  /** In order: SIGTERM. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts again on the same data, after `stop`, `kill` or neither. */
  restart(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

function startProcess(dir: string, options: KubelabOptions): Promise<ChildProcess> {
  const args = ['up', '--dir', dir, '--stdin'];
  if (options.controllers !== undefined) args.push('--controllers', options.controllers);
  if (options.serviceCidr !== undefined) args.push('--service-cidr', options.serviceCidr);
  if (options.apiserverArgs !== undefined) {
    args.push('--apiserver-args', options.apiserverArgs.join(' '));
  }
  const child = spawn(kubelabPath(), args, { stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  child.on('close', () => running.delete(child));
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', () => resolve(child));
    child.once('error', reject);
    child.once('close', (code) =>
      reject(new Error(`Cannot start kubelab: it ended with ${code}: ${said.join('\n')}`)),
    );
  });
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill(signal);
  await within(closed, END_MS, `the end of kubelab by ${signal}`);
}

function kubectl(
  args: readonly string[],
  kubeconfig: string,
  input: string | undefined,
): Promise<KubectlEnd> {
  const child = spawn('kubectl', ['--kubeconfig', kubeconfig, ...args]);
  const told = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (told.stderr += text));
  child.stdin.on('error', () => {}).end(input ?? '');
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? -1, ...told }));
  });
}

/** @throws Error when it is not ready in time; ask `kubelabMissing()` first. */
export async function startKubelab(options: KubelabOptions = {}): Promise<Kubelab> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'weft-kubelab-'));
  const kubeconfig = join(dir, 'kubeconfig');
  const start = (): Promise<ChildProcess> =>
    within(startProcess(dir, options), READY_MS, 'a ready kubelab');
  let child = await start();
  const connection = connect({ kubeconfig });
  const client = createKubeClient(connection);
  return {
    dir,
    kubeconfig,
    server: connection.server,
    client,
    kubectl: (args, { input, kubeconfig: other = kubeconfig } = {}) => kubectl(args, other, input),
    stop: () => end(child, 'SIGTERM'),
    kill: () => end(child, 'SIGKILL'),
    async restart() {
      await end(child, 'SIGKILL');
      child = await start();
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      connection[Symbol.dispose]();
      await end(child, 'SIGKILL');
      if (options.dir === undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
}
