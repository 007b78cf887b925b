// Fetches what the data plane's peers need, then measures in a network namespace of its own, or here where that cannot be had.
import { join } from 'node:path';
import { runRedirected, whyNoRedirect } from '../support/redirected-process.ts';
import {
  type DataPlanePlan,
  type DataPlaneResult,
  type DataPlaneWord,
  measureScenarios,
} from './dataplane.ts';
import { DRIVER_KINDS } from './load/drivers.ts';
import { findEnvoy } from './peers/envoy-binary.ts';
import { installPackages } from './peers/packages.ts';

const RUN = join(import.meta.dirname, 'dataplane-run.ts');

export type WantedPlan = Omit<DataPlanePlan, 'whyNoRedirect'>;

export async function measureDataPlane(
  wanted: WantedPlan,
  progress: (what: string) => void,
): Promise<DataPlaneResult> {
  // In the namespace there is no network to fetch it from.
  const envoy = await findEnvoy();
  const names = new Set(wanted.scenarios.flatMap(({ drivers }) => drivers));
  const isHaproxyWanted = wanted.pairs?.includes('haproxy') ?? true;
  const commands = [
    ...(isHaproxyWanted ? ['haproxy'] : []),
    ...(names.has('h2load') ? ['h2load', 'nghttpd'] : []),
  ];
  await installPackages(commands, progress);
  for (const kind of DRIVER_KINDS) if (names.has(kind.name)) await kind.prepare?.();
  const why = await whyNoRedirect();
  const plan: DataPlanePlan = {
    ...wanted,
    ...(why !== undefined && { whyNoRedirect: why }),
    ...(!envoy.ok && { whyNoEnvoy: envoy.reason }),
  };
  if (why !== undefined) return measureScenarios(plan, progress);
  for await (const line of runRedirected(RUN, [JSON.stringify(plan)])) {
    const word: unknown = JSON.parse(line);
    if (!isWord(word)) throw new TypeError(`Cannot go on: a process said ${line}`);
    if (word.kind === 'result') return word.result;
    progress(word.what);
  }
  throw new Error('Cannot measure the data plane: its process ended without a result');
}

const isWord = (value: unknown): value is DataPlaneWord =>
  typeof value === 'object' &&
  value !== null &&
  'kind' in value &&
  (value.kind === 'progress' || value.kind === 'result');
