// Keeps what did not change: of two equal values the older one, so that what was made of it can be kept too.

/** Plain data only: primitives, arrays, maps and objects without behaviour. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => isSame(item, b[index]));
  }
  if (a instanceof Map || b instanceof Map) {
    if (!(a instanceof Map) || !(b instanceof Map) || a.size !== b.size) return false;
    for (const [key, value] of a) if (!b.has(key) || !isSame(value, b.get(key))) return false;
    return true;
  }
  const entries = Object.entries(a);
  if (entries.length !== Object.keys(b).length) return false;
  const other = new Map<string, unknown>(Object.entries(b));
  return entries.every(([key, value]) => other.has(key) && isSame(value, other.get(key)));
}

/** `previous` when it equals `next`, else `next`. */
export const keep = <T>(previous: T | undefined, next: T): T =>
  previous !== undefined && isSame(previous, next) ? previous : next;
