// Runs a program in a network namespace of its own where connections to Pods are redirected to a proxy, as on a node of a cluster.
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Every address of Pods in there. */
const POD_NETWORK = '127.88.0.0/16';
/** Where the listener `inbound` takes what was redirected. */
const INBOUND_PORT = 15_006;

/** Only root may do this at once; others in a user namespace of their own, where the system lets them. */
const ENTER = process.getuid?.() === 0 ? ['-n'] : ['-rn'];
const SETUP = [
  'ip link set lo up',
  `iptables -t nat -A OUTPUT -p tcp -d ${POD_NETWORK} -j REDIRECT --to-ports ${INBOUND_PORT}`,
].join(' && ');

/** `undefined`, or why it cannot be done here. */
export async function whyNoRedirect(): Promise<string | undefined> {
  try {
    await run('unshare', [...ENTER, 'sh', '-c', SETUP]);
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    return `connections cannot be redirected here (${why}): it needs unshare, ip and iptables, and root or user namespaces`;
  }
}

/** @returns what it prints, line by line. @throws with its last words when it fails. */
export async function* runRedirected(
  script: string,
  args: readonly string[],
): AsyncGenerator<string, void> {
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', script, ...args];
  const child = spawn(
    'unshare',
    [...ENTER, '--kill-child', '--fork', 'sh', '-c', `${SETUP} && exec "$@"`, 'sh', ...command],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4_000);
  });
  try {
    yield* createInterface({ input: child.stdout });
    const status = await ended;
    if (status !== 0) throw new Error(`Cannot run ${script}: status ${status}\n${errors}`);
  } finally {
    child.kill('SIGTERM');
  }
}
