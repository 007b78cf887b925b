// Writes the least that traffic seen so far needs: one ALLOW policy a workload, with the counts behind each line.

/** One kind of call that was seen. */
export interface SeenCall {
  /** Labels that select the called workload, and a name for it. */
  readonly workload: string;
  readonly selector: ReadonlyMap<string, string>;
  readonly namespace: string;
  /** `spiffe://…`; empty for a caller without certificate. */
  readonly source: string;
  readonly port: number;
  /** Empty on TCP. */
  readonly method: string;
  /** With `{*}`; empty on TCP. */
  readonly path: string;
  readonly isAllowed: boolean;
  readonly count: number;
}

export type Confidence = 'high' | 'medium' | 'low';

export interface SuggestedOperation {
  readonly methods: readonly string[];
  /** Empty on TCP, as methods. */
  readonly paths: readonly string[];
  readonly port: number;
  readonly count: number;
  readonly confidence: Confidence;
}

export interface SuggestedRule {
  /** `TD/ns/NS/sa/SA`. */
  readonly principal: string;
  readonly operations: readonly SuggestedOperation[];
}

export interface SuggestedPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly selector: ReadonlyMap<string, string>;
  readonly rules: readonly SuggestedRule[];
  /** Calls that no rule can be written for: their callers have no identity. */
  readonly anonymous: number;
  /** Calls that were refused, and are left out. */
  readonly refused: number;
}

/** Seen so often, it is no accident; seen so seldom, it may be. */
const HIGH = 20;
const MEDIUM = 5;

const confidenceOf = (count: number): Confidence =>
  count >= HIGH ? 'high' : count >= MEDIUM ? 'medium' : 'low';

/** Calls that were allowed and whose caller is known; by workload, then caller, most frequent first. */
export function suggestPolicies(calls: readonly SeenCall[]): readonly SuggestedPolicy[] {
  const byWorkload = Map.groupBy(calls, ({ namespace, workload }) => `${namespace}/${workload}`);
  return [...byWorkload.keys()].sort().flatMap((key) => {
    const seen = byWorkload.get(key) ?? [];
    const [first] = seen;
    if (first === undefined) return [];
    const known = seen.filter(({ isAllowed, source }) => isAllowed && source !== '');
    const bySource = Map.groupBy(known, ({ source }) => source);
    const rules = [...bySource.keys()].sort().map((source) => ({
      principal: source.slice('spiffe://'.length),
      operations: operationsOf(bySource.get(source) ?? []),
    }));
    const sum = (of: readonly SeenCall[]): number =>
      of.reduce((total, { count }) => total + count, 0);
    return [
      {
        namespace: first.namespace,
        name: `${first.workload}-seen-callers`,
        selector: first.selector,
        rules,
        anonymous: sum(seen.filter(({ isAllowed, source }) => isAllowed && source === '')),
        refused: sum(seen.filter(({ isAllowed }) => !isAllowed)),
      },
    ];
  });
}

/** Methods of one path together, then paths of the same methods. */
function operationsOf(calls: readonly SeenCall[]): readonly SuggestedOperation[] {
  const byPath = Map.groupBy(calls, ({ port, path }) => `${port} ${path}`);
  const perPath = [...byPath.values()].map((seen) => ({
    port: seen[0]?.port ?? 0,
    path: seen[0]?.path ?? '',
    methods: [...new Set(seen.map(({ method }) => method))].filter(Boolean).sort(),
    count: seen.reduce((total, { count }) => total + count, 0),
  }));
  const byMethods = Map.groupBy(
    perPath,
    ({ port, methods, count }) => `${port} ${methods.join(',')} ${confidenceOf(count)}`,
  );
  return [...byMethods.values()]
    .map((group): SuggestedOperation => {
      const count = group.reduce((total, entry) => total + entry.count, 0);
      return {
        port: group[0]?.port ?? 0,
        methods: group[0]?.methods ?? [],
        paths: group
          .map(({ path }) => path)
          .filter(Boolean)
          .sort(),
        count,
        confidence: confidenceOf(Math.min(...group.map((entry) => entry.count))),
      };
    })
    .sort((a, b) => b.count - a.count);
}

const list = (values: readonly string[]): string =>
  `[${values.map((value) => JSON.stringify(value)).join(', ')}]`;

/** As a manifest, with the counts as comments. */
export function formatSuggestion(policy: SuggestedPolicy): string {
  const { namespace, name, selector, rules, anonymous, refused } = policy;
  const lines = [
    ...(anonymous > 0
      ? [`# ${anonymous} calls came without a certificate: no rule can be written for them`]
      : []),
    ...(refused > 0 ? [`# ${refused} calls were refused, and are not in here`] : []),
    'apiVersion: security.weft.dev/v1',
    'kind: AuthorizationPolicy',
    'metadata:',
    `  name: ${name}`,
    `  namespace: ${namespace}`,
    'spec:',
  ];
  if (selector.size > 0) {
    lines.push('  selector:', '    matchLabels:');
    for (const [key, value] of selector) lines.push(`      ${key}: ${JSON.stringify(value)}`);
  }
  lines.push('  action: ALLOW');
  if (rules.length === 0) return `${lines.join('\n')}\n  # nobody was seen: this allows nobody\n`;
  lines.push('  rules:');
  for (const { principal, operations } of rules) {
    lines.push(
      '    - from:',
      '        - source:',
      `            principals: ${list([principal])}`,
      '      to:',
    );
    for (const { port, methods, paths, count, confidence } of operations) {
      lines.push(`        # ${count} calls, confidence ${confidence}`, '        - operation:');
      lines.push(`            ports: ${list([String(port)])}`);
      if (methods.length > 0) lines.push(`            methods: ${list(methods)}`);
      if (paths.length > 0) lines.push(`            paths: ${list(paths)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
