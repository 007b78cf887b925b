// What is wrong with something a user gave us: which thing, where, and how to cure it.

/** Where in a file a problem is. Lines and columns count from 1. */
export interface SourcePosition {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** The object a problem belongs to, as `kubectl` would name it. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/**
 * One finding. An `error` means the object is not in force (or fails closed); a `warning` means
 * that it is, and that it may not do what its author expects.
 */
export interface Problem {
  readonly severity: 'error' | 'warning';
  /** Stable, machine-readable, kebab-case: `unknown-field`, `port-clash`. */
  readonly code: string;
  /** Path to the field, `spec.rules[0].from[1].source.principals[0]`; absent when the whole is meant. */
  readonly field?: string;
  /** What is wrong, with the offending value. A sentence without a full stop. */
  readonly message: string;
  /** What to write or do instead. */
  readonly cure?: string;
  readonly object?: ObjectRef;
  readonly source?: SourcePosition;
}

/** The outcome of reading something that may be wrong: every problem, not just the first. */
export type Result<T> =
  | { readonly ok: true; readonly value: T; readonly problems: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** One line for people: `error AuthorizationPolicy shop/allow-web (policies.yaml:12) spec.rules[0]: … — cure`. */
export function formatProblem(problem: Problem): string {
  const { object, source } = problem;
  const name = object && [object.namespace, object.name].filter((part) => part !== undefined);
  const parts: string[] = [problem.severity];
  if (object && name) parts.push(`${object.kind} ${name.join('/')}`);
  if (source)
    parts.push(`(${[source.file, source.line].filter((p) => p !== undefined).join(':')})`);
  if (problem.field !== undefined) parts.push(problem.field);
  const cure = problem.cure === undefined ? '' : ` — ${problem.cure}`;
  return `${parts.join(' ')}: ${problem.message}${cure}`;
}

/** What to tell somebody who is looking at the object: `spec.rules[0]: … — cure`. */
export function describeProblem({ field, message, cure }: Problem): string {
  const what = field === undefined ? message : `${field}: ${message}`;
  return cure === undefined ? what : `${what} — ${cure}`;
}

/** As many as are asked for, and how many more there are. */
export function firstOf(texts: readonly string[], most: number): string {
  const rest = texts.length - most;
  const named = texts.slice(0, most).join('; ');
  return rest > 0 ? `${named}; and ${rest} more` : named;
}
