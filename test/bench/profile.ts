// Records where the CPU of a sidecar pair goes under load, and says the places that cost most.
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isPlainObject } from '@weft/model/policy/reader';
import { modeYaml, NAMESPACE } from '../support/lab-manifests.ts';
import { openLab } from '../support/lab.ts';
import { eventually } from '../support/lab-wait.ts';
import { jobOf } from './dataplane-rounds.ts';
import { type Identities, issueIdentities } from './identities.ts';
import { startAppNamed } from './load/apps.ts';
import { Drivers } from './load/drivers.ts';
import { issueTokens, policyFilesOf } from './mesh-policies.ts';
import { startWeftPair, type WeftPair } from './peers/pairs.ts';
import { CALLED, CALLER } from './policies.ts';
import { FOLDER_VARIABLE, profileName } from './profile-preload.ts';
import type { MeshSpec, Scenario } from './scenario.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PRELOAD = new URL('profile-preload.ts', import.meta.url).href;
const TOP = 30;
/** Code is compiled and pools are filled by then: neither is in the profile. */
const WARM_UP_MS = 3_000;
const WRITTEN_MS = 20_000;

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
  readonly scenario: Scenario;
  readonly durationMs: number;
  readonly folder: string | undefined;
}): Promise<ProfileResult> {
  await using stack = new AsyncDisposableStack();
  const { scenario, durationMs } = options;
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'weft-profile-')));
  if (options.folder === undefined) stack.defer(() => rm(folder, { recursive: true, force: true }));
  const env = { NODE_OPTIONS: `--import=${PRELOAD}`, [FOLDER_VARIABLE]: folder };
  const { pair, identities, headers } = await startPair(stack, scenario.mesh, env);
  const found = await stack.use(new Drivers()).first(scenario.drivers);
  if (!found.ok) throw new Error(`Cannot profile: ${found.reasons.join('; ')}`);
  const setting = { scenario, identities, ...(headers !== undefined && { headers }) };
  const pids = pair.sidecars.map(({ daemon }) => daemon.pid);
  const signal = (): void => pids.forEach((pid) => process.kill(pid, 'SIGUSR2'));
  await found.driver.run(jobOf(setting, pair, WARM_UP_MS));
  signal();
  const result = await found.driver.run(jobOf(setting, pair, durationMs));
  signal();
  const { requests, failures, firstFailure } = result;
  if (failures > 0) throw new Error(`Cannot profile: ${failures} failed, ${firstFailure ?? ''}`);
  const unit = scenario.unit ?? 'request';
  process.stderr.write(`… ${scenario.name}: ${requests} of a ${unit} in ${durationMs} ms\n`);
  const profiles: ProfileResult['profiles'][number][] = [];
  for (const { daemon } of pair.sidecars) {
    const file = join(folder, profileName(daemon.pid));
    await eventually(() => existsSync(file), {
      what: `the profile of ${daemon.name}`,
      withinMs: WRITTEN_MS,
    });
    const text = await readFile(file, 'utf8');
    profiles.push({ proxy: daemon.name, ...costsOf(JSON.parse(text)) });
  }
  return { profiles };
}

async function startPair(
  stack: AsyncDisposableStack,
  mesh: MeshSpec,
  env: Readonly<Record<string, string>>,
): Promise<{
  readonly pair: WeftPair;
  readonly identities: Identities;
  readonly headers: Readonly<Record<string, string>> | undefined;
}> {
  const started = await startAppNamed(mesh.app);
  if (!started.ok) throw new Error(`Cannot profile: ${started.reason}`);
  const { address: appAddress } = stack.use(started.app);
  const lab = stack.use(await openLab());
  const accounts = [CALLER, CALLED];
  const identities = await issueIdentities({ stateDir: lab.state, namespace: NAMESPACE, accounts });
  const tokens = issueTokens();
  await lab.write('mode.yaml', modeYaml('STRICT'));
  for (const [at, documents] of policyFilesOf(mesh, CALLED, tokens).entries()) {
    await lab.write(`policies-${at}.yaml`, ...documents);
  }
  await lab.startControlPlane();
  const pair = await startWeftPair({ lab, appAddress, portName: mesh.port, env });
  const isToken = mesh.isJwtRequired === true;
  const headers = isToken ? { authorization: `Bearer ${tokens.valid}` } : undefined;
  return { pair, identities, headers };
}

const IDLE = '(idle)';
/** Of the profiler itself. */
const PROFILER = 'post node:inspector';

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
  for (const place of usByPlace.keys()) if (place.startsWith(PROFILER)) usByPlace.delete(place);
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
