// Reads which Services a rule of a route sends requests to.
import { isDnsLabel } from '../identity.ts';
import { shown, type PlainObject, type Reader } from '../policy/reader.ts';
import { readNamespace, readPort } from './parse-values.ts';
import type { BackendRef } from './types.ts';

type Named = Pick<BackendRef, 'service' | 'why' | 'field'>;

export const BACKEND_KEYS: readonly string[] = ['group', 'kind', 'name', 'namespace', 'port'];

interface Where {
  readonly field: string;
  /** Of the route: what a reference without one means. */
  readonly namespace: string;
  readonly keys?: readonly string[];
}

/** A reference to what is no Service, or to none of its ports, is sound and leads nowhere. */
export function parseBackendName(reader: Reader, value: unknown, where: Where): Named {
  const { field, keys = BACKEND_KEYS } = where;
  const ref: PlainObject = reader.object(value ?? {}, field, keys) ?? {};
  const group = reader.string(ref['group'] ?? undefined, `${field}.group`) ?? '';
  const kind = reader.string(ref['kind'] ?? undefined, `${field}.kind`) ?? 'Service';
  const name = reader.string(ref['name'] ?? undefined, `${field}.name`) ?? '';
  const port = readPort(reader, ref['port'], `${field}.port`);
  const namespace =
    readNamespace(reader, ref['namespace'], `${field}.namespace`) ?? where.namespace;
  if ((group !== '' && group !== 'core') || kind !== 'Service') {
    const whole = group === '' ? kind : `${kind} of ${group}`;
    return { service: undefined, why: `the kind ${shown(whole)} cannot be called`, field };
  }
  if (!isDnsLabel(name)) {
    reader.error(`${field}.name`, 'bad-name', `${shown(name)} is no name of a Service`);
  }
  if (port === undefined) {
    return { service: undefined, why: `names no port of the Service ${shown(name)}`, field };
  }
  return { service: { namespace, name, port }, why: '', field };
}
