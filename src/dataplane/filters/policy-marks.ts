// What policies say of a request or connection without deciding it: AUDIT rules that match, and policies on trial.
import { LOGIN_FILTER } from '@weft/model/login/types';
import type { DecisionInput, Evaluator, Trial, Verdict } from '@weft/model/policy/evaluate';
import { formatNearMiss, nearestAllow } from '@weft/model/policy/explain';
import type { AuthorizerMark } from './request-gate.ts';

/** One verdict for all policies on trial together, beside that of today. */
export interface DryRunVerdict {
  readonly trial: Trial;
  readonly today: Verdict;
  readonly candidate: Verdict;
  /** Of a refusal that no rule decides: the ALLOW rule that came nearest, and what of it failed. */
  readonly nearest: string | undefined;
}

export interface PolicyMarks {
  /** The first AUDIT rule that matches. */
  readonly audit: string | undefined;
  readonly dryRun: DryRunVerdict | undefined;
  /** What external authorizers said, in the order they were asked. */
  readonly authorizers?: readonly AuthorizerMark[];
  /** Who logged in by name and password. */
  readonly user?: string;
}

/** @returns the marks with what authorizers said; the same when nobody was asked. */
export const withAuthorizers = (
  marks: PolicyMarks | undefined,
  authorizers: readonly AuthorizerMark[],
): PolicyMarks | undefined =>
  authorizers.length === 0
    ? marks
    : { audit: marks?.audit, dryRun: marks?.dryRun, authorizers: [...authorizers] };

/** @returns the marks with who logged in; the same when nobody did. */
export function withUser(
  marks: PolicyMarks | undefined,
  input: Pick<DecisionInput, 'metadata'>,
): PolicyMarks | undefined {
  const user = input.metadata(LOGIN_FILTER, USER_PATH);
  if (typeof user !== 'string') return marks;
  return { audit: marks?.audit, dryRun: marks?.dryRun, ...marks, user };
}

const USER_PATH: readonly string[] = ['user'];

/** @returns `undefined` when nothing is to be marked, which costs nothing. */
export function markRequest(
  evaluator: Evaluator | undefined,
  input: DecisionInput,
): PolicyMarks | undefined {
  if (evaluator === undefined) return undefined;
  const audit = evaluator.audit(input);
  const dryRun = evaluator.trial && tryCandidates(evaluator, evaluator.trial, input);
  return audit === undefined && dryRun === undefined ? undefined : { audit, dryRun };
}

function tryCandidates(evaluator: Evaluator, trial: Trial, input: DecisionInput): DryRunVerdict {
  const today = evaluator.decide(input);
  const candidate = trial.decide(input);
  const isNew = today.isAllowed && candidate.reason === 'no-allow-match';
  const near = isNew ? nearestAllow(trial, input) : undefined;
  return { trial, today, candidate, nearest: near && formatNearMiss(near) };
}
