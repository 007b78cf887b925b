// Measures the data plane: scenarios mesh by mesh, pairs of proxies beside one another in the same rounds.
import {
  type BenchMesh,
  memoryOfAll,
  type OpenedMesh,
  openMesh,
  type PairMemory,
} from './dataplane-mesh.ts';
import { type Effort, measureScenario, type ScenarioResult } from './dataplane-rounds.ts';
import { Drivers } from './load/drivers.ts';
import type { PairName } from './peers/pairs.ts';
import type { Scenario } from './scenario.ts';
import type { Verified } from './verify-pair.ts';

export interface DataPlaneResult {
  readonly leftOut: readonly string[];
  readonly peers: readonly string[];
  readonly drivers: readonly string[];
  readonly verified: readonly Verified[];
  readonly rounds: number;
  readonly scenarios: readonly ScenarioResult[];
  readonly memory: readonly PairMemory[];
  /** What ended the run before its end; what had been measured by then is here. */
  readonly failure?: string;
}

export interface DataPlanePlan extends Effort {
  readonly scenarios: readonly Scenario[];
  /** Default: all. */
  readonly pairs?: readonly PairName[];
  /** Why connections to Pods are not redirected here, and why there is no Envoy. */
  readonly whyNoRedirect?: string;
  readonly whyNoEnvoy?: string;
}

/** What the process that measures says. */
export type DataPlaneWord =
  | { readonly kind: 'progress'; readonly what: string }
  | { readonly kind: 'result'; readonly result: DataPlaneResult };

interface Collected {
  readonly leftOut: Set<string>;
  readonly peers: Set<string>;
  readonly verified: Verified[];
  readonly scenarios: ScenarioResult[];
  readonly memory: PairMemory[];
}

export async function measureScenarios(
  plan: DataPlanePlan,
  progress: (what: string) => void,
): Promise<DataPlaneResult> {
  await using drivers = new Drivers();
  const collected: Collected = {
    leftOut: new Set(plan.whyNoEnvoy === undefined ? [] : [`Envoy: ${plan.whyNoEnvoy}`]),
    peers: new Set(),
    verified: [],
    scenarios: [],
    memory: [],
  };
  let failure: string | undefined;
  try {
    await measureMeshes({ plan, drivers, collected, progress });
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
    progress(`ends here: ${failure}`);
  }
  const { leftOut, peers, verified, scenarios, memory } = collected;
  return {
    leftOut: [...leftOut],
    peers: [...peers],
    drivers: drivers.abouts,
    verified,
    rounds: plan.rounds,
    scenarios,
    memory,
    ...(failure !== undefined && { failure }),
  };
}

interface Measuring {
  readonly plan: DataPlanePlan;
  readonly drivers: Drivers;
  readonly collected: Collected;
  readonly progress: (what: string) => void;
}

async function measureMeshes(how: Measuring): Promise<void> {
  const { plan, collected, progress } = how;
  const byMesh = Map.groupBy(plan.scenarios, ({ mesh }) => JSON.stringify(mesh));
  for (const scenarios of byMesh.values()) {
    const [first] = scenarios;
    if (first === undefined) continue;
    await using stack = new AsyncDisposableStack();
    progress(`mesh: ${first.mesh.name}`);
    const opened: OpenedMesh = await openMesh(stack, first.mesh, plan);
    if (!opened.ok) {
      for (const { name } of scenarios) collected.leftOut.add(`${name}: ${opened.reason}`);
      continue;
    }
    await measureMesh(opened.mesh, scenarios, how);
  }
}

async function measureMesh(
  mesh: BenchMesh,
  scenarios: readonly Scenario[],
  how: Measuring,
): Promise<void> {
  const { plan, drivers, collected, progress } = how;
  for (const reason of mesh.leftOut) collected.leftOut.add(reason);
  for (const peer of mesh.peers) collected.peers.add(peer);
  collected.verified.push(...mesh.verified);
  collected.memory.push(...memoryOfAll(mesh, 'idle'));
  for (const scenario of scenarios) {
    const found = await drivers.first(scenario.drivers);
    if (!found.ok) {
      collected.leftOut.add(`${scenario.name}: ${found.reasons.join('; ')}`);
      continue;
    }
    progress(`${scenario.name}, by ${found.name}`);
    const { pairs, identities, headers } = mesh;
    const { driver, name: driverName } = found;
    collected.scenarios.push(
      await measureScenario({
        scenario,
        pairs,
        driver,
        driverName,
        identities,
        ...(headers !== undefined && { headers }),
        effort: plan,
      }),
    );
  }
  collected.memory.push(...memoryOfAll(mesh, 'after load'));
}
