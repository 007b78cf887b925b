// Reads an ExternalService, and says of one that cannot be read what it closes.
import type { ExternalServiceObject } from '@weft/model/mesh/objects';
import {
  closedExternalService as closedService,
  parseExternalService,
} from '@weft/model/egress/parse-external-service';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Reading } from './reading.ts';

/** One that cannot be read is bad: its last good version holds, else nobody may call the hosts that it names. */
export function readExternalService(object: PlainObject): Reading {
  const parsed = parseExternalService(object);
  if (!parsed.ok) {
    return { kind: 'bad', closed: closedExternalService(object), problems: parsed.problems };
  }
  const objects = [{ kind: 'ExternalService', service: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

/** @returns `undefined` when no host can be read: then nothing is known that could be closed. */
export function closedExternalService(object: PlainObject): ExternalServiceObject | undefined {
  const service = closedService(object);
  return service.hosts.length === 0 ? undefined : { kind: 'ExternalService', service };
}
