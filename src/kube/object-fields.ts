// Reads single fields of objects that came from the API server: absent and wrongly typed ones are `undefined`.
import { isPlainObject } from '@weft/model/policy/reader';
import type { KubeObject } from './kube-api.ts';

function valueAt(object: KubeObject | undefined, path: readonly string[]): unknown {
  let value: unknown = object;
  for (const key of path) {
    if (!isPlainObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

export function objectAt(
  object: KubeObject | undefined,
  ...path: readonly string[]
): KubeObject | undefined {
  const value = valueAt(object, path);
  return isPlainObject(value) ? value : undefined;
}

export function textAt(
  object: KubeObject | undefined,
  ...path: readonly string[]
): string | undefined {
  const value = valueAt(object, path);
  return typeof value === 'string' ? value : undefined;
}

export function numberAt(
  object: KubeObject | undefined,
  ...path: readonly string[]
): number | undefined {
  const value = valueAt(object, path);
  return typeof value === 'number' ? value : undefined;
}

/** Empty when there is no such list; items that are no strings are left out. */
export function textsAt(
  object: KubeObject | undefined,
  ...path: readonly string[]
): readonly string[] {
  const value = valueAt(object, path);
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
