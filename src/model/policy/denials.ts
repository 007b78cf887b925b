// What a refused caller is told: the status and text that a policy sets, and the reason where its namespace has opted in.
import { ruleNamePrefix } from './rule-name.ts';
import type { AuthorizationPolicy } from './types.ts';

/** `weft.dev/explain-denials` of a Namespace: a header, or a problem document (RFC 9457) as the body. */
export const EXPLANATIONS = ['header', 'problem'] as const;
export type DenialExplanation = (typeof EXPLANATIONS)[number];

/** Header that names the rule which refused. */
export const DENIED_BY = 'x-weft-denied-by';
export const DEFAULT_DENIAL = { status: 403, body: 'RBAC: access denied' } as const;
/** In place of a rule's name where no ALLOW rule matched. */
export const NO_RULE = 'none';

/** How refusals of some rules are answered; of several the first holds. */
export interface DenialReply {
  /** What the deciding rule's name begins with; `none`: no ALLOW rule matched. */
  readonly rules: string;
  readonly status?: number;
  readonly body?: string;
  readonly explain?: DenialExplanation;
}

/**
 * The answers of one workload. A DENY policy speaks for itself. Where no ALLOW rule matched, the first ALLOW policy by
 * namespace and name that sets an answer speaks for all.
 * @param explained by namespace: a rule is shown where the policy's own namespace wants it, that none matched where
 *   the workload's does.
 */
export function compileDenials(
  policies: readonly AuthorizationPolicy[],
  explained: ReadonlyMap<string, DenialExplanation>,
  namespace: string,
): readonly DenialReply[] {
  const replies: DenialReply[] = [];
  const reply = (
    rules: string,
    denial: AuthorizationPolicy['denial'],
    explain: DenialExplanation | undefined,
  ): void => {
    if (denial === undefined && explain === undefined) return;
    replies.push({ rules, ...denial, ...(explain && { explain }) });
  };
  const speaking = policies.filter(({ isDryRun }) => !isDryRun).sort(byName);
  for (const policy of speaking) {
    if (policy.action !== 'DENY' || policy.denial === undefined) continue;
    reply(ruleNamePrefix(policy), policy.denial, explained.get(policy.namespace));
  }
  for (const [name, explain] of explained) reply(`ns[${name}]-`, undefined, explain);
  const allowing = speaking.find(
    ({ action, denial }) => action === 'ALLOW' && denial !== undefined,
  );
  reply(NO_RULE, allowing?.denial, explained.get(namespace));
  return replies;
}

const byName = (a: AuthorizationPolicy, b: AuthorizationPolicy): number =>
  a.namespace === b.namespace ? (a.name < b.name ? -1 : 1) : a.namespace < b.namespace ? -1 : 1;

/** What a caller is told. */
export interface DenialAnswer {
  readonly status: number;
  readonly body: string;
  /** `[name, value, …]`. */
  readonly headers: readonly string[];
}

/** @param rule the deciding rule's name; `undefined` when no ALLOW rule matched. */
export function answerDenial(
  replies: readonly DenialReply[],
  rule: string | undefined,
): DenialAnswer {
  const found = replies.find(({ rules }) =>
    rule === undefined ? rules === NO_RULE : rules !== NO_RULE && rule.startsWith(rules),
  );
  const { status = DEFAULT_DENIAL.status, body = DEFAULT_DENIAL.body, explain } = found ?? {};
  const policy = rule ?? NO_RULE;
  if (explain === undefined) return { status, body, headers: [] };
  if (explain === 'header') return { status, body, headers: [DENIED_BY, policy] };
  const problem = { ...PROBLEM, status, detail: body, policy };
  return { status, body: JSON.stringify(problem), headers: ['content-type', PROBLEM_TYPE] };
}

export const PROBLEM_TYPE = 'application/problem+json';
/** What does not change of a problem document. */
export const PROBLEM = { type: 'about:blank', title: 'Access denied' } as const;
