// Gives each object its key, the same for every version of it, and the name by which people know it.
import { DEFAULT_NAMESPACE } from '@weft/model/policy/parse-metadata';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { ObjectRef } from '@weft/model/problem';
import type { Kind } from './kinds.ts';

/** In place of a name that is not said. */
export const UNNAMED = '?';
/** Names as long as Kubernetes allows; what is longer is refused by the kind's reader. */
const MAX_NAME = 253;

/** `Service/shop/web`, `Namespace//shop`, `MeshConfig`. */
export function identify(
  kind: Pick<Kind, 'kind' | 'scope'>,
  object: PlainObject,
): { readonly key: string; readonly ref: ObjectRef } {
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const text = (value: unknown, otherwise: string): string =>
    typeof value === 'string' && value !== '' ? value.slice(0, MAX_NAME) : otherwise;
  const name = text(metadata['name'], UNNAMED);
  if (kind.scope === 'singleton') return { key: kind.kind, ref: { kind: kind.kind, name } };
  if (kind.scope === 'cluster') {
    return { key: `${kind.kind}//${name}`, ref: { kind: kind.kind, name } };
  }
  const namespace = text(metadata['namespace'], DEFAULT_NAMESPACE);
  return {
    key: `${kind.kind}/${namespace}/${name}`,
    ref: { kind: kind.kind, namespace, name },
  };
}
