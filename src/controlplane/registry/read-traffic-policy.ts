// Reads TrafficPolicies, and says of one that cannot be read what has to hold in its place.
import type { BrokenPolicyObject } from '@weft/model/mesh/objects';
import { readBrokenPolicy } from '@weft/model/policy/broken';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { CALL_SECTIONS } from '@weft/model/traffic/call-types';
import { parseTrafficPolicy } from '@weft/model/traffic/parse-traffic-policy';
import type { Reading } from './reading.ts';

export function readTrafficPolicy(object: PlainObject): Reading {
  const parsed = parseTrafficPolicy(object);
  if (!parsed.ok) {
    return { kind: 'bad', closed: closedTrafficPolicy(object), problems: parsed.problems };
  }
  const objects = [{ kind: 'TrafficPolicy', policy: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

/** Sections that hold something back: an application may count on them. */
const RESTRICTING: readonly string[] = ['throttling', 'floods', 'limits'];

/**
 * Closes what it selects, unless all that it says can only have been about faults and about how calls are made. What
 * it aims at Services closes the namespace: which Pods are behind them is not for a broken object to say.
 */
export function closedTrafficPolicy(object: PlainObject): BrokenPolicyObject | undefined {
  const spec = object['spec'];
  const isHarmless =
    isPlainObject(spec) &&
    !RESTRICTING.some((section) => Object.hasOwn(spec, section)) &&
    Object.keys(spec).every((key) => KNOWN.has(key));
  if (isHarmless) return undefined;
  const { targetRefs: _, ...rest } = isPlainObject(spec) ? spec : {};
  const broken = readBrokenPolicy(isPlainObject(spec) ? { ...object, spec: rest } : object);
  if (broken === undefined) return undefined;
  const policy = { ...broken, action: undefined };
  return { kind: 'BrokenPolicy', of: 'TrafficPolicy', policy, selector: policy.selector };
}

/** Another key may be a restricting one, misspelt. */
const KNOWN: ReadonlySet<string> = new Set([
  ...RESTRICTING,
  'selector',
  'targetRefs',
  'faults',
  ...CALL_SECTIONS,
]);
