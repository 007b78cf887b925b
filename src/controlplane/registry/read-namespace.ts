// Reads the kinds of which the mesh wants no more than their name and labels: Namespace and ServiceAccount.
import { Reader, type PlainObject } from '@weft/model/policy/reader';
import { outcome, readMeta, type Reading } from './reading.ts';

export function readNamespace(object: PlainObject): Reading {
  const reader = new Reader();
  return outcome(reader, { kind: 'Namespace', meta: readMeta(reader, object, 'cluster') });
}

export function readServiceAccount(object: PlainObject): Reading {
  const reader = new Reader();
  return outcome(reader, { kind: 'ServiceAccount', meta: readMeta(reader, object, 'namespaced') });
}
