// Writes what the two control planes cost as tables for a terminal.
import type {
  ChurnFigures,
  ControlPlaneResult,
  PlaneFigures,
  SettingFigures,
} from './controlplane.ts';
import { type Row, ratioText, spread, table } from './report.ts';
import { ratioOf, type Summary } from './statistics.ts';

export function controlPlaneText(result: ControlPlaneResult): string {
  return [
    'Control plane: the same resources, streams and changes, in turns; what is in force is checked on every proxy',
    ...result.leftOut.map((reason) => `Left out: ${reason}`),
    ...result.peers.map((peer) => `Peer: ${peer}`),
    `Median of ${result.rounds} rounds (lowest–highest), of churn and reconnects ${result.slowRounds}; one unit of CPU is a ms`,
    '',
    ...result.settings.map(settingText),
  ].join('\n');
}

interface Line {
  readonly name: string;
  readonly of: (plane: PlaneFigures) => Summary | number | undefined;
}

const LINES: readonly Line[] = [
  { name: 'policy changed → last ACK, ms', of: ({ policy }) => policy.lastAckMs },
  { name: '  p99, ms', of: ({ policy }) => policy.lastAckP99Ms },
  { name: '  CPU ms a proxy', of: ({ policy }) => policy.cpuMsPerProxy },
  { name: '  bytes a proxy', of: ({ policy }) => policy.bytesPerProxy },
  { name: 'all reconnect → all configured, ms', of: ({ reconnect }) => reconnect.configuredMs },
  { name: '  CPU ms a proxy', of: ({ reconnect }) => reconnect.cpuMsPerProxy },
  { name: '  bytes received by a proxy', of: ({ reconnect }) => reconnect.bytesPerProxy },
  { name: '  slowest /healthz meanwhile, ms', of: ({ reconnect }) => reconnect.slowestHealthMs },
  { name: 'private memory before streams, MB', of: ({ idleMb }) => idleMb },
  { name: '  with streams, MB', of: ({ connectedMb }) => connectedMb },
  { name: '  KB a stream', of: ({ kbPerStream }) => kbPerStream },
  { name: '  after everything, MB', of: ({ finalMb }) => finalMb },
];

const churnLines = ({ ratePerSecond }: ChurnFigures): readonly Line[] => {
  const read =
    (value: (figures: ChurnFigures) => Summary) =>
    ({ churn }: PlaneFigures): Summary | undefined => {
      const found = churn.find((one) => one.ratePerSecond === ratePerSecond);
      return found && value(found);
    };
  return [
    {
      name: `${ratePerSecond} endpoint changes/s: CPU ms a change`,
      of: read((one) => one.cpuMsPerChange),
    },
    { name: '  bytes a change', of: read((one) => one.bytesPerChange) },
    { name: '  responses a change', of: read((one) => one.responsesPerChange) },
    { name: '  last change → last ACK, ms', of: read((one) => one.settledMs) },
    { name: '  changes/s made', of: read((one) => one.donePerSecond) },
  ];
};

function settingText({ setting, resourcesPerProxy, checks, planes }: SettingFigures): string {
  const { proxies, services, variant } = setting;
  const [ours, theirs] = planes;
  const lines = [...LINES, ...(ours?.churn ?? []).flatMap(churnLines)];
  const rows = lines.map(({ name, of }): Row => {
    const figures = planes.map(of);
    const [our, their] = figures;
    const isRatio = our !== undefined && their !== undefined;
    return [name, ...figures.map(cellOf), ...(isRatio ? [ratioCell(our, their)] : [])];
  });
  const title = `${proxies} ${variant} streams, ${services} services, ${resourcesPerProxy.toFixed(0)} resources a proxy`;
  const head = [title, ...planes.map(({ plane }) => plane)];
  return [
    table(theirs === undefined ? head : [...head, 'ratio'], rows),
    `Verified: ${checks.join('; ')}\n`,
  ].join('');
}

const asSummary = (value: Summary | number): Summary =>
  typeof value === 'number' ? { median: value, min: value, max: value, samples: [value] } : value;

function cellOf(value: Summary | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return value.toFixed(value < 10 ? 2 : 0);
  return spread(value);
}

function ratioCell(ours: Summary | number, theirs: Summary | number): string {
  const ratio = ratioOf(asSummary(ours), asSummary(theirs));
  return typeof ours === 'number' ? `${ratio.ofMedians.toFixed(2)}×` : ratioText(ratio);
}
