// Turns policies into the rule sets a proxy enforces: what each field means, for HTTP and for TCP.
import { compileCondition } from './compile-condition.ts';
import { orPermissions, type CompiledTest, type CompileOptions } from './compile-parts.ts';
import { compileSource } from './compile-source.ts';
import { headerMatcher, hostMatchers, pathPermission } from './compile-strings.ts';
import type { Permission, Principal, RbacChain, RbacPolicy, RbacRules } from './rbac.ts';
import { type Named, ruleName } from './rule-name.ts';
import type { AuthorizationPolicy, FieldValues, Operation, OperationField, Rule } from './types.ts';

/**
 * A policy that arrived broken and has no good version to fall back on: it closes what it was to govern.
 * `readBrokenPolicy` makes it from a manifest.
 */
export interface BrokenPolicy {
  readonly namespace: string;
  readonly name: string;
  /** As written; `undefined` when not even that could be read. */
  readonly action: string | undefined;
  /** Absent: every workload of the namespace. */
  readonly selector?: ReadonlyMap<string, string> | undefined;
}

/**
 * Compiles the policies that select one workload: a LOG set (AUDIT), a DENY set and an ALLOW set, each only when a
 * policy asks for it, in the order in which they are tried.
 * - AUDIT marks what matches and decides nothing; what the others then decide is not changed by it.
 * - `spec: {}` gives an ALLOW set without policies: everything is denied.
 * - TCP: an ALLOW rule with an HTTP attribute is dropped whole, a DENY or AUDIT rule keeps the rest of itself. Both ways
 *   deny and mark more, never less (policy contract section 5).
 * - broken policies: an ALLOW allows nothing and makes the workload need an ALLOW; AUDIT decides nothing, as it never
 *   does; everything else denies all.
 * - dry run enforces nothing: see `compileCandidates`.
 * - CUSTOM: on HTTP the authorizer is asked before all this (`compileCustom`). On TCP nobody asks, and what matches is
 *   denied. Where there is no authorizer of that name everything is denied.
 * Rules stand in the order of their names, as every proxy tries them: of several that match, all name the same one.
 */
export function compilePolicies(
  policies: readonly AuthorizationPolicy[],
  broken: readonly BrokenPolicy[],
  options: CompileOptions,
): RbacChain {
  const chain: RbacRules[] = [];
  const enforced = policies.filter((policy) => !policy.isDryRun);
  const rulesOf = (action: AuthorizationPolicy['action']): readonly RbacPolicy[] =>
    compileAction(enforced, action, options);
  const orphans = enforced.filter((one) => one.action === 'CUSTOM' && !isAsked(one, options));
  const unasked =
    options.protocol === 'http' ? [] : compileAction(asked(enforced, options), 'CUSTOM', options);
  const closing = broken.filter(({ action }) => action !== 'ALLOW' && action !== 'AUDIT');
  const muted = broken.filter(({ action }) => action === 'ALLOW');
  const audited = rulesOf('AUDIT');
  if (audited.length > 0) chain.push({ action: 'LOG', policies: inOrder(audited) });
  if (
    enforced.some(({ action }) => action === 'DENY') ||
    orphans.length + unasked.length + closing.length > 0
  ) {
    const rules = [...rulesOf('DENY'), ...unasked, ...[...orphans, ...closing].map(denyAll)];
    chain.push({ action: 'DENY', policies: inOrder(rules) });
  }
  if (enforced.some(({ action }) => action === 'ALLOW') || muted.length > 0) {
    chain.push({ action: 'ALLOW', policies: inOrder([...rulesOf('ALLOW'), ...muted.map(never)]) });
  }
  return chain;
}

/**
 * Compiles the policies that are on trial (dry run): what they would add to the DENY and to the ALLOW set. An ALLOW that
 * allows nothing is there with a rule that never matches, so that it can be named.
 */
export function compileCandidates(
  policies: readonly AuthorizationPolicy[],
  options: CompileOptions,
): RbacChain {
  const candidates = policies.filter((policy) => policy.isDryRun);
  return (['DENY', 'ALLOW'] as const).flatMap((action): RbacRules[] => {
    const rules = candidates.filter((policy) => policy.action === action);
    const compiled = rules.flatMap((policy) => {
      const own = compilePolicy(policy, options);
      return own.length > 0 ? own : [{ ...never(policy), name: ruleName(policy, 'none') }];
    });
    return rules.length === 0 ? [] : [{ action, policies: inOrder(compiled) }];
  });
}

/** What one external authorizer is asked about: requests that these DENY rules match. */
export interface CustomRules {
  readonly provider: string;
  readonly rules: RbacRules;
}

