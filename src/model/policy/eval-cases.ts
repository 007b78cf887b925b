// Runs groups of recorded decisions through parser, compiler and evaluator, and says where they differ.
import type { Problem } from '../problem.ts';
import { compilePolicies } from './compile.ts';
import { decisionInputOf, type DecisionRequest } from './decision-request.ts';
import { compileRbac, type Evaluator, type Verdict } from './evaluate.ts';
import { parseAuthorizationPolicy } from './parse-authorization-policy.ts';
import { normalizeTarget, type PathNormalization } from './path.ts';
import type { PlainObject } from './reader.ts';
import { selectPolicies } from './select.ts';
import type { AuthorizationPolicy } from './types.ts';

/** One group: a workload, its mesh and its policies, and requests with what is expected of them. */
export interface CaseGroup {
  readonly name: string;
  readonly workload: {
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly trustDomainAliases?: readonly string[];
  readonly options?: {
    readonly pathNormalization?: PathNormalization;
    readonly spaceDelimitedClaims?: readonly string[];
  };
  readonly cases: readonly DecisionCase[];
}

export type CaseRequest = DecisionRequest;

export interface DecisionCase {
  readonly name: string;
  readonly request: CaseRequest;
  readonly expect: 'allow' | 'deny';
}

export interface CaseResult {
  readonly group: string;
  readonly case: string;
  readonly expect: 'allow' | 'deny';
  readonly actual: 'allow' | 'deny';
  readonly reason: string;
  readonly decidedBy: string | undefined;
}

export interface GroupResult {
  readonly results: readonly CaseResult[];
  /** Policies that were refused; the group's decisions are without them. */
  readonly problems: readonly Problem[];
}

/** @param objects the group's policies, already read from YAML. */
export function evaluateGroup(group: CaseGroup, objects: readonly PlainObject[]): GroupResult {
  const problems: Problem[] = [];
  const policies: AuthorizationPolicy[] = [];
  for (const object of objects) {
    if (object['kind'] !== 'AuthorizationPolicy') continue;
    const parsed = parseAuthorizationPolicy(object);
    if (parsed.ok) policies.push(parsed.value);
    else problems.push(...parsed.problems);
  }
  const { trustDomain, trustDomainAliases = [] } = group;
  const workload = {
    namespace: group.workload.namespace,
    labels: new Map(Object.entries(group.workload.labels)),
  };
  const selected = selectPolicies(policies, workload, group.rootNamespace);
  const evaluatorOf = (protocol: 'http' | 'tcp'): Evaluator =>
    compileRbac(compilePolicies(selected, [], { trustDomain, trustDomainAliases, protocol }));
  const evaluators = { http: evaluatorOf('http'), tcp: evaluatorOf('tcp') };
  const results = group.cases.map(({ name, request, expect }): CaseResult => {
    const verdict = decide(evaluators[request.protocol], request, group);
    const { reason, decidedBy, isAllowed } = verdict;
    return {
      group: group.name,
      case: name,
      expect,
      actual: isAllowed ? 'allow' : 'deny',
      reason,
      decidedBy,
    };
  });
  return { results, problems };
}

type CaseVerdict = Omit<Verdict, 'reason'> & { readonly reason: string };

function decide(evaluator: Evaluator, request: DecisionRequest, group: CaseGroup): CaseVerdict {
  const normalized = normalizeTarget(
    request.path ?? '/',
    group.options?.pathNormalization ?? 'BASE',
  );
  if (!normalized.ok)
    return { isAllowed: false, reason: normalized.reasonCode, decidedBy: undefined };
  return evaluator.decide(
    decisionInputOf(request, normalized.target, group.options?.spaceDelimitedClaims),
  );
}
