// Reads a CredentialBinding: one that is wrong in any part grants nothing, or what its last good version did.
import { parseCredentialBinding } from '@weft/model/credentials/parse-credential-binding';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Reading } from './reading.ts';

export function readCredentialBinding(object: PlainObject): Reading {
  const parsed = parseCredentialBinding(object);
  if (!parsed.ok) return { kind: 'bad', closed: undefined, problems: parsed.problems };
  const objects = [{ kind: 'CredentialBinding', binding: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}
