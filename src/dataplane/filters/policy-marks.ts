// What policies say of a request or connection without deciding it: AUDIT rules that match, for the log and for counting.
import type { DecisionInput, Evaluator } from '@weft/model/policy/evaluate';

export interface PolicyMarks {
  /** The first AUDIT rule that matches. */
  readonly audit: string | undefined;
}

/** @returns `undefined` when nothing is to be marked, which costs nothing. */
export function markRequest(
  evaluator: Evaluator | undefined,
  input: DecisionInput,
): PolicyMarks | undefined {
  const audit = evaluator?.audit(input);
  return audit === undefined ? undefined : { audit };
}
