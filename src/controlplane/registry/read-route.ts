// Reads routes of the Gateway API as far as to say which of them ask for something that the mesh does not do.
import { Reader, type PlainObject } from '@weft/model/policy/reader';
import { items, mapping, outcome, readMeta, warning, type Reading } from './reading.ts';

/** Puts nothing in force; one that is attached to a Service says so. */
export function readRoute(object: PlainObject): Reading {
  const reader = new Reader();
  readMeta(reader, object, 'namespaced');
  const spec = mapping(reader, object['spec'], 'spec');
  const attached = items(reader, spec['parentRefs'], 'spec.parentRefs').find(([parent]) =>
    isService(parent),
  );
  if (attached === undefined) return outcome(reader, undefined);
  const [, field] = attached;
  const message =
    'is attached to a Service and is not applied yet: calls go where they would without it';
  return outcome(reader, undefined, [warning('route-not-applied', field, message)]);
}

/** `group` empty or `core`, both are written for it. */
function isService({ kind, group }: PlainObject): boolean {
  return kind === 'Service' && (group === '' || group === 'core');
}
