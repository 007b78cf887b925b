// Writes what was measured as tables for a terminal.
import type { DecisionCost } from './decisions.ts';
import type { DataPlaneResult } from './dataplane.ts';
import type { PairMemory } from './dataplane-mesh.ts';
import type { FiguresByPair } from './dataplane-rounds.ts';
import type { PairName } from './peers/pairs.ts';
import type { KubernetesResult } from './kubernetes.ts';
import type { PodStartFigures } from './pod-start.ts';
import type { ProfileResult } from './profile.ts';
import type { PropagationResult } from './propagation.ts';
import type { RulesResult } from './rules.ts';
import type { StartResult } from './start.ts';
import { ratioOf, type Ratio, type Summary } from './statistics.ts';

export type Row = readonly string[];

/** The first column to the left, figures to the right. */
export function table(head: Row, rows: readonly Row[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((row) => (row[at] ?? '').length)));
  const line = (row: Row): string =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line)]
    .join('\n')
    .concat('\n');
}

const round = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

/** Median and, behind it, the lowest and highest round. */
export const spread = ({ median, min, max }: Summary): string =>
  `${round(median)} (${round(min)}–${round(max)})`;

/** Two digits that say something, also of a hundredth. */
const times = (ratio: number): string => ratio.toFixed(ratio < 0.1 ? 4 : 2);

export const ratioText = ({ ofMedians, min, max }: Ratio): string =>
  `${times(ofMedians)}× (${times(min)}–${times(max)})`;

/** Peers that ours is set beside. */
const PEERS: readonly PairName[] = ['envoy', 'haproxy'];

export function dataPlaneText(result: DataPlaneResult): string {
  const parts: string[] = ['Data plane: mutual TLS between two proxies, policies enforced'];
  for (const reason of result.leftOut) parts.push(`Left out: ${reason}`);
  for (const peer of result.peers) parts.push(`Peer: ${peer}`);
  for (const driver of result.drivers) parts.push(`Load: ${driver}`);
  for (const { pair, mesh, tls, checks } of result.verified) {
    parts.push(`Verified ${pair}, ${mesh}: ${tls}; ${checks.join('; ')}`);
  }
  parts.push(
    '',
    `Median of ${result.rounds} rounds (lowest–highest); CPU of both proxies together`,
  );
  const rows = result.scenarios.flatMap(({ scenario, driver, byPair }): readonly Row[] => {
    const { name, unit = 'request', isCalledOnly } = scenario;
    const notes = [
      ...(unit === 'request' ? [] : [`each ${unit}`]),
      ...(isCalledOnly === true ? ['called proxy alone'] : []),
      ...(driver === 'generator' ? [] : [driver]),
    ];
    const head = notes.length === 0 ? name : `${name} (${notes.join(', ')})`;
    return rowsOf(byPair).map(
      ([pair = '', ...rest], at): Row => [at === 0 ? head : '', pair, ...rest],
    );
  });
  parts.push(table(['', '', 'CPU µs each', 'a second', 'p50 µs', 'p90 µs', 'p99 µs'], rows));
  parts.push(memoryText(result.memory));
  if (result.failure !== undefined) parts.push(`ENDED BEFORE ITS END: ${result.failure}\n`);
  return `${parts.join('\n')}\n`;
}

/** A row for each pair, then one for the ratio to each peer. */
function rowsOf(byPair: FiguresByPair): readonly Row[] {
  const rows: Row[] = [];
  for (const [pair, { cpuUs, perSecond, p50Us, p90Us, p99Us }] of Object.entries(byPair)) {
    const cpu = cpuUs === undefined ? '' : spread(cpuUs);
    rows.push([pair, cpu, round(perSecond.median), spread(p50Us), spread(p90Us), spread(p99Us)]);
  }
  const ours = byPair.weft;
  for (const peer of PEERS) {
    const theirs = byPair[peer];
    if (ours?.cpuUs === undefined || theirs?.cpuUs === undefined) continue;
    rows.push([
      `weft/${peer}`,
      ratioText(ratioOf(ours.cpuUs, theirs.cpuUs)),
      ratioText(ratioOf(ours.perSecond, theirs.perSecond)),
      ratioText(ratioOf(ours.p50Us, theirs.p50Us)),
      ratioText(ratioOf(ours.p90Us, theirs.p90Us)),
      ratioText(ratioOf(ours.p99Us, theirs.p99Us)),
    ]);
  }
  return rows;
}

function memoryText(memory: readonly PairMemory[]): string {
  const rows = memory.flatMap(({ pair, mesh, when, proxies }) =>
    proxies.map(
      (proxy, at): Row => [
        `${pair}, ${at === 0 ? 'caller' : 'called'}, ${mesh}, ${when}`,
        proxy.residentMb.toFixed(1),
        proxy.privateMb.toFixed(1),
        proxy.proportionalMb.toFixed(1),
      ],
    ),
  );
  return table(['Memory of one proxy', 'resident MB', 'private MB', 'proportional MB'], rows);
}

