// Writes what was measured of memory as tables for a terminal.
import type { MemoryResult, Slope, StateFigures } from './memory-figures.ts';
import { ratioText, type Row, spread, table } from './report.ts';
import { ratioOf, type Summary } from './statistics.ts';

const BASE = 'envoy';

export function memoryPartText(result: MemoryResult): string {
  const byState = Map.groupBy(result.states, ({ state }) => state);
  const rows = [...byState.values()].flatMap(rowsOf);
  const head = [
    '',
    '',
    'resident MB',
    'private MB',
    '/envoy',
    'dirty MB',
    '/envoy',
    'proportional MB',
    '/envoy',
    'configuration KB',
    'KB/connection',
  ];
  return [
    'Memory of one proxy: median of the proxies (lowest–highest)',
    ...result.leftOut.map((reason) => `Left out: ${reason}`),
    ...result.peers.map((peer) => `Peer: ${peer}`),
    `Verified: ${result.checks.join('; ')}`,
    '',
    table(head, rows),
    ...(result.soak.length === 0 ? [] : [soakText(result.soak)]),
  ].join('\n');
}

function rowsOf(figures: readonly StateFigures[]): readonly Row[] {
  const base = figures.find(({ proxy }) => proxy === BASE);
  return figures.map((one, at): Row => {
    const beside = (key: 'privateMb' | 'dirtyMb' | 'proportionalMb'): Row => [
      summaryText(one[key]),
      base === undefined || one === base ? '' : besideText(one[key], base[key]),
    ];
    return [
      at === 0 ? one.state : '',
      one.proxy,
      one.residentMb.median.toFixed(0),
      ...beside('privateMb'),
      ...beside('dirtyMb'),
      ...beside('proportionalMb'),
      one.configKb?.median.toFixed(1) ?? '',
      one.kbPerConnection?.toFixed(1) ?? '',
    ];
  });
}

/** A single one has no spread. */
const summaryText = (summary: Summary): string =>
  summary.samples.length === 1 ? summary.median.toFixed(1) : spread(summary);

const besideText = (ours: Summary, theirs: Summary): string =>
  ours.samples.length === 1
    ? `${(ours.median / theirs.median).toFixed(2)}×`
    : ratioText(ratioOf(ours, theirs));

function soakText(slopes: readonly Slope[]): string {
  const rows = slopes.map(
    ({ proxy, minutes, requests, firstPrivateMb, lastPrivateMb, mbPerHour }): Row => [
      `${proxy}, ${minutes} min`,
      String(requests),
      firstPrivateMb.toFixed(1),
      lastPrivateMb.toFixed(1),
      mbPerHour?.toFixed(2) ?? 'too short',
    ],
  );
  return table(
    ['Soak', 'requests', 'first private MB', 'last private MB', 'MB an hour, second half'],
    rows,
  );
}
