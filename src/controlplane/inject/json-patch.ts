// The JSON patch (RFC 6902) that turns one object into another, small where containers are added or changed.
import { isDeepStrictEqual } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';

export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** RFC 6901. */
const quoted = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

/** Operations are to be applied in order. None for equal objects. */
export function jsonPatchOf(before: PlainObject, after: PlainObject): readonly PatchOperation[] {
  return [...mappingPatch(before, after, '')];
}

function* valuePatch(before: unknown, after: unknown, path: string): Generator<PatchOperation> {
  if (isDeepStrictEqual(before, after)) return;
  if (isPlainObject(before) && isPlainObject(after)) yield* mappingPatch(before, after, path);
  else if (Array.isArray(before) && Array.isArray(after)) yield* listPatch(before, after, path);
  else yield { op: 'replace', path, value: after };
}

function* mappingPatch(
  before: PlainObject,
  after: PlainObject,
  path: string,
): Generator<PatchOperation> {
  for (const key of Object.keys(before)) {
    if (!Object.hasOwn(after, key)) yield { op: 'remove', path: `${path}/${quoted(key)}` };
  }
  for (const [key, value] of Object.entries(after)) {
    const at = `${path}/${quoted(key)}`;
    if (Object.hasOwn(before, key)) yield* valuePatch(before[key], value, at);
    else yield { op: 'add', path: at, value };
  }
}

const namesOf = (list: readonly unknown[]): readonly string[] | undefined => {
  const names = list.flatMap((entry) =>
    isPlainObject(entry) && typeof entry['name'] === 'string' ? [entry['name']] : [],
  );
  return new Set(names).size === list.length ? names : undefined;
};

/** Named things are matched by name as long as those that stay keep their order; any other list is replaced whole. */
function* listPatch(
  before: readonly unknown[],
  after: readonly unknown[],
  path: string,
): Generator<PatchOperation> {
  const [names, wanted] = [namesOf(before), namesOf(after)];
  if (names === undefined || wanted === undefined) {
    yield { op: 'replace', path, value: after };
    return;
  }
  const kept = names.filter((name) => wanted.includes(name));
  const keptAfter = wanted.filter((name) => names.includes(name));
  if (!isDeepStrictEqual(kept, keptAfter)) {
    yield { op: 'replace', path, value: after };
    return;
  }
  for (let index = names.length - 1; index >= 0; index--) {
    if (!wanted.includes(names[index] ?? '')) yield { op: 'remove', path: `${path}/${index}` };
  }
  for (const [index, name] of wanted.entries()) {
    const at = `${path}/${index}`;
    if (kept.includes(name)) yield* valuePatch(before[names.indexOf(name)], after[index], at);
    else yield { op: 'add', path: at, value: after[index] };
  }
}
