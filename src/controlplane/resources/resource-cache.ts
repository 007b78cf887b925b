// Encodes each resource once for as long as what it was made of lives.
import { encodeResource } from '@weft/xds/codec/resource-codec';
import type { EncodedResource, ResourceByKind, ResourceKind } from '@weft/xds/resource';

export interface ResourceCache {
  /** How many resources were encoded since the start. */
  readonly encodes: number;
  /**
   * The resource `name` that `build` makes of `from`; made on the first call and shared from then on.
   * @returns `undefined` when it cannot be encoded: it is left out, and `onFailure` is told why each time it is asked for.
   */
  get<K extends ResourceKind>(
    kind: K,
    of: {
      readonly from: object;
      readonly name: string;
      /** Whose it is, where the name alone does not say it. */
      readonly owner?: string;
      readonly build: () => ResourceByKind[K];
    },
  ): EncodedResource | undefined;
}

export interface EncodingFailure {
  readonly kind: ResourceKind;
  readonly name: string;
  /** What it was to be made of. */
  readonly from: object;
  readonly owner: string | undefined;
  readonly cause: unknown;
}

/**
 * What was made of an object goes when the object goes, so nothing needs to be evicted and nothing made for one
 * workload can be found from another's (CVE-2021-34824).
 */
export function createResourceCache(options: {
  readonly onFailure: (failure: EncodingFailure) => void;
}): ResourceCache {
  const made = new WeakMap<object, Map<string, Made>>();
  let encodes = 0;
  return {
    get encodes() {
      return encodes;
    },
    get(kind, { from, name, owner, build }) {
      const byName = made.get(from) ?? new Map<string, Made>();
      made.set(from, byName);
      const key = `${kind}\0${name}`;
      let known = byName.get(key);
      if (known === undefined) {
        encodes++;
        known = tryEncode(kind, build);
        byName.set(key, known);
      }
      if (known.ok) return known.resource;
      options.onFailure({ kind, name, from, owner, cause: known.cause });
      return undefined;
    },
  };
}

type Made =
  | { readonly ok: true; readonly resource: EncodedResource }
  | { readonly ok: false; readonly cause: unknown };

/** One resource that has no meaning on the wire must not take the others with it; without it, nothing opens. */
function tryEncode<K extends ResourceKind>(kind: K, build: () => ResourceByKind[K]): Made {
  try {
    return { ok: true, resource: encodeResource(kind, build()) };
  } catch (cause) {
    return { ok: false, cause };
  }
}
