// `npm run bench:smoke`: under three minutes, for CI; fails only on what no noise makes of a proxy that is well.
import { measureCaAlone } from './ca-alone.ts';
import { measureDataPlane } from './dataplane-process.ts';
import { measureDecisions } from './decisions.ts';
import { describeMachine, machineText } from './machine.ts';
import { dataPlaneText } from './report.ts';
import type { Scenario } from './scenario.ts';
import { GRPC_SCENARIOS } from './scenarios-http2.ts';
import { HTTP1_SCENARIOS } from './scenarios-http1.ts';
import { judge, type SmokeCheck } from './smoke-thresholds.ts';
import { ratioOf } from './statistics.ts';

const EFFORT = { rounds: 4, roundMs: 800 };
const CA_ROUNDS = 3;

/** CPU a request, Weft's by Envoy's, at most. */
const CEILINGS: readonly {
  readonly scenario: Scenario | undefined;
  readonly atMost: number;
}[] = [
  // 0.5 to 0.9 in many runs.
  { scenario: named(HTTP1_SCENARIOS, '100 B, 32 connections'), atMost: 1.25 },
  // 0.3 to 0.6.
  { scenario: named(GRPC_SCENARIOS, 'gRPC unary, 64 in flight'), atMost: 1.25 },
];
/** 2 to 4 from caches that no longer hold everything; looking at rule after rule would make it a thousand. */
const DECISIONS_AT_MOST = 10;
/** 0.25 to 0.5: the rest is reading and writing DER. */
const CERTIFICATES_AT_LEAST = 0.1;

function named(scenarios: readonly Scenario[], name: string): Scenario | undefined {
  return scenarios.find((scenario) => scenario.name === name);
}

const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** @returns what could not be compared as well, with the reason. */
async function dataPlaneChecks(): Promise<{
  readonly checks: readonly SmokeCheck[];
  readonly skipped: readonly string[];
}> {
  const scenarios = CEILINGS.flatMap(({ scenario }) => (scenario === undefined ? [] : [scenario]));
  const pairs = ['weft', 'envoy'] as const;
  const result = await measureDataPlane({ ...EFFORT, scenarios, pairs }, progress);
  say(dataPlaneText(result));
  if (result.failure !== undefined) throw new Error(result.failure);
  const checks: SmokeCheck[] = [];
  const skipped: string[] = [];
  for (const { scenario, atMost } of CEILINGS) {
    const name = scenario?.name ?? '';
    const found = result.scenarios.find((one) => one.scenario.name === name);
    const ours = found?.byPair.weft?.cpuUs;
    const theirs = found?.byPair.envoy?.cpuUs;
    if (ours === undefined || theirs === undefined) {
      skipped.push(`${name}: nothing to compare with: ${result.leftOut.join('; ')}`);
      continue;
    }
    const ratio = ratioOf(ours, theirs);
    checks.push({ name: `CPU a request by Envoy's, ${name}`, ratio, limit: { atMost } });
  }
  return { checks, skipped };
}

function decisionsCheck(): SmokeCheck {
  const costs = measureDecisions();
  const [few, many] = [costs.at(0), costs.at(-1)];
  if (few === undefined || many === undefined) throw new Error('Cannot measure decisions');
  return {
    name: `a decision among ${many.rules} rules by one among ${few.rules}`,
    ratio: {
      ofMedians: many.nsPerDecision / few.nsPerDecision,
      min: many.lowestNs / few.highestNs,
      max: many.highestNs / few.lowestNs,
    },
    limit: { atMost: DECISIONS_AT_MOST },
  };
}

async function main(): Promise<void> {
  say(`${machineText(await describeMachine())}\n`);
  const { checks, skipped } = await dataPlaneChecks();
  progress('decisions');
  const decisions = decisionsCheck();
  progress('certificates');
  const certificates: SmokeCheck = {
    name: 'certificates for a second of CPU by what openssl can sign and verify',
    ratio: await measureCaAlone(CA_ROUNDS),
    limit: { atLeast: CERTIFICATES_AT_LEAST },
  };
  const verdicts = [...checks, decisions, certificates].map(judge);
  for (const { text } of verdicts) say(text);
  for (const reason of skipped) say(`skipped ${reason}`);
  if (verdicts.some(({ isOk }) => !isOk)) process.exitCode = 1;
}

if (import.meta.main) await main();
