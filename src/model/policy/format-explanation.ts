// Says an explanation as a person would: the answer first, then mutual TLS, the policies, the rule and its clauses.
import { formatClause } from './explain.ts';
import type { CallExplanation, SelectingPolicy } from './explain-calls.ts';
import { formatMatch } from './explain-match.ts';
import type { CallQuestion } from './question.ts';

/** Names of workloads and policies that are shown before it is "and N more". */
const MAX_NAMES = 5;

function some(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES).join(', ');
  return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown;
}

export function formatExplanation(question: CallQuestion, answer: CallExplanation): string {
  const verdict = answer.isAllowed ? 'ALLOWED' : 'DENIED';
  const lines = [`${verdict}  ${callText(question, answer)}`];
  const add = (label: string, text: string): void => {
    lines.push(`  ${label.padEnd(9)} ${text}`);
  };
  add('mTLS', mtlsText(question, answer));
  add('policies', policiesText(answer.policies));
  add('because', becauseText(answer));
  for (const clause of answer.matched) lines.push(`  ${' '.repeat(9)} - ${formatMatch(clause)}`);
  if (answer.nearest !== undefined) {
    const { rule, failed } = answer.nearest;
    add('nearest', `${ruleText(rule)}, of which this failed:`);
    for (const clause of failed) lines.push(`  ${' '.repeat(9)} - ${formatClause(clause)}`);
  }
  for (const note of answer.notes) add('note', note);
  return lines.join('\n');
}

function callText(question: CallQuestion, { workloads, port, carries }: CallExplanation): string {
  const who = question.from ?? 'a plaintext caller';
  const what = carries === 'http' ? `${question.method} ${question.path}` : 'a TCP connection';
  return `${who} → ${some(workloads)} port ${port}: ${what}`;
}

function mtlsText({ from }: CallQuestion, { mode, reason }: CallExplanation): string {
  switch (mode) {
    case 'STRICT':
      return reason === 'mtls-required'
        ? 'STRICT: plaintext is refused before any policy is asked'
        : 'STRICT: every caller shows its certificate';
    case 'PERMISSIVE':
      return from === undefined
        ? 'PERMISSIVE: plaintext is let in, without an identity'
        : 'PERMISSIVE: with a certificate or in plaintext; this caller shows one';
    case 'DISABLE':
      return 'DISABLE: plaintext alone, without identities';
    default:
      return mode satisfies never;
  }
}

function policiesText(policies: readonly SelectingPolicy[]): string {
  if (policies.length === 0) return 'none selects it';
  return some(
    policies.map(({ namespace, name, action, isBroken, isDryRun, rules }) => {
      const more = isBroken
        ? 'broken: closes what it selects'
        : isDryRun
          ? 'dry run: decides nothing'
          : `${rules} ${rules === 1 ? 'rule' : 'rules'}`;
      return `${action} ${namespace}/${name} (${more})`;
    }),
  );
}

function becauseText({ reason, decidedBy, isAllowed, nearest }: CallExplanation): string {
  switch (reason) {
    case 'closed-at-grpc':
      return 'a sidecar would let it in; its gRPC server has none, and closes what it cannot judge';
    case 'no-sidecar':
      return 'nothing there enforces anything';
    case 'no-policy':
      return 'no policy selects it, or none that could refuse: everything is allowed';
    case 'allow-rule':
    case 'deny-rule':
      return `${ruleText(decidedBy ?? '?')} ${isAllowed ? 'allows' : 'denies'} it`;
    case 'no-allow-match':
      return nearest === undefined
        ? 'ALLOW policies select it and none of them has a rule that could match'
        : 'ALLOW policies select it and no rule of theirs matches';
    case 'custom-denied':
      return `the external authorizer of ${ruleText(decidedBy ?? '?')} refuses it`;
    case 'mtls-required':
      return 'the port asks for mutual TLS';
    case 'unknown-trust-domain':
      return "the caller's trust domain is not the mesh's: the handshake is refused";
    case 'not-http':
      return 'the port is declared as HTTP, and this is none';
    case 'unknown-issuer':
      return 'its token is of an issuer that no RequestAuthentication names: answered 401';
    case 'method-not-upper-case':
      return 'the method is not in capitals: answered 400';
    case 'path-control-byte':
    case 'path-null':
    case 'path-dot-parameters':
    case 'path-ambiguous':
      return `the path can be read in two ways (${reason}): answered 400`;
    default:
      return reason satisfies never;
  }
}

/** `ns[shop]-policy[p]-rule[0]` as `rule 0 of shop/p`; what has another form as it is. */
export function ruleText(name: string): string {
  const parts = name.split('[');
  const inner = (index: number): string | undefined => parts[index]?.split(']', 1)[0];
  const [namespace, policy, rule] = [inner(1), inner(2), inner(3)];
  if (!name.startsWith('ns[') || namespace === undefined || policy === undefined) return name;
  if (name.endsWith('-invalid')) return `${namespace}/${policy}, which is broken,`;
  return rule === undefined ? name : `rule ${rule} of ${namespace}/${policy}`;
}
