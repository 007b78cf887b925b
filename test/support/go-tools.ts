// Finds the programs that tests need and that are built with Go: kept in the user's cache under a hash of their sources.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KUBELAB = fileURLToPath(new URL('../kubelab', import.meta.url));

/** Of names and contents of the files of one folder; not of its subfolders. */
function hashOf(folder: string): string {
  const hash = createHash('sha256');
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  for (const name of files.map((entry) => entry.name).toSorted()) {
    hash.update(`${name}\0`).update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex').slice(0, 24);
}

const cacheRoot = (): string =>
  join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'weft');

/** Where the binary of `test/kubelab` lies, built or not. */
export const kubelabPath = (): string => join(cacheRoot(), 'kubelab', hashOf(KUBELAB), 'kubelab');

/** @returns why there is no Kubernetes API for tests, or `undefined` when there is one. */
export function kubelabMissing(): string | undefined {
  if (existsSync(kubelabPath())) return undefined;
  return 'no Kubernetes API for tests: install Go 1.26 or newer and run "npm test"';
}
