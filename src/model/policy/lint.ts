// Finds in a mesh what is in force and can hardly be meant: rules that others make idle, paths, methods and ports that never match.
import type { InboundSpec, Mesh, MeshSettings, Workload } from '../mesh/mesh.ts';
import type { Problem } from '../problem.ts';
import { coversRule } from './covers.ts';
import { normalizeTarget, type PathNormalization } from './path.ts';
import { matchesLabels, selects } from './select.ts';
import type { AuthorizationPolicy, Rule } from './types.ts';

/** Pairs of rules that are compared; a mesh with more has its first ones looked at. */
const MAX_PAIRS = 1_000_000;

interface Texts {
  readonly field: string;
  readonly message: string;
  readonly cure: string;
}

const warn = (policy: AuthorizationPolicy, code: string, texts: Texts): Problem => ({
  severity: 'warning',
  code,
  object: { kind: 'AuthorizationPolicy', namespace: policy.namespace, name: policy.name },
  ...texts,
});

/** Besides what compiling the mesh reports itself. */
export function lintMesh(mesh: Mesh): readonly Problem[] {
  const judged = judgedOf(mesh);
  const shadowed = findShadowed(judged, mesh.settings.rootNamespace);
  return [...shadowed, ...judged.flatMap((policy) => findIdle(mesh, policy))];
}

/** As `lintMesh`, of one policy. @param maxPairs rules that are compared with each other. */
export function lintPolicy(
  mesh: Mesh,
  policy: AuthorizationPolicy,
  maxPairs: number,
): readonly Problem[] {
  const shadowed = findShadowed(judgedOf(mesh), mesh.settings.rootNamespace, maxPairs);
  const { namespace, name } = policy;
  const own = shadowed.filter(
    ({ object }) => object?.name === name && object.namespace === namespace,
  );
  return policy.targetRefs.length > 0 ? own : [...own, ...findIdle(mesh, policy)];
}

const judgedOf = ({ policies }: Mesh): readonly AuthorizationPolicy[] =>
  policies.authorization.filter(({ targetRefs }) => targetRefs.length === 0);

function findIdle({ settings, workloads }: Mesh, policy: AuthorizationPolicy): readonly Problem[] {
  const all = [...workloads.values()];
  const selected = all.filter((one) => selects(policy, one, settings.rootNamespace));
  return [
    ...pathProblems(policy, settings),
    ...methodProblems(policy),
    ...portProblems(policy, selected),
    ...callerProblems(policy, all, settings),
  ];
}

interface Placed {
  readonly policy: AuthorizationPolicy;
  readonly rule: Rule;
  readonly index: number;
  /** Among all rules. */
  readonly order: number;
}

/**
 * Rules that decide nothing of their own: another of the same action, that holds wherever they do, matches all that they
 * match; or a DENY takes all that an ALLOW gives.
 * @param maxPairs how many are compared with each other; what is beyond is not looked at.
 */
export function findShadowed(
  policies: readonly AuthorizationPolicy[],
  rootNamespace: string,
  maxPairs: number = MAX_PAIRS,
): readonly Problem[] {
  const byNamespace = new Map<string, Placed[]>();
  let order = 0;
  for (const policy of policies) {
    if (policy.isDryRun || (policy.action !== 'ALLOW' && policy.action !== 'DENY')) continue;
    const group = byNamespace.get(policy.namespace) ?? [];
    byNamespace.set(policy.namespace, group);
    for (const [index, rule] of (policy.rules ?? []).entries()) {
      group.push({ policy, rule, index, order: order++ });
    }
  }
  const root = byNamespace.get(rootNamespace) ?? [];
  const problems: Problem[] = [];
  let pairs = 0;
  for (const [namespace, group] of byNamespace) {
    const others = namespace === rootNamespace ? group : [...root, ...group];
    for (const narrow of group) {
      pairs += others.length;
      if (pairs > maxPairs) return problems;
      const wide = others.find((one) => isShadowing(one, narrow, rootNamespace));
      if (wide !== undefined) problems.push(shadowed(narrow, wide));
    }
  }
  return problems;
}

