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

/** `weft` as words of a shell, for all its commands. */
export const weftWords = (): string =>
  weftCommand([])
    .map((word) => `'${word}'`)
    .join(' ');

/** A `weft` for the PATH of a shell. */
export const weftScript = (): string => `#!/bin/sh\nexec ${weftWords()} "$@"\n`;

/** `sidecar` and `control-plane`, as they are in the images, and beside each a list of what it is made of. */
export interface Bundles extends AsyncDisposable {
  readonly folder: string;
}

/** Those of the whole run; where there are none, some of its own, which go when it is disposed of. */
export async function openBundles(): Promise<Bundles> {
  await using owned = new AsyncDisposableStack();
  let folder = process.env[BUNDLES];
  if (folder === undefined) {
    const own = await mkdtemp(join(tmpdir(), 'weft-bundles-'));
    owned.defer(() => rm(own, { recursive: true, force: true }));
    await promisify(execFile)(process.execPath, [BUILD, '--out', own, '--without-maps']);
    // Sidecars of some tests run as another user.
    await chmod(own, 0o755);
    folder = own;
  }
  const kept = owned.move();
  return { folder, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
