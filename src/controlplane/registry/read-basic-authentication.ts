// Reads BasicAuthentications, and says of one that cannot be read what has to hold in its place.
import type { BrokenPolicyObject } from '@weft/model/mesh/objects';
import { parseBasicAuthentication } from '@weft/model/login/parse-basic-authentication';
import { readBrokenPolicy } from '@weft/model/policy/broken';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Reading } from './reading.ts';

export function readBasicAuthentication(object: PlainObject): Reading {
  const parsed = parseBasicAuthentication(object);
  if (!parsed.ok) {
    return { kind: 'bad', closed: closedBasicAuthentication(object), problems: parsed.problems };
  }
  const objects = [{ kind: 'BasicAuthentication', policy: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

/** Everything that it selects is closed: an application behind a login has none of its own. */
export function closedBasicAuthentication(object: PlainObject): BrokenPolicyObject | undefined {
  const broken = readBrokenPolicy(object);
  if (broken === undefined) return undefined;
  const policy = { ...broken, action: undefined };
  return { kind: 'BrokenPolicy', of: 'BasicAuthentication', policy, selector: policy.selector };
}
