// Builds a Go program of the benchmark once for its sources, and keeps it in the user's cache.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export type BuiltProgram =
  | { readonly path: string }
  /** Why there is none. */
  | { readonly missing: string };

/** Everything that goes into a program: `go.mod`, `go.sum` and `.go` files. */
const isSource = (name: string): boolean => /^go\.(?:mod|sum)$|\.go$/.test(name);

function builtPath(name: string, sources: string): string {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}\0`);
  for (const file of readdirSync(sources).filter(isSource).toSorted()) {
    hash.update(`${file}\0`).update(readFileSync(join(sources, file)));
  }
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(cache, 'weft', 'bench', `${name}-${hash.digest('hex').slice(0, 24)}`);
}

/** Of two that build at once, the later one's file stays; they are the same. @param options.sources a folder with one module */
export async function buildGoProgram(options: {
  readonly name: string;
  readonly sources: string;
  readonly progress: (what: string) => void;
}): Promise<BuiltProgram> {
  const { name, sources, progress } = options;
  const path = builtPath(name, sources);
  if (existsSync(path)) return { path };
  progress(`building ${name} with Go, once`);
  mkdirSync(join(path, '..'), { recursive: true });
  const made = `${path}.${process.pid}`;
  try {
    await promisify(execFile)('go', ['build', '-trimpath', '-buildvcs=false', '-o', made, '.'], {
      cwd: sources,
      env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
    });
    renameSync(made, path);
    return { path };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { missing: `${name}: it cannot be built with Go: ${why.trim()}` };
  } finally {
    rmSync(made, { force: true });
  }
}

/** Of a module in a program's `go.mod`; empty when it is not there. */
export function goModuleVersion(sources: string, module: string): string {
  const words = readFileSync(join(sources, 'go.mod'), 'utf8').split(/\s+/);
  return words[words.indexOf(module) + 1] ?? '';
}
