// Whether a Pod is injected already as it would be now: told by what it holds, for anybody can write that it is.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { RESERVED_CONTAINERS, RESERVED_VOLUMES } from './containers.ts';
import { listAt, objectAt, textAt } from './pod-shape.ts';

/**
 * @param wanted the Pod as injection would make it
 * @returns whether nothing of it is missing in `actual`, and Weft's own parts have nothing besides but defaults
 */
export function isInForce(actual: PlainObject, wanted: PlainObject): boolean {
  if (!contains(actual, wanted)) return false;
  const own = (pod: PlainObject): readonly PlainObject[] => {
    const spec = objectAt(pod, 'spec');
    const named = (key: string, names: readonly string[]): readonly PlainObject[] =>
      listAt(spec, key).filter((entry) => names.includes(textAt(entry, 'name') ?? ''));
    return [
      ...named('initContainers', RESERVED_CONTAINERS),
      ...named('containers', RESERVED_CONTAINERS),
      ...named('volumes', RESERVED_VOLUMES),
    ];
  };
  const parts = own(actual).map(withoutDefaults);
  return parts.length === own(wanted).length && contains(own(wanted), parts);
}

/**
 * Keys that the API server, or a LimitRange, adds to a container: `contains` has asked already whether what injection
 * wants of them is there.
 */
const DEFAULTED: ReadonlySet<string> = new Set([
  'imagePullPolicy',
  'resources',
  'successThreshold',
  'terminationMessagePath',
]);

function withoutDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDefaults);
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !DEFAULTED.has(key))
      .map(([key, part]) => [key, withoutDefaults(part)]),
  );
}

const nameOf = (entry: unknown): string | undefined =>
  isPlainObject(entry) && typeof entry['name'] === 'string' ? entry['name'] : undefined;

/** Lists whose order means nothing: Kubernetes and others add to them at either end. */
const UNORDERED: ReadonlySet<string> = new Set(['volumes', 'volumeMounts']);

/**
 * Mappings may have more keys, and lists of named things more of them, as long as what is wanted stands in the same
 * order; other lists and values must be equal.
 */
function contains(actual: unknown, wanted: unknown, key = ''): boolean {
  if (isPlainObject(wanted)) return isPlainObject(actual) && containsKeys(actual, wanted);
  if (!Array.isArray(wanted)) return Object.is(actual, wanted);
  if (!Array.isArray(actual)) return false;
  if (UNORDERED.has(key)) {
    return wanted.every((entry) => actual.some((candidate) => contains(candidate, entry)));
  }
  if (wanted.length > 0 && wanted.every((entry) => nameOf(entry) !== undefined)) {
    return containsNamed(actual, wanted);
  }
  return (
    actual.length === wanted.length &&
    wanted.every((entry, index) => contains(actual[index], entry))
  );
}

const containsKeys = (actual: PlainObject, wanted: PlainObject): boolean =>
  Object.entries(wanted).every(
    ([key, value]) => Object.hasOwn(actual, key) && contains(actual[key], value, key),
  );

function containsNamed(actual: readonly unknown[], wanted: readonly unknown[]): boolean {
  let at = 0;
  for (const entry of actual) {
    if (at === wanted.length) break;
    if (nameOf(entry) !== nameOf(wanted[at])) continue;
    if (!contains(entry, wanted[at])) return false;
    at++;
  }
  return at === wanted.length;
}
