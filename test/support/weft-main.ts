// Which `weft` tests run: what is in the images, where that was built for the whole run, and the sources where a file of tests runs by itself.
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SOURCES = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const BUILD = fileURLToPath(new URL('../../bin/build.mjs', import.meta.url));
/** Names the folder of the bundles; what a test starts inherits it. */
export const BUNDLES = 'WEFT_TEST_BUNDLES';

/** They read the chart, or applications of the demo. */
const OF_CHECKOUTS: ReadonlySet<string> = new Set(['demo', 'install', 'upgrade']);

/**
 * The file that Node runs for a command of `weft`: a sidecar is that of the sidecar's image, all else the control
 * plane's, but for what needs a checkout.
 */
export function weftMain(command?: string): string {
  const bundles = process.env[BUNDLES];
  if (bundles === undefined || OF_CHECKOUTS.has(command ?? '')) return SOURCES;
  return join(bundles, command === 'sidecar' ? 'sidecar' : 'control-plane', 'weft.mjs');
}

/** For the tests of one file that do to its sources what cannot be done to a bundle. */
export function runSources(): void {
  delete process.env[BUNDLES];
}

/** `node … weft` with these arguments. */
export const weftCommand = (args: readonly string[]): readonly string[] => [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  weftMain(args[0]),
  ...args,
];

/** A `weft` for the PATH of a shell: a script of all its commands. */
export const weftScript = (): string =>
  `#!/bin/sh\nexec ${weftCommand([])
    .map((word) => `'${word}'`)
    .join(' ')} "$@"\n`;

/** `sidecar` and `control-plane`, as they are in the images, and beside each a list of what it is made of. */
export interface Bundles extends AsyncDisposable {
  readonly folder: string;
}

/** Those of the whole run; where there are none, some of its own, which go when it is disposed of. */
export async function openBundles(): Promise<Bundles> {
  const shared = process.env[BUNDLES];
  const folder = shared ?? (await mkdtemp(join(tmpdir(), 'weft-bundles-')));
  const remove = async (): Promise<void> => {
    if (shared === undefined) await rm(folder, { recursive: true, force: true });
  };
  const bundles = { folder, [Symbol.asyncDispose]: remove };
  if (shared !== undefined) return bundles;
  try {
    await promisify(execFile)(process.execPath, [BUILD, '--out', folder, '--without-maps']);
    // Sidecars of some tests run as another user.
    await chmod(folder, 0o755);
  } catch (error) {
    await remove();
    throw error;
  }
  return bundles;
}
