// By which peers, paths and ports a rule can be found: what any request that it matches must have.
import type { Permission, Principal, StringMatcher } from './rbac.ts';

/** A rule that names more alternatives than this is not spread over the index. */
const MAX_KEYS = 256;

/** What a peer must have: exactly this URI, or `/ns/NAMESPACE/` somewhere in it. */
export type PeerKey = `=${string}` | `n${string}`;
/** What a request must have: exactly this path, a path that begins with these whole segments, or this port. */
export type TargetKey = `=${string}` | `/${string}` | `:${number}`;

/** The union of key sets; `undefined` when one of them is open or the union is too large to be an index. */
export function boundedUnion<K extends string>(
  sets: readonly (ReadonlySet<K> | undefined)[],
): ReadonlySet<K> | undefined {
  const union = new Set<K>();
  for (const set of sets) {
    if (set === undefined) return undefined;
    for (const key of set) union.add(key);
    if (union.size > MAX_KEYS) return undefined;
  }
  return union;
}

/** Of conditions that must all hold any one finds the rule: the one of the fewest and most telling keys. */
function bestOf<K extends string>(
  sets: readonly (ReadonlySet<K> | undefined)[],
): ReadonlySet<K> | undefined {
  let best: ReadonlySet<K> | undefined;
  for (const set of sets) {
    if (set === undefined) continue;
    if (best === undefined || weightOf(set) < weightOf(best)) best = set;
  }
  return best;
}

/** Exact keys tell more than namespaces and prefixes, and those more than ports. */
function weightOf(keys: ReadonlySet<string>): number {
  let weight = 0;
  for (const key of keys) weight += key.startsWith('=') ? 1 : key.startsWith(':') ? 10_000 : 100;
  return weight;
}

const SCHEME = 'spiffe://';

/** @returns `undefined` when peers of every kind may match. */
export function peerKeys(principal: Principal): ReadonlySet<PeerKey> | undefined {
  switch (principal.kind) {
    case 'authenticated':
      return principal.name === undefined ? undefined : peerKeysOf(principal.name);
    case 'or':
      return boundedUnion(principal.ids.map(peerKeys));
    case 'and':
      return bestOf(principal.ids.map(peerKeys));
    default:
      return undefined;
  }
}

function peerKeysOf(name: StringMatcher): ReadonlySet<PeerKey> | undefined {
  if (name.kind === 'glob') {
    for (const part of name.parts) {
      const namespace = part.kind === 'literal' ? namespacesIn(part.text)[0] : undefined;
      if (namespace !== undefined) return new Set<PeerKey>([`n${namespace}`]);
    }
    return undefined;
  }
  if (name.ignoreCase) return undefined;
  if (name.kind === 'exact') return new Set<PeerKey>([`=${name.value}`]);
  const [namespace] = namespacesIn(name.value);
  return namespace === undefined ? undefined : new Set<PeerKey>([`n${namespace}`]);
}

const MARK = '/ns/';

/** Every NAMESPACE of `/ns/NAMESPACE/` in a text; whole ones alone. */
export function namespacesIn(text: string): readonly string[] {
  const found: string[] = [];
  for (let at = text.indexOf(MARK); at !== -1; at = text.indexOf(MARK, at + 1)) {
    const end = text.indexOf('/', at + MARK.length);
    if (end === -1) break;
    found.push(text.slice(at + MARK.length, end));
  }
  return found;
}

/** The namespaces of a peer's URI; nearly always one. */
export const namespacesOf = (peerUri: string): readonly string[] =>
  namespacesIn(peerUri.startsWith(SCHEME) ? peerUri.slice(SCHEME.length) : peerUri);

/** @returns `undefined` when requests of every kind may match. */
export function targetKeys(permission: Permission): ReadonlySet<TargetKey> | undefined {
  switch (permission.kind) {
    case 'urlPath': {
      const { path } = permission;
      if (path.kind === 'glob') {
        const [first] = path.parts;
        return first?.kind === 'literal' ? prefixKey(first.text) : undefined;
      }
      if (path.ignoreCase) return undefined;
      if (path.kind === 'exact') return new Set<TargetKey>([`=${path.value}`]);
      return path.kind === 'prefix' ? prefixKey(path.value) : undefined;
    }
    case 'uriTemplate': {
      const brace = permission.template.indexOf('{');
      const { template } = permission;
      return brace === -1
        ? new Set<TargetKey>([`=${template}`])
        : prefixKey(template.slice(0, brace));
    }
    case 'destinationPort':
      return new Set<TargetKey>([`:${permission.port}`]);
    case 'or':
      return boundedUnion(permission.rules.map(targetKeys));
    case 'and':
      return bestOf(permission.rules.map(targetKeys));
    default:
      return undefined;
  }
}

/** Segments of a prefix that are looked up by; longer ones are found by their beginning. */
export const MAX_SEGMENTS = 8;

/** The whole segments of a prefix: `/api/v1/th` becomes `/api/v1/`; `undefined` for `/` alone, which tells nothing. */
function prefixKey(prefix: string): ReadonlySet<TargetKey> | undefined {
  let end = -1;
  let segments = 0;
  for (let at = prefix.indexOf('/', 1); at !== -1; at = prefix.indexOf('/', at + 1)) {
    end = at;
    if (++segments === MAX_SEGMENTS) break;
  }
  if (end === -1 || !prefix.startsWith('/')) return undefined;
  return new Set<TargetKey>([`/${prefix.slice(1, end + 1)}`]);
}
