// Installs the distribution's packages that peers and load come from, where root may and apt-get is there; what is missing then names itself.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Package by the command that it brings. */
const PACKAGE_BY_COMMAND: ReadonlyMap<string, string> = new Map([
  ['docker-registry', 'docker-registry'],
  ['haproxy', 'haproxy'],
  ['h2load', 'nghttp2-client'],
  ['nghttpd', 'nghttp2-server'],
]);
const INSTALL_MS = 300_000;
/** Another process may be installing as well. */
const WAITING = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=1'];
/** Where Debian puts servers, which users' own paths may lack. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin`;
/** A service that comes with a package is not to be started: we run programs ourselves. */
const ENV = { ...process.env, PATH, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };

/** @returns its path, or `undefined` where it is not installed. */
export async function findCommand(name: string): Promise<string | undefined> {
  try {
    return (await run('sh', ['-c', 'command -v "$1"', 'sh', name], { env: ENV })).stdout.trim();
  } catch {
    return undefined;
  }
}

/** What to say of a command that is not there. */
export const whyMissing = (command: string): string =>
  `there is no ${command} (package ${PACKAGE_BY_COMMAND.get(command) ?? command} of Debian or Ubuntu; root gets it by itself)`;

/** Failing is no error: whoever needs a command says that it is missing. */
export async function installPackages(
  commands: readonly string[],
  progress: (what: string) => void,
): Promise<void> {
  const missing: string[] = [];
  for (const command of commands) {
    const name = PACKAGE_BY_COMMAND.get(command);
    if (name !== undefined && (await findCommand(command)) === undefined) missing.push(name);
  }
  if (missing.length === 0 || process.getuid?.() !== 0) return;
  if ((await findCommand('apt-get')) === undefined) return;
  progress(`installing ${missing.join(', ')}`);
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  try {
    await run('apt-get', [...WAITING, 'update'], { env: ENV, timeout: INSTALL_MS });
    await run('apt-get', [...WAITING, ...install], { env: ENV, timeout: INSTALL_MS });
  } catch (error) {
    const why = error instanceof Error ? error.message.trim() : String(error);
    progress(`packages cannot be installed: ${why.slice(0, 500)}`);
  }
}
