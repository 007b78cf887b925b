// Encodes each resource once for as long as what it was made of lives.
import { encodeMessageAs, encodeResource } from '@weft/xds/codec/resource-codec';
import type { PlainMessage } from '@weft/xds/registry';
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
  /** The same of a resource whose form is none that is read here. */
  write(
    kind: ResourceKind,
    of: {
      readonly from: object;
      readonly name: string;
      readonly owner?: string;
      /** For whom, where what is made of one object under one name has several forms. */
      readonly variant: string;
      readonly build: () => PlainMessage;
    },
  ): EncodedResource | undefined;
}

/** Of one object; beyond it, names that clients chose are made anew each time. A Deployment's Pods have fewer. */
const MAX_NAMES = 1_024;

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
  const find = (of: Wanted): EncodedResource | undefined => {
    const { kind, name, from, owner, variant, encode } = of;
    const byName = made.get(from) ?? new Map<string, Made>();
    made.set(from, byName);
    const key = `${kind}\0${name}\0${variant}`;
    let known = byName.get(key);
    if (known === undefined) {
      encodes++;
      known = tryEncode(encode);
      if (byName.size < MAX_NAMES) byName.set(key, known);
    }
    if (known.ok) return known.resource;
    options.onFailure({ kind, name, from, owner, cause: known.cause });
    return undefined;
  };
  return {
    get encodes() {
      return encodes;
    },
    get: (kind, { build, owner, ...of }) =>
      find({ ...of, kind, owner, variant: '', encode: () => encodeResource(kind, build()) }),
    write: (kind, { build, owner, ...of }) =>
      find({ ...of, kind, owner, encode: () => encodeMessageAs(kind, of.name, build()) }),
  };
}

interface Wanted extends Omit<EncodingFailure, 'cause'> {
  readonly variant: string;
  readonly encode: () => EncodedResource;
}

type Made =
  | { readonly ok: true; readonly resource: EncodedResource }
  | { readonly ok: false; readonly cause: unknown };

/** One resource that has no meaning on the wire must not take the others with it; without it, nothing opens. */
function tryEncode(encode: () => EncodedResource): Made {
  try {
    return { ok: true, resource: encode() };
  } catch (cause) {
    return { ok: false, cause };
  }
}
