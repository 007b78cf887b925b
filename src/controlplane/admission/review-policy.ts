// Decides reviews of Weft's own kinds: refuses what cannot be in force as written, with field and cure, and warns of what may not be meant.
import { isDeepStrictEqual } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { describeProblem, firstOf, type Problem } from '@weft/model/problem';
import { identify } from '../registry/identify.ts';
import { classify, type Kind } from '../registry/kinds.ts';
import type { Reading } from '../registry/reading.ts';
import type { AdmissionDecision } from './admission-review.ts';
import type { Trial } from './trial.ts';

export interface PolicyReviewOptions {
  /** Where the one MeshConfig lives. */
  readonly rootNamespace: string;
  /** Absent: nothing is known of the mesh, and no warnings come from there. */
  readonly trial?: Trial;
}

/** Problems that one message names; who has more cures these first. */
const MAX_NAMED = 5;
/** Callers that are named. */
const MAX_CALLERS = 5;

const allow = (warnings: readonly string[], note: string): AdmissionDecision => ({
  allowed: true,
  warnings: warnings.map((text) => `weft: ${text}`),
  auditAnnotations: { policy: note },
});

/** @param request the `request` of an AdmissionReview v1 */
export function reviewPolicy(
  request: PlainObject,
  options: PolicyReviewOptions,
): AdmissionDecision {
  const subresource = request['subResource'];
  if (typeof subresource === 'string' && subresource !== '') return allow([], 'subresource');
  const isDeletion = request['operation'] === 'DELETE';
  const object = request[isDeletion ? 'oldObject' : 'object'];
  if (!isPlainObject(object)) return allow([], 'no object');
  const { apiVersion, kind: name } = object;
  const kind = classify(textOf(apiVersion), textOf(name));
  if (typeof kind === 'string' || kind.close === undefined) return others(textOf(name), kind);
  if (isDeletion) return reviewDeletion(kind, object, options);
  if (isBeingDeleted(object)) return allow([], 'is being deleted');
  return reviewWrite(kind, object, { ...options, old: request['oldObject'] });
}

function others(kind: string, found: ReturnType<typeof classify>): AdmissionDecision {
  // What Weft writes itself: its schema says all there is to say.
  if (found === 'unknown' && kind === 'TrustBundle') return allow([], 'not checked');
  const text = `${kind || 'this'} is no kind that is checked here: scope the webhook's rules to Weft's kinds`;
  return allow([text], 'not checked');
}

function reviewDeletion(
  kind: Kind,
  object: PlainObject,
  options: PolicyReviewOptions,
): AdmissionDecision {
  const tried = options.trial?.({ ...identify(kind, object), object: undefined });
  return allow(callerWarnings(tried?.newlyRefused ?? []), 'deletion');
}

function reviewWrite(
  kind: Kind,
  object: PlainObject,
  options: PolicyReviewOptions & { readonly old: unknown },
): AdmissionDecision {
  const reading = kind.read(object);
  const errors = reading.problems.filter(({ severity }) => severity === 'error');
  const warnings = reading.problems
    .filter(({ severity }) => severity === 'warning')
    .map(describeProblem);
  if (errors.length > 0) {
    // One that was bad before can still be labelled, or given and relieved of finalizers: what holds stays the same.
    if (isSameBesidesBookkeeping(object, options.old)) {
      return allow([`still not in force as written: ${named(errors)}`], 'unchanged');
    }
    return refuse(kind, object, errors);
  }
  return allow(
    [
      ...warnings,
      ...placeWarnings(kind, object, options),
      ...tryOut(kind, object, { reading, ...options }),
    ],
    'checked',
  );
}

function refuse(kind: Kind, object: PlainObject, errors: readonly Problem[]): AdmissionDecision {
  const { ref } = identify(kind, object);
  const name = ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`;
  return {
    allowed: false,
    code: 422,
    message: `${kind.kind} ${name} cannot be in force as written: ${named(errors)}`,
    warnings: [],
    auditAnnotations: { policy: `refused: ${errors[0]?.code ?? ''}` },
  };
}

function placeWarnings(
  kind: Kind,
  object: PlainObject,
  { rootNamespace }: PolicyReviewOptions,
): readonly string[] {
  if (kind.scope !== 'singleton') return [];
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  if (metadata['namespace'] === rootNamespace) return [];
  return [`is not read: the ${kind.kind} of the mesh is in namespace ${rootNamespace}`];
}

function tryOut(
  kind: Kind,
  object: PlainObject,
  { reading, trial }: PolicyReviewOptions & { readonly reading: Reading },
): readonly string[] {
  const tried = trial?.({
    ...identify(kind, object),
    object: reading.kind === 'good' ? reading.objects[0] : undefined,
  });
  if (tried === undefined) return [];
  return [...callerWarnings(tried.newlyRefused), ...tried.problems.map(describeProblem)];
}

function callerWarnings(lines: readonly string[]): readonly string[] {
  const more = lines.length - MAX_CALLERS;
  const shown = lines.slice(0, MAX_CALLERS).map((line) => `would newly refuse ${line}`);
  return more > 0 ? [...shown, `would newly refuse ${more} more kinds of calls`] : shown;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const named = (problems: readonly Problem[]): string =>
  firstOf(problems.map(describeProblem), MAX_NAMED);

const metadataOf = (object: PlainObject): PlainObject =>
  isPlainObject(object['metadata']) ? object['metadata'] : {};

/** Then only finalizers may go; refusing that would keep it for ever. */
const isBeingDeleted = (object: PlainObject): boolean =>
  typeof metadataOf(object)['deletionTimestamp'] === 'string';

const BOOKKEEPING = new Set(['metadata', 'status']);
const meaning = (object: PlainObject): unknown => [
  Object.entries(object).filter(([key]) => !BOOKKEEPING.has(key)),
  // Some of them say what a policy does.
  metadataOf(object)['annotations'],
];

const isSameBesidesBookkeeping = (object: PlainObject, old: unknown): boolean =>
  isPlainObject(old) && isDeepStrictEqual(meaning(object), meaning(old));
