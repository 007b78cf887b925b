// Says why a rule matched: of its alternatives the ones that held, each with what it asks for and what was seen.
import { compilePermission, compilePrincipal, type DecisionInput } from './evaluate.ts';
import {
  formatWanted,
  permissionClause,
  principalClause,
  requestPrincipalClause,
  type Clause,
} from './explain.ts';
import type { Permission, Principal, RbacPolicy } from './rbac.ts';

/** @returns what held of a rule that matches; empty when it asks for nothing, or does not match. */
export function matchedClauses(
  policy: RbacPolicy,
  input: DecisionInput,
  isDeny: boolean,
): readonly Clause[] {
  const principal = policy.principals.find((item) => compilePrincipal(item)(input));
  const permission = policy.permissions.find((item) => compilePermission(item, isDeny)(input));
  if (principal === undefined || permission === undefined) return [];
  return [
    ...principalMatches(principal, input),
    ...permissionMatches(permission, input, isDeny),
  ].filter(({ field }) => field !== 'any');
}

function principalMatches(principal: Principal, input: DecisionInput): readonly Clause[] {
  if (principal.kind === 'and') {
    const whole = requestPrincipalClause(principal.ids, input);
    return whole === undefined
      ? principal.ids.flatMap((id) => principalMatches(id, input))
      : [whole];
  }
  if (principal.kind === 'or') {
    const held = principal.ids.find((id) => compilePrincipal(id)(input));
    return held === undefined ? [] : principalMatches(held, input);
  }
  const clause = principalClause(principal, input);
  return clause === undefined ? [] : [clause];
}

function permissionMatches(
  permission: Permission,
  input: DecisionInput,
  isWide: boolean,
): readonly Clause[] {
  if (permission.kind === 'and') {
    return permission.rules.flatMap((rule) => permissionMatches(rule, input, isWide));
  }
  if (permission.kind === 'or') {
    const held = permission.rules.find((rule) => compilePermission(rule, isWide)(input));
    return held === undefined ? [] : permissionMatches(held, input, isWide);
  }
  const clause = permissionClause(permission, input);
  return clause === undefined ? [] : [clause];
}

/** `path is "/a/b", as /a/* asks`. */
export function formatMatch({ field, wanted, isNegated, seen }: Clause): string {
  const was = seen === undefined ? `there is no ${field}` : `${field} is ${JSON.stringify(seen)}`;
  if (wanted.length === 0) return was;
  const list = formatWanted(wanted).join(', ');
  return isNegated ? `${was}, which is not ${list}` : `${was}, as ${list} asks`;
}
