// What one decision costs with 10 to 10,000 rules: the evaluator alone, in this process.
import { parseIp } from '@weft/model/ip';
import { compilePolicies } from '@weft/model/policy/compile';
import { compileRbac, type DecisionInput, type Evaluator } from '@weft/model/policy/evaluate';
import { manifestOf, parsePolicy, specOf } from './rule-sets.ts';

export interface DecisionCost {
  readonly rules: number;
  readonly compileMs: number;
  /** Median of the rounds. */
  readonly nsPerDecision: number;
  readonly lowestNs: number;
  readonly highestNs: number;
}

const SIZES = [10, 100, 1_000, 10_000];
const ROUNDS = 9;
const DECISIONS_A_ROUND = 200_000;
const CALLERS = 64;

function evaluatorOf(rules: number): { readonly evaluator: Evaluator; readonly compileMs: number } {
  const policies = Array.from({ length: rules }, (_, at) =>
    parsePolicy(manifestOf(`p${at}`, specOf(at))),
  );
  const startedAt = performance.now();
  const chain = compilePolicies(policies, [], {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    protocol: 'http',
  });
  const evaluator = compileRbac(chain);
  return { evaluator, compileMs: performance.now() - startedAt };
}

function requestsFor(rules: number): readonly DecisionInput[] {
  const ip = parseIp('10.0.0.7');
  return Array.from({ length: CALLERS }, (_, caller): DecisionInput => {
    const at = (caller * 7) % rules;
    const namespace = at % 3 === 0 ? `team${at}` : `team${at % 200}`;
    const path = at % 2 === 0 ? `/status/${at}` : `/api/v1/thing${at}/7`;
    return {
      peerUri: `spiffe://cluster.local/ns/${namespace}/sa/app${at}`,
      sourceIp: ip,
      remoteIp: ip,
      destinationIp: ip,
      destinationPort: 8080,
      serverName: '',
      method: 'GET',
      path,
      target: path,
      authority: 'web.shop',
      header: () => undefined,
      metadata: () => undefined,
    };
  });
}

function round(evaluator: Evaluator, requests: readonly DecisionInput[]): number {
  let allowed = 0;
  const startedAt = performance.now();
  for (let count = 0; count < DECISIONS_A_ROUND; count += requests.length) {
    for (const request of requests) if (evaluator.decide(request).isAllowed) allowed++;
  }
  const ns = ((performance.now() - startedAt) * 1e6) / DECISIONS_A_ROUND;
  /** Nothing may be optimised away, and nothing measured that decides nothing. */
  if (allowed === 0) throw new Error('Cannot measure: nothing was allowed');
  return ns;
}

export function measureDecisions(): readonly DecisionCost[] {
  return SIZES.map((rules) => {
    const { evaluator, compileMs } = evaluatorOf(rules);
    const requests = requestsFor(rules);
    round(evaluator, requests);
    const times = Array.from({ length: ROUNDS }, () => round(evaluator, requests)).sort(
      (a, b) => a - b,
    );
    const [lowest = 0] = times;
    return {
      rules,
      compileMs,
      nsPerDecision: times[ROUNDS >> 1] ?? 0,
      lowestNs: lowest,
      highestNs: times.at(-1) ?? 0,
    };
  });
}
