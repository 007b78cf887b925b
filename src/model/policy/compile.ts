// Turns policies into the rule sets a proxy enforces: what each field means, for HTTP and for TCP.
import { compileCondition } from './compile-condition.ts';
import { orPermissions, type CompiledTest, type CompileOptions } from './compile-parts.ts';
import { compileSource } from './compile-source.ts';
import { exactHost, headerMatcher, pathPermission } from './compile-strings.ts';
import type { Permission, Principal, RbacChain, RbacPolicy, RbacRules } from './rbac.ts';
import type { AuthorizationPolicy, FieldValues, Operation, OperationField, Rule } from './types.ts';

/** A policy that arrived broken and has no good version to fall back on: it closes what it was to govern. */
export interface BrokenPolicy {
  readonly namespace: string;
  readonly name: string;
  /** `undefined` when not even that could be read. */
  readonly action: string | undefined;
}

export const ruleName = (namespace: string, name: string, rule: number | 'invalid'): string =>
  rule === 'invalid'
    ? `ns[${namespace}]-policy[${name}]-invalid`
    : `ns[${namespace}]-policy[${name}]-rule[${rule}]`;

/**
 * Compiles the policies that select one workload: a DENY set and an ALLOW set, each only when a policy asks for it.
 * - `spec: {}` gives an ALLOW set without policies: everything is denied.
 * - TCP: an ALLOW rule with an HTTP attribute is dropped whole, a DENY rule keeps the rest of itself. Both ways deny
 *   more, never less (policy contract section 5).
 * - broken policies: an ALLOW contributes nothing but its presence; everything else denies all.
 */
export function compilePolicies(
  policies: readonly AuthorizationPolicy[],
  broken: readonly BrokenPolicy[],
  options: CompileOptions,
): RbacChain {
  const chain: RbacRules[] = [];
  const deny = policies.filter((policy) => policy.action === 'DENY' && !policy.isDryRun);
  const allow = policies.filter((policy) => policy.action === 'ALLOW' && !policy.isDryRun);
  const closing = broken.filter((policy) => policy.action !== 'ALLOW');
  if (deny.length + closing.length > 0) {
    const rules = deny.flatMap((policy) => compilePolicy(policy, options));
    chain.push({ action: 'DENY', policies: [...closing.map(denyAll), ...rules] });
  }
  if (allow.length + broken.length - closing.length > 0) {
    chain.push({
      action: 'ALLOW',
      policies: allow.flatMap((policy) => compilePolicy(policy, options)),
    });
  }
  return chain;
}

const denyAll = ({ namespace, name }: BrokenPolicy): RbacPolicy => ({
  name: ruleName(namespace, name, 'invalid'),
  permissions: [{ kind: 'any' }],
  principals: [{ kind: 'any' }],
});

function compilePolicy(
  policy: AuthorizationPolicy,
  options: CompileOptions,
): readonly RbacPolicy[] {
  return (policy.rules ?? []).flatMap((rule, index) => {
    const compiled = compileRule(policy, rule, options);
    if (compiled === undefined) return [];
    return [{ name: ruleName(policy.namespace, policy.name, index), ...compiled }];
  });
}

/** @returns `undefined` when the rule has no meaning on this protocol and is dropped. */
function compileRule(
  policy: AuthorizationPolicy,
  rule: Rule,
  options: CompileOptions,
): Omit<RbacPolicy, 'name'> | undefined {
  let isWhole = true;
  const keep = <T>(compiled: readonly CompiledTest<T>[]): readonly T[] =>
    compiled.flatMap((item) => {
      if (item.kind === 'test') return [item.test];
      isWhole = false;
      return [];
    });
  const conditions = rule.when.map((condition) =>
    compileCondition(condition, policy.namespace, options),
  );
  const whenPermissions = keep(
    conditions.flatMap((item) => (item.on === 'permission' ? [item.compiled] : [])),
  );
  const whenPrincipals = keep(
    conditions.flatMap((item) => (item.on === 'principal' ? [item.compiled] : [])),
  );
  const permissions = (rule.to ?? [[]]).map((operation) =>
    andPermissions([...keep(compileOperation(operation, options)), ...whenPermissions]),
  );
  const principals = (rule.from ?? [[]]).map((source) =>
    andPrincipals([...keep(compileSource(source, policy.namespace, options)), ...whenPrincipals]),
  );
  if (!isWhole && policy.action === 'ALLOW') return undefined;
  return { permissions, principals };
}

function andPermissions(rules: readonly Permission[]): Permission {
  const [only, ...more] = rules;
  if (only === undefined) return { kind: 'any' };
  return more.length === 0 ? only : { kind: 'and', rules };
}

function andPrincipals(ids: readonly Principal[]): Principal {
  const [only, ...more] = ids;
  if (only === undefined) return { kind: 'any' };
  return more.length === 0 ? only : { kind: 'and', ids };
}

function compileOperation(
  operation: Operation,
  options: CompileOptions,
): readonly CompiledTest<Permission>[] {
  return operation.flatMap(({ field, values, notValues }: FieldValues<OperationField>) => {
    if (field !== 'ports' && options.protocol === 'tcp') return [{ kind: 'http-only' as const }];
    const of = (value: string): Permission => operationPermission(field, value);
    const tests: CompiledTest<Permission>[] = [];
    if (values.length > 0) tests.push({ kind: 'test', test: orPermissions(values.map(of)) });
    if (notValues.length > 0) {
      tests.push({ kind: 'test', test: { kind: 'not', rule: orPermissions(notValues.map(of)) } });
    }
    return tests;
  });
}

function operationPermission(field: OperationField, value: string): Permission {
  switch (field) {
    case 'hosts':
      return { kind: 'header', header: exactHost(value) };
    case 'methods':
      return { kind: 'header', header: headerMatcher(':method', value) };
    case 'paths':
      return pathPermission(value);
    case 'ports':
      return { kind: 'destinationPort', port: Number(value) };
    default:
      return field satisfies never;
  }
}
