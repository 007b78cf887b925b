// Runs one scenario on pairs that are ready: in turns, round by round, CPU from the processes' own accounts.
import { preciseCpuUsOf } from './accounting.ts';
import { credentialOf, type Identities } from './identities.ts';
import type { LoadDriver } from './load/driver.ts';
import type { LoadJob } from './load/job.ts';
import type { Pair, PairName } from './peers/pairs.ts';
import { CALLED, CALLER } from './policies.ts';
import type { Scenario } from './scenario.ts';
import { type Summary, summarize } from './statistics.ts';

export interface Figures {
  /** Of both proxies together, user and system; absent without proxies. */
  readonly cpuUs?: Summary;
  readonly perSecond: Summary;
  readonly p50Us: Summary;
  readonly p90Us: Summary;
  readonly p99Us: Summary;
}

/** None of a pair that was left out. */
export type FiguresByPair = Readonly<Partial<Record<PairName, Figures>>>;

export interface ScenarioResult {
  readonly scenario: Scenario;
  /** Who made the load. */
  readonly driver: string;
  readonly byPair: FiguresByPair;
}

export interface Effort {
  readonly rounds: number;
  readonly roundMs: number;
}

/** 1.5 s: enough for code to be compiled and pools to be filled. */
const WARM_UP_MS = 1_500;
const MAX_REQUESTS = 500_000;

interface Round {
  readonly cpuUs: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
}

export interface Setting {
  readonly scenario: Scenario;
  readonly pairs: readonly Pair[];
  readonly driver: LoadDriver;
  readonly driverName: string;
  readonly identities: Identities;
  /** Of every request: the token, where one is needed. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly effort: Effort;
}

export async function measureScenario(setting: Setting): Promise<ScenarioResult> {
  const { scenario, effort, driverName } = setting;
  const isHandshake = scenario.load.newConnection === 'handshake';
  const pairs = setting.pairs.filter(
    ({ inbound, name }) =>
      (!isHandshake || inbound !== undefined) && (scenario.pairs?.includes(name) ?? true),
  );
  const roundMs = Math.max(effort.roundMs, scenario.minRoundMs ?? 0);
  const warmUpMs = Math.max(WARM_UP_MS, roundMs);
  const rounds = new Map<PairName, Round[]>(pairs.map(({ name }) => [name, []]));
  for (const pair of pairs) await runRound(setting, pair, warmUpMs);
  for (let round = 0; round < effort.rounds; round++) {
    // Whoever begins has no advantage of it.
    const order = round % 2 === 0 ? pairs : pairs.toReversed();
    for (const pair of order) {
      rounds.get(pair.name)?.push(await runRound(setting, pair, roundMs));
    }
  }
  const byPair: Partial<Record<PairName, Figures>> = {};
  for (const [name, samples] of rounds) {
    const of = (key: keyof Round): Summary => summarize(samples.map((sample) => sample[key]));
    byPair[name] = {
      ...(name !== 'direct' && { cpuUs: of('cpuUs') }),
      perSecond: of('perSecond'),
      p50Us: of('p50Us'),
      p90Us: of('p90Us'),
      p99Us: of('p99Us'),
    };
  }
  return { scenario, driver: driverName, byPair };
}

/** A proxy's threads live as long as it does: none takes its account with it. */
const cpuUsOfAll = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + preciseCpuUsOf(pid), 0);

/** @throws Error when a single request failed: a figure of failing requests says nothing. */
async function runRound(setting: Setting, pair: Pair, durationMs: number): Promise<Round> {
  const { scenario, driver } = setting;
  const pids = scenario.isCalledOnly === true ? pair.pids.slice(-1) : pair.pids;
  const before = cpuUsOfAll(pids);
  const result = await driver.run(jobOf(setting, pair, durationMs));
  const cpuUs = cpuUsOfAll(pids) - before;
  const { requests, failures, firstFailure, elapsedMs, p50Us, p90Us, p99Us } = result;
  if (failures > 0 || requests === 0) {
    const why = `${failures} of ${requests} requests failed: ${firstFailure ?? 'none was answered'}`;
    const told = pair.told?.() ?? '';
    throw new Error(`Cannot measure ${pair.name} with ${scenario.name}: ${why}\n${told}`.trim());
  }
  const perSecond = (requests / elapsedMs) * 1_000;
  return { cpuUs: cpuUs / requests, perSecond, p50Us, p90Us, p99Us };
}

export function jobOf(
  setting: Pick<Setting, 'scenario' | 'identities' | 'headers'>,
  pair: Pick<Pair, 'front' | 'inbound'>,
  durationMs: number,
): LoadJob {
  const { identities, headers, scenario } = setting;
  const isHandshake = scenario.load.newConnection === 'handshake' && pair.inbound !== undefined;
  const { keyPem, chainPem } = credentialOf(identities, CALLER);
  const { bundlePem } = identities;
  const serverId = credentialOf(identities, CALLED).spiffeId;
  return {
    ...((isHandshake ? pair.inbound : undefined) ?? pair.front),
    ...scenario.load,
    durationMs,
    maxRequests: MAX_REQUESTS,
    ...(headers !== undefined && { headers }),
    ...(isHandshake && { tls: { keyPem, chainPem, bundlePem, serverId } }),
  };
}
