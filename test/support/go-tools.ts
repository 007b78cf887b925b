// Finds and builds the programs of Kubernetes that tests need: named by KUBEBUILDER_ASSETS, or built with Go once and kept in the user's cache.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('../kubelab', import.meta.url));
const BINARY = 'kubelab';
const CLUSTER_PROGRAMS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl'] as const;

export type Program = (typeof CLUSTER_PROGRAMS)[number] | 'helm';
const PROGRAMS: readonly Program[] = [...CLUSTER_PROGRAMS, 'helm'];

/** A builder says that it lives every 5 s; after a minute without, another takes its place. */
const LOCK_BEAT_MS = 5_000;
/** How often who waits for another looks whether that one is done. */
const LOCK_LOOK_MS = 100;
const LOCK_STALE_MS = 60_000;
/** Builds of other versions of the sources, 140 MB each, are kept for a month. */
const KEEP_MS = 30 * 24 * 3_600_000;

/** Of names and contents of the sources, and the machine. */
function sourceHash(): string {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}\0`);
  const isSource = (name: string): boolean => /\.(?:go|mod|sum)$/.test(name);
  for (const name of readdirSync(SOURCES).filter(isSource).toSorted()) {
    hash.update(`${name}\0`).update(readFileSync(join(SOURCES, name)));
  }
  return hash.digest('hex').slice(0, 24);
}

const cacheFolder = (): string =>
  join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'weft', 'kubelab');

/** Where the programs of these very sources lie, built or not. */
const builtFolder = (): string => join(cacheFolder(), sourceHash());

const onPath = (name: string): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(existsSync);

/** @returns its path, or `undefined` when it is neither in KUBEBUILDER_ASSETS nor built. */
export function programPath(program: Program): string | undefined {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const folders = assets === undefined ? [builtFolder()] : [assets, builtFolder()];
  return folders.map((folder) => join(folder, program)).find(existsSync);
}

function howToGet(programs: readonly string[]): string {
  const what = `no ${programs.join(', ')}`;
  if (onPath('go') !== undefined) {
    return `${what}: "npm run test:kubernetes" builds them with Go, once, in some minutes`;
  }
  return `${what}: install Go (go.dev/dl) and run "npm test", or set KUBEBUILDER_ASSETS to a folder that holds them`;
}

/** @returns why there is no Kubernetes API for tests and how to get one, or `undefined` when there is one. */
export function kubelabMissing(): string | undefined {
  const missing = CLUSTER_PROGRAMS.filter((program) => programPath(program) === undefined);
  return missing.length === 0 ? undefined : howToGet(missing);
}

/** Helm as built, else the one that is installed: `path`, or why there is none. */
export function helmBinary(): { readonly path: string } | { readonly missing: string } {
  const path = programPath('helm') ?? onPath('helm');
  return path === undefined ? { missing: howToGet(['helm']) } : { path };
}

/** What the programs say their versions are, as their own releases are built. */
function linkerFlags(): string {
  const modules = readFileSync(join(SOURCES, 'go.mod'), 'utf8').split(/\s+/);
  const versionOf = (module: string): string => modules[modules.indexOf(module) + 1] ?? '';
  const kubernetes = versionOf('k8s.io/kubernetes');
  const [major = '', minor = ''] = kubernetes.slice(1).split('.');
  const values = {
    gitVersion: kubernetes,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: 'clean',
  };
  const stamped = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap(
    (name) => Object.entries(values).map(([key, value]) => `-X ${name}.${key}=${value}`),
  );
  const helm = `-X helm.sh/helm/v4/internal/version.version=${versionOf('helm.sh/helm/v4')}`;
  return ['-s -w', ...stamped, helm].join(' ');
}

/** @throws Error when Go says no; what it says goes to standard error as it comes. */
async function compile(out: string): Promise<void> {
  const flags = ['-trimpath', '-buildvcs=false', '-ldflags', linkerFlags(), '-o', out];
  // No debugger is ever put to it: a tenth of the compiler's time.
  const child = spawn('go', ['build', '-gcflags=all=-dwarf=false', ...flags, '.'], {
    cwd: SOURCES,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  if (code !== 0) throw new Error(`Cannot build test/kubelab: "go build" ended with ${code}`);
}

const ageMs = (path: string): number =>
  Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);

/** @returns whether it is taken now; one that nobody keeps alive is removed, for the next try. */
function takeLock(lock: string): boolean {
  mkdirSync(dirname(lock), { recursive: true });
  try {
    mkdirSync(lock);
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  if (ageMs(lock) > LOCK_STALE_MS) rmSync(lock, { recursive: true, force: true });
  return false;
}

/** In a folder of its own, which appears under its name when it is whole. */
async function buildInto(folder: string): Promise<void> {
  const made = `${folder}.${process.pid}`;
  mkdirSync(made, { recursive: true });
  try {
    await compile(join(made, BINARY));
    for (const name of PROGRAMS) symlinkSync(BINARY, join(made, name));
    // Two that found a stale lock at once may both have built it: the same, so the first stays.
    if (!existsSync(folder)) renameSync(made, folder);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

function removeOld(current: string): void {
  for (const name of readdirSync(dirname(current))) {
    const folder = join(dirname(current), name);
    if (folder !== current && ageMs(folder) > KEEP_MS) rmSync(folder, { recursive: true });
  }
}

/**
 * Builds what `kubelabMissing` misses, if Go is there; of several processes one builds, the others wait for it.
 * @param say told in one line what is being done, when it takes minutes
 * @throws Error when the build fails
 */
export async function buildKubelab(say: (line: string) => void): Promise<void> {
  if (kubelabMissing() === undefined || onPath('go') === undefined) return;
  const folder = builtFolder();
  const lock = `${folder}.lock`;
  say(
    `Building etcd, kube-apiserver, kubectl and helm for the tests with Go: about five minutes, once; kept in ${cacheFolder()}`,
  );
  while (!takeLock(lock)) {
    await delay(LOCK_LOOK_MS);
    if (existsSync(folder)) return;
  }
  const beat = setInterval(() => {
    if (existsSync(lock)) utimesSync(lock, new Date(), new Date());
  }, LOCK_BEAT_MS);
  try {
    if (!existsSync(folder)) await buildInto(folder);
    removeOld(folder);
  } finally {
    clearInterval(beat);
    rmSync(lock, { recursive: true, force: true });
  }
}