/** By the names of the authorizers; each is asked about what its own policies match, and every one must agree. */
export function compileCustom(
  policies: readonly AuthorizationPolicy[],
  options: CompileOptions,
): readonly CustomRules[] {
  const custom = asked(policies, options);
  const names = new Set(custom.flatMap(({ provider }) => provider ?? []));
  return [...names].sort().map((provider) => {
    const own = custom.filter((policy) => policy.provider === provider);
    const rules = inOrder(compileAction(own, 'CUSTOM', options));
    return { provider, rules: { action: 'DENY', policies: rules } };
  });
}

/**
 * Rules by which something else than access is chosen.
 * @param action which way a doubtful reading goes: DENY matches more, ALLOW less.
 */
export function compileMatch(
  policy: Named,
  rules: readonly Rule[],
  action: 'ALLOW' | 'DENY',
  options: CompileOptions,
): RbacRules {
  const unselected = { createdAtMs: 0, selector: undefined, provider: undefined, targetRefs: [] };
  const whole = { ...policy, ...unselected, action, rules, isDryRun: false };
  return { action, policies: inOrder(compilePolicy(whole, options)) };
}

const isAsked = ({ provider }: AuthorizationPolicy, { providers }: CompileOptions): boolean =>
  provider !== undefined && providers?.has(provider) === true;

const asked = (
  policies: readonly AuthorizationPolicy[],
  options: CompileOptions,
): readonly AuthorizationPolicy[] =>
  policies.filter((one) => one.action === 'CUSTOM' && !one.isDryRun && isAsked(one, options));

const compileAction = (
  policies: readonly AuthorizationPolicy[],
  action: AuthorizationPolicy['action'],
  options: CompileOptions,
): readonly RbacPolicy[] =>
  policies
    .filter((policy) => policy.action === action)
    .flatMap((policy) => compilePolicy(policy, options));

/** By name, each name once: two objects of one name stay two rules, where a proxy would keep the last of them alone. */
function inOrder(rules: readonly RbacPolicy[]): readonly RbacPolicy[] {
  const seen = new Map<string, number>();
  const named = rules.map((rule) => {
    const count = (seen.get(rule.name) ?? 0) + 1;
    seen.set(rule.name, count);
    return count === 1 ? rule : { ...rule, name: `${rule.name}-copy[${count}]` };
  });
  return named.sort((a, b) => (a.name < b.name ? -1 : 1));
}

const denyAll = (policy: Named): RbacPolicy => ({
  name: ruleName(policy, 'invalid'),
  permissions: [{ kind: 'any' }],
  principals: [{ kind: 'any' }],
});

/** Allows nothing; there so that dumps and explanations can name it. */
const never = (policy: Named): RbacPolicy => ({
  name: ruleName(policy, 'invalid'),
  permissions: [{ kind: 'not', rule: { kind: 'any' } }],
  principals: [{ kind: 'any' }],
});

function compilePolicy(
  policy: AuthorizationPolicy,
  options: CompileOptions,
): readonly RbacPolicy[] {
  return (policy.rules ?? []).flatMap((rule, index) => {
    const compiled = compileRule(policy, rule, options);
    if (compiled === undefined) return [];
    return [{ name: ruleName(policy, index), ...compiled }];
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
    andPermissions([
      ...keep(compileOperation(operation, policy.action, options)),
      ...whenPermissions,
    ]),
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
  action: AuthorizationPolicy['action'],
  options: CompileOptions,
): readonly CompiledTest<Permission>[] {
  // What a CUSTOM names is asked about: asking about more is the safe side.
  const isDeny = action === 'DENY' || action === 'CUSTOM';
  return operation.flatMap(({ field, values, notValues }: FieldValues<OperationField>) => {
    if (field !== 'ports' && options.protocol === 'tcp') return [{ kind: 'http-only' as const }];
    const anyOf = (texts: readonly string[], isWide: boolean): Permission =>
      orPermissions(texts.flatMap((text) => operationPermissions(field, text, isWide)));
    const tests: CompiledTest<Permission>[] = [];
    if (values.length > 0) tests.push({ kind: 'test', test: anyOf(values, isDeny) });
    if (notValues.length > 0) {
      const rule = anyOf(notValues, !isDeny);
      tests.push({ kind: 'test', test: { kind: 'not', rule } });
    }
    return tests;
  });
}

/** @param isWide whether matching more is the safe side here: what a DENY names, what an ALLOW excludes. */
function operationPermissions(
  field: OperationField,
  value: string,
  isWide: boolean,
): readonly Permission[] {
  switch (field) {
    case 'hosts':
      return hostMatchers(value, isWide).map((header) => ({ kind: 'header', header }));
    case 'methods':
      return [{ kind: 'header', header: headerMatcher(':method', value) }];
    case 'paths':
      return [pathPermission(value)];
    case 'ports':
      return [{ kind: 'destinationPort', port: Number(value) }];
    default:
      return field satisfies never;
  }
}
