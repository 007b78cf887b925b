// Draws docs/performance.md of kept runs: the budgets with what was measured of each, and every table.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { BUDGETS } from './budgets.ts';
import { dataPlaneTables, markdownTable } from './performance-tables.ts';
import { objectAt, textAt } from './run-json.ts';

export interface PartText {
  readonly name: string;
  /** Of the part's JSON. */
  readonly textOf: (json: string) => string;
}

interface Chosen {
  readonly machine: PlainObject;
  readonly value: unknown;
}

/** The newest run of each part. */
function newestOf(runs: readonly PlainObject[]): ReadonlyMap<string, Chosen> {
  const byPart = new Map<string, Chosen>();
  const dateOf = (run: PlainObject): string => textAt(objectAt(run, 'machine'), 'date');
  for (const run of runs.toSorted((a, b) => dateOf(a).localeCompare(dateOf(b)))) {
    const machine = objectAt(run, 'machine');
    for (const [name, value] of Object.entries(run)) {
      if (name !== 'machine') byPart.set(name, { machine, value });
    }
  }
  return byPart;
}

/**
 * @param runs what `--json` writes; of a part that is in several, the newest counts
 * @throws Error when a run has ended before its end: it has gaps that nobody would see
 */
export function performanceDocument(
  runs: readonly PlainObject[],
  parts: readonly PartText[],
): string {
  const byPart = newestOf(runs);
  for (const [name, { value }] of byPart) {
    const failure = textAt(value, 'failure');
    if (failure !== '') throw new Error(`Cannot draw ${name}: its run has failed: ${failure}`);
  }
  const sections = parts.flatMap(({ name, textOf }) => {
    const found = byPart.get(name);
    return found === undefined ? [] : [sectionOf(name, found, textOf)];
  });
  return [
    '# Performance',
    '<!-- Drawn by `npm run bench:performance` of the runs in docs/performance: change those, not this. -->',
    "What Weft costs beside its peers, and which budgets that meets. [benchmarks.md](benchmarks.md) says how everything is measured, what was tried, and where the rest goes. `npm run bench:performance` draws this file of the runs in `docs/performance`, a file a part; with `--record` a benchmark replaces its own and draws this anew: `npm run bench:dataplane -- --record`. Figures are medians with the lowest and highest round in brackets; CPU is from the kernel's own accounting. **Look at the load average of a run before its times**: where it is above the number of cores, ratios of CPU say something, times little.",
    '## Budgets',
    budgetTable(byPart),
    '## Runs',
    runTable(byPart, parts),
    ...sections,
  ]
    .join('\n\n')
    .concat('\n');
}

/** Before the run. */
const loadOf = (machine: PlainObject | undefined): string =>
  Number(machine?.['loadAverage']).toFixed(1);

function budgetTable(byPart: ReadonlyMap<string, Chosen>): string {
  const run = Object.fromEntries([...byPart].map(([name, { value }]) => [name, value]));
  const rows = BUDGETS.map(({ what, budget, part, command, measured }) => {
    const found = measured(run);
    const words = found.map(({ text, isMet }) => `${text}${isMet ? '' : ' **missed**'}`);
    const said = words.length === 0 ? 'not measured yet' : words.join('<br>');
    const isMet = found.length > 0 && found.every((one) => one.isMet);
    const verdict = isMet ? 'met' : found.length === 0 ? '' : 'missed';
    const load = found.length === 0 ? '' : loadOf(byPart.get(part)?.machine);
    return [what, budget, said, verdict, load, `\`${command}\``];
  });
  return markdownTable(['what', 'budget', 'measured', '', 'load average', 'command'], rows);
}

function runTable(byPart: ReadonlyMap<string, Chosen>, parts: readonly PartText[]): string {
  const rows = parts.flatMap(({ name }) => {
    const found = byPart.get(name);
    if (found === undefined) return [];
    const { machine } = found;
    const of = (key: string): string => textAt(machine, key);
    const commit = machine['isModified'] === true ? `${of('commit')} with changes` : of('commit');
    const where = `${of('cpu')}, ${of('cores')} cores, ${of('memoryGb')} GB, Linux ${of('kernel')}`;
    const versions = `Node ${of('node')}, OpenSSL ${of('openssl')}`;
    return [
      [
        name,
        of('date').slice(0, 'yyyy-mm-ddThh:mm'.length),
        commit,
        loadOf(machine),
        where,
        versions,
      ],
    ];
  });
  const head = ['part', 'when (UTC)', 'commit', 'load average before', 'machine', 'versions'];
  return markdownTable(head, rows);
}

const TITLES: ReadonlyMap<string, string> = new Map([
  ['dataplane', 'Data plane'],
  ['start', 'Start'],
  ['policy', 'Policy changes'],
  ['decisions', 'Decisions'],
  ['rules', 'Rules'],
  ['kubernetes', 'In a cluster'],
  ['controlplane', 'Control plane'],
  ['registry', 'Large clusters'],
  ['ca', 'The CA'],
  ['memory', 'Memory'],
  ['floor', 'What Node itself costs'],
  ['layers', 'What an idle sidecar is made of'],
  ['profile', 'Profile'],
]);

function sectionOf(name: string, { value }: Chosen, textOf: PartText['textOf']): string {
  const title = `## ${TITLES.get(name) ?? name}`;
  if (name === 'dataplane' && isPlainObject(value)) return `${title}\n\n${dataPlaneTables(value)}`;
  const text = textOf(JSON.stringify(value)).trimEnd();
  return `${title}\n\n\`\`\`text\n${text}\n\`\`\``;
}
