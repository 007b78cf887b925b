// Records where the CPU of a sidecar pair goes under load, and says the places that cost most.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isPlainObject } from '@weft/model/policy/reader';
import { openLab } from '../support/lab.ts';
import { startApp, startLoadGenerator } from './load/processes.ts';
import { startWeftPair } from './peers/pairs.ts';
import { policyManifests } from './policies.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TOP = 30;

interface Cost {
  readonly place: string;
  readonly share: number;
}

export interface ProfileResult {
  readonly profiles: readonly {
    readonly proxy: string;
    readonly busyShare: number;
    readonly top: readonly Cost[];
  }[];
}

/** @param options.folder keeps the .cpuprofile files when given. */
export async function profilePair(options: {
  readonly path: string;
  readonly connections: number;
  readonly durationMs: number;
  readonly folder: string | undefined;
}): Promise<ProfileResult> {
  await using stack = new AsyncDisposableStack();
  const { path, connections, durationMs } = options;
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'weft-profile-')));
  if (options.folder === undefined) stack.defer(() => rm(folder, { recursive: true, force: true }));
  const lab = stack.use(await openLab());
  await lab.write('policies.yaml', ...policyManifests());
  await lab.startControlPlane();
  const { address: appAddress } = stack.use(await startApp());
  const generator = stack.use(await startLoadGenerator());
  const env = { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}` };
  const pair = await startWeftPair({ lab, appAddress, env });
  const job = { ...pair.front, path, connections, durationMs, maxRequests: 1_000_000 };
  const { requests, failures, firstFailure } = await generator.run(job);
  if (failures > 0) throw new Error(`Cannot profile: ${failures} failed, ${firstFailure ?? ''}`);
  process.stderr.write(`… ${requests} requests in ${durationMs} ms\n`);
  for (const { daemon } of pair.sidecars) await daemon.stop();
  const files = await readdir(folder);
  const profiles: ProfileResult['profiles'][number][] = [];
  for (const { daemon } of pair.sidecars) {
    const file = files.find((name) => name.includes(`.${daemon.pid}.`));
    if (file === undefined) throw new Error(`Cannot find the profile of ${daemon.name}`);
    const text = await readFile(join(folder, file), 'utf8');
    profiles.push({ proxy: daemon.name, ...costsOf(JSON.parse(text)) });
  }
  return { profiles };
}

const IDLE = '(idle)';

/** Self time by place, of the time that was not idle. */
function costsOf(profile: unknown): { readonly busyShare: number; readonly top: readonly Cost[] } {
  if (!isPlainObject(profile)) throw new TypeError('Cannot read a profile: no object');
  const { nodes, samples, timeDeltas } = profile;
  if (!Array.isArray(nodes) || !Array.isArray(samples) || !Array.isArray(timeDeltas)) {
    throw new TypeError('Cannot read a profile: no samples');
  }
  const placeById = new Map<unknown, string>();
  for (const node of nodes) {
    if (isPlainObject(node)) placeById.set(node['id'], placeOf(node['callFrame']));
  }
  const usByPlace = new Map<string, number>();
  for (const [at, id] of samples.entries()) {
    const place = placeById.get(id) ?? '(unknown)';
    usByPlace.set(place, (usByPlace.get(place) ?? 0) + Number(timeDeltas[at]));
  }
  const all = [...usByPlace.values()].reduce((sum, us) => sum + us, 0);
  const busy = all - (usByPlace.get(IDLE) ?? 0);
  usByPlace.delete(IDLE);
  const top = [...usByPlace]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, TOP)
    .map(([place, us]) => ({ place, share: us / busy }));
  return { busyShare: busy / all, top };
}

function placeOf(frame: unknown): string {
  if (!isPlainObject(frame)) return '(unknown)';
  const { functionName, url, lineNumber } = frame;
  const name = functionName === '' ? '(anonymous)' : String(functionName);
  if (typeof url !== 'string' || url === '') return name;
  const file = url.startsWith('file:') ? relative(ROOT, fileURLToPath(url)) : url;
  return `${name} ${file}:${Number(lineNumber) + 1}`;
}