function isShadowing(wide: Placed, narrow: Placed, rootNamespace: string): boolean {
  if (wide === narrow) return false;
  const isSame = wide.policy.action === narrow.policy.action;
  if (!isSame && wide.policy.action !== 'DENY') return false;
  if (!holdsWherever(wide.policy, narrow.policy, rootNamespace)) return false;
  if (!coversRule(wide.rule, narrow.rule)) return false;
  if (!isSame) return true;
  /** Of two that are equal the later one is idle. */
  const isMutual =
    holdsWherever(narrow.policy, wide.policy, rootNamespace) && coversRule(narrow.rule, wide.rule);
  return !isMutual || wide.order < narrow.order;
}

function holdsWherever(
  wide: AuthorizationPolicy,
  narrow: AuthorizationPolicy,
  rootNamespace: string,
): boolean {
  if (wide.namespace !== rootNamespace && wide.namespace !== narrow.namespace) return false;
  return matchesLabels(wide.selector, narrow.selector ?? new Map());
}

function shadowed(narrow: Placed, wide: Placed): Problem {
  const { policy, index } = narrow;
  const by = `rule ${wide.index} of ${wide.policy.namespace}/${wide.policy.name}`;
  const isDenied = wide.policy.action !== policy.action;
  const message = isDenied
    ? `allows nothing: ${by} denies all that it matches`
    : `changes nothing: ${by} matches all that it matches`;
  const cure = isDenied
    ? 'remove it, or narrow the DENY'
    : 'remove it, or narrow the other: one of the two is not what was meant';
  return warn(policy, 'shadowed-rule', { field: `spec.rules[${index}]`, message, cure });
}

interface NamedText {
  readonly text: string;
  readonly field: string;
  /** The rule is wider where this text does not match. */
  readonly isExcluding: boolean;
}

function* textsOf(policy: AuthorizationPolicy, name: 'paths' | 'methods' | 'ports') {
  for (const [index, rule] of (policy.rules ?? []).entries()) {
    for (const [at, operation] of (rule.to ?? []).entries()) {
      for (const { field, values, notValues } of operation) {
        if (field !== name) continue;
        const place = `spec.rules[${index}].to[${at}].operation`;
        const negated = `not${name.charAt(0).toUpperCase()}${name.slice(1)}`;
        for (const text of values) {
          yield { text, field: `${place}.${name}`, isExcluding: false } satisfies NamedText;
        }
        for (const text of notValues) {
          yield { text, field: `${place}.${negated}`, isExcluding: true } satisfies NamedText;
        }
      }
    }
  }
}

/** Spellings that applications may read as `/`, and what takes them out. */
const SPELLINGS: Readonly<Record<PathNormalization, string | undefined>> = {
  NONE: '/x/../admin, //admin and /%61dmin',
  BASE: '//admin and /%2Fadmin',
  MERGE_SLASHES: '/%2Fadmin',
  DECODE_AND_MERGE_SLASHES: undefined,
};

function pathProblems(
  policy: AuthorizationPolicy,
  { pathNormalization: mode }: MeshSettings,
): readonly Problem[] {
  const problems: Problem[] = [];
  const restricting: NamedText[] = [];
  for (const named of textsOf(policy, 'paths')) {
    const { text, field, isExcluding } = named;
    const why = whyNever(text, mode);
    if (why !== undefined) {
      const message = `names ${text}, which no request has: ${why}`;
      const cure = 'write the path as it is after normalisation, without query';
      problems.push(warn(policy, 'path-never-matches', { field, message, cure }));
    }
    const isRestricting = policy.action === 'DENY' ? !isExcluding : isExcluding;
    if (isRestricting && text !== '*' && !text.startsWith('*')) restricting.push(named);
  }
  const [first] = restricting;
  const spellings = SPELLINGS[mode];
  if (first !== undefined && spellings !== undefined) {
    const message = `keeps callers from ${first.text}, and with pathNormalization ${mode} other spellings of a path get past, as ${spellings} do for /admin: an application may read them alike`;
    const cure =
      'set pathNormalization: DECODE_AND_MERGE_SLASHES in the MeshConfig, or say what is allowed instead';
    problems.push(warn(policy, 'deny-path-spelling', { field: first.field, message, cure }));
  }
  return problems;
}

