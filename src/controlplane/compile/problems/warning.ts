// The form of a compile-time warning: the object is in force, and may not do what its author expects.
import type { ObjectRef, Problem } from '@weft/model/problem';

export function warning(
  object: ObjectRef,
  code: string,
  texts: { readonly message: string; readonly cure?: string; readonly field?: string },
): Problem {
  return { severity: 'warning', code, object, ...texts };
}

/** More names say no more. */
const MAX_NAMES = 3;

/** `a, b, c and 4 more`. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES).join(', ');
  return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown;
}