export function decisionsText(costs: readonly DecisionCost[]): string {
  const rows = costs.map(({ rules, compileMs, nsPerDecision, lowestNs, highestNs }) => [
    String(rules),
    round(compileMs),
    `${nsPerDecision.toFixed(0)} (${lowestNs.toFixed(0)}–${highestNs.toFixed(0)})`,
  ]);
  return `Decisions: the evaluator alone\n\n${table(['rules', 'compiled in ms', 'ns a decision'], rows)}`;
}

export function rulesText(result: RulesResult): string {
  const rows = result.costs.map(({ rules, byPair, memory }): Row => {
    const ours = byPair.weft?.cpuUs;
    const theirs = byPair.envoy?.cpuUs;
    const mb = (pair: 'weft' | 'envoy'): string => memory[pair]?.privateMb.toFixed(1) ?? '';
    return [
      String(rules),
      ours === undefined ? '' : spread(ours),
      theirs === undefined ? '' : spread(theirs),
      ours === undefined || theirs === undefined ? '' : ratioText(ratioOf(ours, theirs)),
      mb('weft'),
      mb('envoy'),
    ];
  });
  return [
    'Rules: CPU µs a request of the called proxy alone; 100 B, 16 connections, the rule that matches last',
    ...result.leftOut.map((reason) => `Left out: ${reason}`),
    ...result.peers.map((peer) => `Peer: ${peer}`),
    `Verified, each pair at each size: ${result.checks.join('; ')}`,
    `Median of ${result.rounds} rounds (lowest–highest)`,
    '',
    table(['rules', 'weft', 'envoy', 'weft/envoy', 'weft private MB', 'envoy private MB'], rows),
  ].join('\n');
}

export function startText(result: StartResult): string {
  const rows = result.figures.map(
    ({ name, readyMs, cpuMs }): Row => [name, spread(readyMs), spread(cpuMs)],
  );
  return [
    `Start: process start to ready, median of ${result.starts} (lowest–highest); the bundle is ${result.bundleKb.toFixed(0)} KB`,
    ...result.leftOut.map((reason) => `Left out: ${reason}`),
    table(['', 'ready after ms', 'CPU ms'], rows),
  ].join('\n');
}

export function propagationText(result: PropagationResult): string {
  const rows = result.fleets.map(
    (fleet): Row => [
      `${fleet.proxies} proxies, ${fleet.edits} edits`,
      fleet.firstAckMs.median.toFixed(0),
      spread(fleet.lastAckMs),
      fleet.lastAckP99Ms.toFixed(0),
      fleet.cpuMsPerProxy.toFixed(3),
      fleet.controlPlane.residentMb.toFixed(0),
    ],
  );
  return [
    'Policy: file written to acknowledged by the last proxy, everything on this machine',
    table(['', 'first p50 ms', 'last p50 ms', 'p99 ms', 'CPU ms/proxy', 'control plane MB'], rows),
  ].join('\n');
}

export const profileText = (result: ProfileResult): string =>
  result.profiles
    .map(({ proxy, busyShare, top }) => {
      const rows = top.map(({ place, share }): Row => [place, `${(share * 100).toFixed(1)} %`]);
      const busy = (busyShare * 100).toFixed(0);
      return table([`${proxy}: its own time by place, of the ${busy} % not idle`, ''], rows);
    })
    .join('\n');

export function kubernetesText({ skipped, clusters, podStart }: KubernetesResult): string {
  if (skipped !== undefined) return `Kubernetes: left out: ${skipped}\n`;
  const head = [
    'Pods',
    'ready ms',
    'idle MB',
    'connected MB',
    'connect CPU ms/proxy',
    'last ACK ms',
    'Enforced ms',
    'CPU ms/edit/proxy',
    'requests/edit',
    'status writes/edit',
  ];
  const rows = clusters.map((one) => [
    String(one.pods),
    round(one.readyMs),
    round(one.idle.privateMb),
    round(one.connected.privateMb),
    round(one.connectCpuMsPerProxy),
    spread(one.lastAckMs),
    spread(one.enforcedMs),
    one.cpuMsPerEditAndProxy.toFixed(3),
    one.requestsPerEdit.toFixed(1),
    one.statusWritesPerEdit.toFixed(1),
  ]);
  return [
    'Control plane of a cluster: real API server and streams, Pods without processes; private memory',
    table(head, rows),
    podStartText(podStart),
  ].join('\n');
}

function podStartText(podStart: PodStartFigures | undefined): string {
  if (podStart === undefined) return '';
  const { skipped, starts, injectedMs, plainMs, requestsPerStart } = podStart;
  if (skipped !== undefined) return `Pods in a mesh: left out: ${skipped}\n`;
  const requests = `${requestsPerStart.toFixed(1)} requests to the API server for an enrolment`;
  const times = `created to ready ${spread(injectedMs)} ms, without a sidecar ${spread(plainMs)} ms`;
  return `${starts} Pods one after the other: ${times}; ${requests}\n`;
}
