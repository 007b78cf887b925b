// Decides which charts the JSON of a run gives: one for each part that can be seen at a glance.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type Bar, type BarGroup, drawBars } from './charts.ts';
import { listAt, objectAt, textAt } from './run-json.ts';

export interface ChartFile {
  readonly name: string;
  readonly svg: string;
}

interface Wanted {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly groups: readonly BarGroup[];
}

/** @param run what `--json` writes; parts that were not run give no chart */
export function chartsOf(run: PlainObject): readonly ChartFile[] {
  const note = noteOf(run);
  return [...dataPlaneCharts(run), ...memoryCharts(run), ...caCharts(run), ...startCharts(run)]
    .map((chart) => ({ ...chart, groups: chart.groups.filter(({ bars }) => bars.length > 0) }))
    .filter(({ groups }) => groups.length > 0)
    .map(({ name, ...chart }) => ({ name: `${name}.svg`, svg: drawBars({ ...chart, note }) }));
}

function noteOf(run: PlainObject): string {
  const machine = objectAt(run, 'machine');
  const date = textAt(machine, 'date').slice(0, 'yyyy-mm-dd'.length);
  const commit = textAt(machine, 'commit');
  const load = Number(machine['loadAverage'] ?? Number.NaN).toFixed(1);
  return `${date}, commit ${commit}, ${textAt(machine, 'cpu')}, ${textAt(machine, 'cores')} cores, load average ${load}`;
}

/** None where there is no figure, as of a pair that was left out. */
function barOf(series: string, summary: unknown): readonly Bar[] {
  if (!isPlainObject(summary)) return [];
  const { median, min, max } = summary;
  if (typeof median !== 'number' || typeof min !== 'number' || typeof max !== 'number') return [];
  return [{ series, value: median, min, max }];
}

/** Costs of a thousand requests each, and of MB: beside small requests nobody would see those. */
function isBulk(entry: PlainObject): boolean {
  const scenario = objectAt(entry, 'scenario');
  const path = textAt(objectAt(scenario, 'load'), 'path');
  return path === '/10m' || path === '/upload' || textAt(scenario, 'unit') === 'MB';
}

function dataPlaneCharts(run: PlainObject): readonly Wanted[] {
  const [bulk = [], small = []] = [true, false].map((wanted) =>
    listAt(run['dataplane'], 'scenarios').filter((entry) => isBulk(entry) === wanted),
  );
  const groupsOf = (
    entries: readonly PlainObject[],
    figure: string,
    pairs: readonly string[],
  ): readonly BarGroup[] =>
    entries.map((entry) => ({
      label: textAt(objectAt(entry, 'scenario'), 'name'),
      bars: pairs.flatMap((pair) => barOf(pair, objectAt(objectAt(entry, 'byPair'), pair)[figure])),
    }));
  const proxies = ['weft', 'envoy', 'haproxy'];
  const cpuUnit = 'µs of both proxies together, median and spread; less is better';
  return [
    {
      name: 'dataplane-cpu',
      title: 'CPU a request',
      unit: cpuUnit,
      groups: groupsOf(small, 'cpuUs', proxies),
    },
    {
      name: 'dataplane-bulk-cpu',
      title: 'CPU of 10 MB bodies, and of a MB over TCP',
      unit: cpuUnit,
      groups: groupsOf(bulk, 'cpuUs', proxies),
    },
    {
      name: 'dataplane-p99',
      title: 'Latency',
      unit: 'p99 in µs, median and spread of the rounds; less is better',
      groups: groupsOf(small, 'p99Us', [...proxies, 'direct']),
    },
  ];
}

function memoryCharts(run: PlainObject): readonly Wanted[] {
  const byState = Map.groupBy(listAt(run['memory'], 'states'), (entry) => textAt(entry, 'state'));
  const groupsOf = (figure: string, fits: (state: string) => boolean): readonly BarGroup[] =>
    [...byState]
      .filter(([state]) => fits(state))
      .map(([label, entries]) => ({
        label,
        bars: entries.flatMap((entry) => barOf(textAt(entry, 'proxy'), entry[figure])),
      }));
  return [
    {
      name: 'memory',
      title: 'Memory of one proxy',
      unit: 'MB written by it alone (private dirty); less is better',
      groups: groupsOf('dirtyMb', () => true),
    },
    {
      name: 'memory-configuration',
      title: 'What a proxy receives to be configured',
      unit: 'KB from the control plane; less is better',
      groups: groupsOf('configKb', (state) => state.includes('services')),
    },
  ];
}

function caCharts(run: PlainObject): readonly Wanted[] {
  const ca = run['ca'];
  const figures = [...listAt(ca, 'figures'), objectAt(objectAt(ca, 'massStart'), 'figures')];
  return [
    {
      name: 'ca',
      title: 'Certificates given for a second of CPU',
      unit: 'by the services of the CA, all their work counted; more is better',
      groups: figures.map((entry) => ({
        label: textAt(entry, 'name'),
        bars: barOf('weft', entry['perCpuSecond']),
      })),
    },
  ];
}

const startCharts = (run: PlainObject): readonly Wanted[] => [
  {
    name: 'start',
    title: 'Process start to ready',
    unit: 'ms, median and spread; less is better',
    groups: listAt(run['start'], 'figures').map((entry) => ({
      label: textAt(entry, 'name'),
      bars: barOf(textAt(entry, 'name').startsWith('weft') ? 'weft' : 'envoy', entry['readyMs']),
    })),
  },
];
