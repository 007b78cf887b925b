// Holds the parts of a benchmark by name: how each is measured, and how its JSON is said as text.
import { measureCa } from './ca.ts';
import { caText } from './ca-text.ts';
import { measureControlPlane } from './controlplane.ts';
import { type SettingFlags, settingsOf } from './controlplane/settings.ts';
import { controlPlaneText } from './controlplane-text.ts';
import { measureDecisions } from './decisions.ts';
import { measureDataPlane } from './dataplane-process.ts';
import { chosenOf } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { floorText, measureFloor } from './floor.ts';
import { measureKubernetes } from './kubernetes.ts';
import { measureMemory } from './memory.ts';
import { layersText, measureMemoryLayers } from './memory-layers.ts';
import { memoryPartText } from './memory-text.ts';
import type { PairName } from './peers/pairs.ts';
import { measurePropagation } from './propagation.ts';
import { profilePair } from './profile.ts';
import {
  dataPlaneText,
  decisionsText,
  kubernetesText,
  profileText,
  propagationText,
  rulesText,
  startText,
} from './report.ts';
import { measureRegistry, registryText } from './registry.ts';
import { measureRules } from './rules.ts';
import { measureStart } from './start.ts';

const ROUND_MS = 1_200;
const QUICK_ROUND_MS = 800;
const STARTS = 10;
const EDITS = 20;
const FLEET_SIZES = [100, 1_000];
const CLUSTER_SIZES = [100, 1_000, 5_000];
const CLUSTER_EDITS = 5;
const CLUSTERS = [
  { pods: 1_000, services: 100 },
  { pods: 10_000, services: 1_000 },
];
const PROFILE_MS = 8_000;
const PROFILED = ['100 B, 32 connections'];
const MASS_START = 1_000;
const MEMORY = { many: 10, starts: 3 };
/** With --large the next step as well. */
const MEMORY_STEPS = { connections: [1_000, 10_000], meshes: [10, 1_000, 10_000] };

const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);

/** One thing that is measured. */
export interface Part {
  readonly name: string;
  /** Whether it must be named to be run. */
  readonly isExtra: boolean;
  /** Gives what goes into the JSON. */
  readonly measure: (flags: Flags) => Promise<unknown>;
  /** Of what `measure` gave, as JSON. */
  readonly textOf: (json: string) => string;
}

export interface Flags {
  readonly rounds: number;
  /** Of the data plane: parts of scenarios' names. */
  readonly only: readonly string[];
  readonly isQuick: boolean;
  readonly pairs: readonly PairName[];
  readonly keep: string | undefined;
  readonly isLarge: boolean;
  readonly soakMinutes: number;
  /** Of the control plane, as they were written. */
  readonly setting: SettingFlags;
}

/** Five digits are more than any of it is worth. */
const PRECISION = 5;

/** What goes into a run's JSON. Maps have none of their own. */
export function forJson(_key: string, value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value);
  const isLong = typeof value === 'number' && Number.isFinite(value) && !Number.isInteger(value);
  return isLong ? Number(value.toPrecision(PRECISION)) : value;
}

const part = <T>(of: {
  readonly name: string;
  readonly isExtra?: boolean;
  readonly measure: (flags: Flags) => Promise<T>;
  readonly text: (result: T) => string;
}): Part => ({
  name: of.name,
  isExtra: of.isExtra === true,
  measure: of.measure,
  textOf(json) {
    const result: T = JSON.parse(json);
    return of.text(result);
  },
});

export const PARTS: readonly Part[] = [
  part({
    name: 'dataplane',
    measure: async ({ rounds, only, isQuick, pairs }) => {
      const scenarios = chosenOf(SCENARIOS, { only, isQuick });
      const plan = { rounds, roundMs: isQuick ? QUICK_ROUND_MS : ROUND_MS, scenarios, pairs };
      const result = await measureDataPlane(plan, progress);
      if (result.failure !== undefined) process.exitCode = 1;
      return result;
    },
    text: dataPlaneText,
  }),
  part({
    name: 'start',
    measure: () => measureStart(STARTS, progress),
    text: startText,
  }),
  part({
    name: 'policy',
    measure: () => measurePropagation({ sizes: FLEET_SIZES, edits: EDITS }, progress),
    text: propagationText,
  }),
  part({
    name: 'decisions',
    measure: async () => {
      progress('decisions');
      return measureDecisions();
    },
    text: decisionsText,
  }),
  part({
    name: 'rules',
    measure: ({ rounds }) => measureRules({ rounds, roundMs: ROUND_MS }, progress),
    text: rulesText,
  }),
  part({
    name: 'kubernetes',
    isExtra: true,
    measure: async () => {
      const plan = { sizes: CLUSTER_SIZES, edits: CLUSTER_EDITS, starts: STARTS };
      return measureKubernetes(plan, progress);
    },
    text: kubernetesText,
  }),
  part({
    name: 'controlplane',
    isExtra: true,
    measure: async ({ rounds, isLarge, setting }) => {
      const settings = settingsOf({ isLarge, ...setting });
      return measureControlPlane({ rounds, settings }, progress);
    },
    text: controlPlaneText,
  }),
  part({
    name: 'registry',
    measure: () => measureRegistry(CLUSTERS, progress),
    text: registryText,
  }),
  part({
    name: 'ca',
    measure: ({ rounds }) =>
      measureCa({ rounds, roundMs: ROUND_MS, sidecars: MASS_START }, progress),
    text: caText,
  }),
  part({
    name: 'memory',
    isExtra: true,
    measure: async ({ isLarge, soakMinutes }) => {
      const connections = MEMORY_STEPS.connections.slice(0, isLarge ? undefined : -1);
      const meshes = MEMORY_STEPS.meshes.slice(0, isLarge ? undefined : -1);
      const plan = { ...MEMORY, connections, meshes, soakMinutes };
      return measureMemory(plan, progress);
    },
    text: memoryPartText,
  }),
  part({
    name: 'layers',
    isExtra: true,
    measure: ({ rounds }) => measureMemoryLayers(rounds, progress),
    text: layersText,
  }),
  part({
    name: 'floor',
    isExtra: true,
    measure: ({ rounds }) => measureFloor({ rounds, roundMs: ROUND_MS }, progress),
    text: floorText,
  }),
  part({
    name: 'profile',
    isExtra: true,
    measure: async ({ keep: folder, only }) => {
      const how = { only: only.length === 0 ? PROFILED : only, isQuick: false };
      const [scenario] = chosenOf(SCENARIOS, how);
      if (scenario === undefined) throw new Error('Cannot profile: no such scenario');
      return profilePair({ scenario, durationMs: PROFILE_MS, folder });
    },
    text: profileText,
  }),
];
