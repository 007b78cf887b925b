// Writes the data plane's figures as Markdown tables: CPU, latency, requests a second, memory.
import type { PlainObject } from '@weft/model/policy/reader';
import { listAt, numberAt, objectAt, summaryAt, textAt } from './run-json.ts';
import { ratioOf } from './statistics.ts';

const PEERS = ['envoy', 'haproxy'] as const;
const PAIRS = ['weft', ...PEERS, 'direct'] as const;
const NAMES = { weft: 'Weft', envoy: 'Envoy', haproxy: 'HAProxy', direct: 'no proxy' } as const;

/** A bar in a cell would end it. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

export const markdownTable = (
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string =>
  [head, head.map(() => '---'), ...rows]
    .map((row) => `| ${row.map(cell).join(' | ')} |`)
    .join('\n');

const figure = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString('en')
    : value >= 10
      ? value.toFixed(1)
      : value.toFixed(2);

function nameOf(entry: PlainObject): string {
  const scenario = objectAt(entry, 'scenario');
  const unit = textAt(scenario, 'unit');
  const notes = [
    ...(unit === '' || unit === 'request' ? [] : [`each ${unit}`]),
    ...(scenario['isCalledOnly'] === true ? ['called proxy alone'] : []),
  ];
  const name = textAt(scenario, 'name');
  return notes.length === 0 ? name : `${name} (${notes.join(', ')})`;
}

const summaryOf = (entry: PlainObject, pair: string, name: string) =>
  summaryAt(objectAt(objectAt(entry, 'byPair'), pair), name);

function spreadCell(entry: PlainObject, pair: string, name: string): string {
  const found = summaryOf(entry, pair, name);
  if (found === undefined) return '';
  return `${figure(found.median)} (${figure(found.min)}–${figure(found.max)})`;
}

function ratioCell(entry: PlainObject, peer: string): string {
  const ours = summaryOf(entry, 'weft', 'cpuUs');
  const theirs = summaryOf(entry, peer, 'cpuUs');
  if (ours === undefined || theirs === undefined) return '';
  const { ofMedians, min, max } = ratioOf(ours, theirs);
  return `**${ofMedians.toFixed(2)}×** (${min.toFixed(2)}–${max.toFixed(2)})`;
}

function latencyCell(entry: PlainObject, pair: string): string {
  const medians = ['p50Us', 'p90Us', 'p99Us'].map((name) => summaryOf(entry, pair, name)?.median);
  return medians.some((one) => one === undefined)
    ? ''
    : medians.map((one) => figure(one ?? 0)).join(' / ');
}

const medianCell = (entry: PlainObject, pair: string, name: string): string => {
  const found = summaryOf(entry, pair, name);
  return found === undefined ? '' : figure(found.median);
};

/** @param part what the data plane's part of a run's JSON holds */
export function dataPlaneTables(part: PlainObject): string {
  const entries = listAt(part, 'scenarios');
  const names = PAIRS.map((pair) => NAMES[pair]);
  const proxies = PAIRS.filter((pair) => pair !== 'direct');
  const cpuHead = [
    '',
    ...proxies.map((pair) => NAMES[pair]),
    ...PEERS.map((p) => `Weft / ${NAMES[p]}`),
  ];
  const cpu = entries.map((entry) => [
    nameOf(entry),
    ...proxies.map((pair) => spreadCell(entry, pair, 'cpuUs')),
    ...PEERS.map((peer) => ratioCell(entry, peer)),
  ]);
  const latency = entries.map((entry) => [
    nameOf(entry),
    ...PAIRS.map((pair) => latencyCell(entry, pair)),
  ]);
  const rate = entries.map((entry) => [
    nameOf(entry),
    ...PAIRS.map((pair) => medianCell(entry, pair, 'perSecond')),
    textAt(entry, 'driver'),
  ]);
  return [
    aboutText(part),
    '### CPU, µs of both proxies together',
    markdownTable(cpuHead, cpu),
    '### Latency, p50 / p90 / p99 in µs',
    markdownTable(['', ...names], latency),
    '### A second',
    'Client, application and both proxies share the cores: this is no capacity. Without a proxy it says that neither the load nor the application is what a round waits for.',
    markdownTable(['', ...names, 'load by'], rate),
    '### Memory of one proxy',
    markdownTable(['', 'resident MB', 'private MB', 'proportional MB'], memoryRows(part)),
  ].join('\n\n');
}

function textsAt(part: PlainObject, key: string): readonly string[] {
  const found = part[key];
  return Array.isArray(found) ? found.filter((one) => typeof one === 'string') : [];
}

function aboutText(part: PlainObject): string {
  const verified = listAt(part, 'verified').map((one) => {
    const checks = textsAt(one, 'checks').join('; ');
    return `- verified ${textAt(one, 'pair')}, ${textAt(one, 'mesh')}: ${textAt(one, 'tls')}; ${checks}`;
  });
  return [
    `Medians of ${textAt(part, 'rounds')} rounds.`,
    '',
    ...textsAt(part, 'peers').map((text) => `- peer: ${text}`),
    ...textsAt(part, 'drivers').map((text) => `- load: ${text}`),
    ...textsAt(part, 'leftOut').map((text) => `- left out: ${text}`),
    ...verified,
  ].join('\n');
}

function memoryRows(part: PlainObject): readonly (readonly string[])[] {
  return listAt(part, 'memory').flatMap((entry) =>
    listAt(entry, 'proxies').map((proxy, at) => [
      `${textAt(entry, 'pair')}, ${at === 0 ? 'caller' : 'called'}, ${textAt(entry, 'mesh')}, ${textAt(entry, 'when')}`,
      ...['residentMb', 'privateMb', 'proportionalMb'].map((name) =>
        (numberAt(proxy, name) ?? Number.NaN).toFixed(1),
      ),
    ]),
  );
}