function whyNever(text: string, mode: PathNormalization): string | undefined {
  const literal = text.endsWith('*') ? text.slice(0, -1) : text.startsWith('*') ? '' : text;
  const end = literal.indexOf('{');
  const fixed = end === -1 ? literal : literal.slice(0, end);
  if (fixed === '') return undefined;
  if (fixed.includes('?') || fixed.includes('#')) return 'the query is no part of it';
  if (!fixed.startsWith('/')) return 'it does not begin with a slash';
  const normalized = normalizeTarget(fixed, mode);
  if (!normalized.ok) return `such a request is answered 400 (${normalized.reasonCode})`;
  /** A cut-off `/..` or `/a%` may go on otherwise. */
  const isWhole = fixed === text;
  if (!isWhole && (fixed.endsWith('.') || fixed.endsWith('%'))) return undefined;
  return normalized.target === fixed ? undefined : `it is normalised to ${normalized.target}`;
}

function methodProblems(policy: AuthorizationPolicy): readonly Problem[] {
  return [...textsOf(policy, 'methods')].flatMap(({ text, field }) => {
    if (text === text.toUpperCase()) return [];
    const message = `names ${text}, which no request has: methods are in capitals`;
    return [
      warn(policy, 'method-never-matches', { field, message, cure: `write ${text.toUpperCase()}` }),
    ];
  });
}

/** Of the workloads themselves, not of the Services before them. */
function portProblems(
  policy: AuthorizationPolicy,
  selected: readonly Workload[],
): readonly Problem[] {
  const specs = new Set<InboundSpec>(selected.map(({ inbound }) => inbound));
  const ports = new Set([...specs].flatMap((spec) => spec.ports.map(({ port }) => String(port))));
  if (ports.size === 0) return [];
  return [...textsOf(policy, 'ports')].flatMap(({ text, field }) => {
    if (ports.has(text)) return [];
    const message = `names port ${text}, and no workload that it selects declares it`;
    const cure = `ports are the workload's, not the Service's: here ${[...ports].join(', ')}`;
    return [warn(policy, 'unknown-port', { field, message, cure })];
  });
}

/** A service account that nothing runs as, in a namespace of which workloads are known. */
function callerProblems(
  policy: AuthorizationPolicy,
  workloads: readonly Workload[],
  { trustDomain }: MeshSettings,
): readonly Problem[] {
  const namespaces = new Set(workloads.map(({ namespace }) => namespace));
  const accounts = new Set(
    workloads.map(({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`),
  );
  return (policy.rules ?? []).flatMap((rule, index) =>
    (rule.from ?? []).flatMap((source, at) =>
      source.flatMap(({ field, values }) =>
        values.flatMap((text) => {
          const account = accountOf(field, text, { policy, trustDomain });
          if (account === undefined || accounts.has(account)) return [];
          if (!namespaces.has(account.slice(0, account.indexOf('/')))) return [];
          const message = `names ${text}, and no workload runs as service account ${account}`;
          const place = `spec.rules[${index}].from[${at}].source.${field}`;
          const cure = 'compare it with serviceAccountName of the Pods that are to call';
          return [warn(policy, 'unknown-caller', { field: place, message, cure })];
        }),
      ),
    ),
  );
}

function accountOf(
  field: string,
  text: string,
  of: { readonly policy: AuthorizationPolicy; readonly trustDomain: string },
): string | undefined {
  if (text.includes('*')) return undefined;
  const parts = text.split('/');
  if (field === 'serviceAccounts') {
    return parts.length === 1 ? `${of.policy.namespace}/${text}` : text;
  }
  const [domain, , namespace, , account] = parts;
  if (field !== 'principals' || parts.length !== 5) return undefined;
  const isOwn = domain === of.trustDomain || domain === 'cluster.local';
  return isOwn ? `${namespace}/${account}` : undefined;
}
