// Measures the data plane: pairs of proxies beside one another in the same rounds, CPU from the processes' own accounts.
import { NAMESPACE } from '../support/lab-manifests.ts';
import { openLab } from '../support/lab.ts';
import { cpuUsOf, type Memory, memoryOf } from './accounting.ts';
import { credentialOf, type Identities, issueIdentities } from './identities.ts';
import type { LoadJob } from './load/job.ts';
import { type LoadGenerator, startApp, startLoadGenerator } from './load/processes.ts';
import { findEnvoy } from './peers/envoy-binary.ts';
import { noProxy, type Pair, type PairName, startEnvoyPair, startWeftPair } from './peers/pairs.ts';
import { CALLED, CALLER, policyManifests, STRANGER } from './policies.ts';
import { type Summary, summarize } from './statistics.ts';
import { type Verified, verifyPair } from './verify-pair.ts';

export interface Scenario {
  readonly name: string;
  readonly path: string;
  readonly connections: number;
  readonly rate?: number;
  /** `each`: a connection to the caller's proxy for each request. `handshake`: mutual TLS straight to the called one's. */
  readonly newConnection?: 'each' | 'handshake';
}

const SCENARIOS: readonly Scenario[] = [
  { name: '100 B, 1 connection', path: '/100b', connections: 1 },
  { name: '100 B, 32 connections', path: '/100b', connections: 32 },
  { name: '100 B, 32 connections, 1,000/s', path: '/100b', connections: 32, rate: 1_000 },
  { name: '1 KB, 32 connections', path: '/1k', connections: 32 },
  { name: '64 KB, 32 connections', path: '/64k', connections: 32 },
  { name: 'a connection each', path: '/100b', connections: 8, newConnection: 'each' },
  { name: 'full mTLS handshake each', path: '/100b', connections: 8, newConnection: 'handshake' },
];

export interface Figures {
  /** Of both proxies together, user and system; absent without proxies. */
  readonly cpuUs: Summary | undefined;
  readonly perSecond: Summary;
  readonly p50Us: Summary;
  readonly p99Us: Summary;
}

export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly byPair: ReadonlyMap<PairName, Figures>;
}

export interface PairMemory {
  readonly pair: PairName;
  readonly when: 'idle' | 'after load';
  /** Caller's proxy, then the called one's. */
  readonly proxies: readonly Memory[];
}

export interface DataPlaneResult {
  readonly leftOut: readonly string[];
  readonly peers: readonly string[];
  readonly verified: readonly Verified[];
  readonly rounds: number;
  readonly scenarios: readonly ScenarioResult[];
  readonly memory: readonly PairMemory[];
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
  readonly p99Us: number;
}

export async function measureDataPlane(
  effort: Effort,
  progress: (what: string) => void,
): Promise<DataPlaneResult> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openLab());
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: [CALLER, CALLED, STRANGER],
  });
  await lab.write('policies.yaml', ...policyManifests());
  await lab.startControlPlane();
  const { address: appAddress } = stack.use(await startApp());
  const generator = stack.use(await startLoadGenerator());
  const pairs: Pair[] = [await startWeftPair({ lab, appAddress })];
  const envoy = await findEnvoy();
  const leftOut = envoy.ok ? [] : [`Envoy: ${envoy.reason}`];
  if (envoy.ok) {
    const { path: binary } = envoy;
    pairs.push(
      stack.use(await startEnvoyPair({ binary, folder: lab.root, identities, appAddress })),
    );
  }
  pairs.push(noProxy(appAddress));

  const verified: Verified[] = [];
  for (const pair of pairs) verified.push(await verifyPair(pair, identities, lab.root));
  const memory = memoryOfAll(pairs, 'idle');
  const scenarios: ScenarioResult[] = [];
  for (const scenario of SCENARIOS) {
    progress(scenario.name);
    scenarios.push(await measureScenario({ scenario, pairs, generator, identities, effort }));
  }
  memory.push(...memoryOfAll(pairs, 'after load'));
  return {
    leftOut,
    peers: envoy.ok ? [`Envoy ${envoy.version}, one worker, static configuration`] : [],
    verified,
    rounds: effort.rounds,
    scenarios,
    memory,
  };
}

const memoryOfAll = (pairs: readonly Pair[], when: PairMemory['when']): PairMemory[] =>
  pairs
    .filter(({ pids }) => pids.length > 0)
    .map(({ name, pids }) => ({ pair: name, when, proxies: pids.map(memoryOf) }));

export interface Setting {
  readonly scenario: Scenario;
  readonly pairs: readonly Pair[];
  readonly generator: LoadGenerator;
  readonly identities: Identities;
  readonly effort: Effort;
}

export async function measureScenario(setting: Setting): Promise<ScenarioResult> {
  const { scenario, effort } = setting;
  const isHandshake = scenario.newConnection === 'handshake';
  const pairs = setting.pairs.filter(({ inbound }) => !isHandshake || inbound !== undefined);
  const rounds = new Map<PairName, Round[]>(pairs.map(({ name }) => [name, []]));
  for (const pair of pairs) await runRound(setting, pair, WARM_UP_MS);
  for (let round = 0; round < effort.rounds; round++) {
    // Whoever begins has no advantage of it.
    const order = round % 2 === 0 ? pairs : pairs.toReversed();
    for (const pair of order) {
      rounds.get(pair.name)?.push(await runRound(setting, pair, effort.roundMs));
    }
  }
  const byPair = new Map<PairName, Figures>();
  for (const [name, samples] of rounds) {
    const of = (key: keyof Round): Summary => summarize(samples.map((sample) => sample[key]));
    byPair.set(name, {
      cpuUs: name === 'direct' ? undefined : of('cpuUs'),
      perSecond: of('perSecond'),
      p50Us: of('p50Us'),
      p99Us: of('p99Us'),
    });
  }
  return { scenario, byPair };
}

/** @throws Error when a single request failed: a figure of failing requests says nothing. */
async function runRound(setting: Setting, pair: Pair, durationMs: number): Promise<Round> {
  const { scenario, generator, identities } = setting;
  const job = jobOf(scenario, { pair, identities, durationMs });
  const before = cpuUsOf(pair.pids);
  const result = await generator.run(job);
  const cpuUs = cpuUsOf(pair.pids) - before;
  const { requests, failures, firstFailure, elapsedMs, p50Us, p99Us } = result;
  if (failures > 0 || requests === 0) {
    const why = `${failures} of ${requests} requests failed: ${firstFailure ?? 'none was answered'}`;
    throw new Error(`Cannot measure ${pair.name} with ${scenario.name}: ${why}`);
  }
  return { cpuUs: cpuUs / requests, perSecond: (requests / elapsedMs) * 1_000, p50Us, p99Us };
}

function jobOf(
  scenario: Scenario,
  to: { readonly pair: Pair; readonly identities: Identities; readonly durationMs: number },
): LoadJob {
  const { pair, identities, durationMs } = to;
  const { path, connections, rate, newConnection } = scenario;
  const isHandshake = newConnection === 'handshake' && pair.inbound !== undefined;
  const { keyPem, chainPem } = credentialOf(identities, CALLER);
  const { bundlePem } = identities;
  const serverId = credentialOf(identities, CALLED).spiffeId;
  return {
    ...((isHandshake ? pair.inbound : undefined) ?? pair.front),
    path,
    connections,
    durationMs,
    maxRequests: MAX_REQUESTS,
    ...(rate !== undefined && { rate }),
    ...(newConnection !== undefined && { isConnectionEach: true }),
    ...(isHandshake && { tls: { keyPem, chainPem, bundlePem, serverId } }),
  };
}
