// Reads TlsTerminations, and says of one that cannot be read what has to hold in its place.
import type { BrokenPolicyObject } from '@weft/model/mesh/objects';
import { readBrokenPolicy } from '@weft/model/policy/broken';
import type { PlainObject } from '@weft/model/policy/reader';
import { parseTlsTermination } from '@weft/model/tls/parse-tls-termination';
import type { Reading } from './reading.ts';

export function readTlsTermination(object: PlainObject): Reading {
  const parsed = parseTlsTermination(object);
  if (!parsed.ok) {
    return { kind: 'bad', closed: closedTlsTermination(object), problems: parsed.problems };
  }
  const objects = [{ kind: 'TlsTermination', policy: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

/** Closed: who was to show a certificate, and to whom the application is not to be shown without TLS, cannot be told. */
export function closedTlsTermination(object: PlainObject): BrokenPolicyObject | undefined {
  const broken = readBrokenPolicy(object);
  if (broken === undefined) return undefined;
  const policy = { ...broken, action: undefined };
  return { kind: 'BrokenPolicy', of: 'TlsTermination', policy, selector: policy.selector };
}
