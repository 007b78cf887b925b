// Reads a FederatedTrustDomain: of one that cannot be read its last good version holds, else nobody is believed.
import { parseFederatedTrustDomain } from '@weft/model/federation/parse-federated-trust-domain';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Reading } from './reading.ts';

export function readFederatedTrustDomain(object: PlainObject): Reading {
  const parsed = parseFederatedTrustDomain(object);
  if (!parsed.ok) return { kind: 'bad', closed: undefined, problems: parsed.problems };
  const objects = [{ kind: 'FederatedTrustDomain', federation: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}
