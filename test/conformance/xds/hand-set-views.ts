// Holds what each node may see as a test sets it by hand, and the versions that are announced: the views of a server without a mesh.
import { createHash } from 'node:crypto';
import { parseSpiffeId } from '@weft/model/identity';
import type {
  NodeClaim,
  ProxyRef,
  ProxyResolution,
  ViewChange,
  ViewSource,
} from '@weft/controlplane/serve/view-source';
import {
  type EncodedResource,
  isOpaqueKind,
  type OpaqueKind,
  RESOURCE_ORDER,
  type ResourceKind,
  type ResourceView,
  type StreamKind,
  TYPE_URLS,
} from '@weft/xds/resource';

/** A resource as it was handed in. */
export interface HandSet {
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}

type Known = EncodedResource<ResourceKind>;
type Opaque = EncodedResource<OpaqueKind>;
type Table = ReadonlyMap<string, Known | Opaque>;

interface NodeState {
  readonly tables: ReadonlyMap<StreamKind, Table>;
  readonly announced: ReadonlyMap<StreamKind, string>;
}

export type Outcome = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** More than any test names. */
const MAX_NODES = 10_000;
const NOTHING: NodeState = { tables: new Map(), announced: new Map() };
const DONE: Outcome = { ok: true };
/** Everybody has it: nobody proves who he is on a plaintext connection. */
const parsed = parseSpiffeId('spiffe://conformance.test/ns/test/sa/client');
if (parsed === undefined) throw new TypeError('Cannot name the client: no SPIFFE id');
export const IDENTITY = parsed;

const KINDS = new Map<string, ResourceKind>(RESOURCE_ORDER.map((kind) => [TYPE_URLS[kind], kind]));

/** @returns `undefined` for what cannot be the URL of a type. */
const kindOf = (typeUrl: string): StreamKind | undefined =>
  KINDS.get(typeUrl) ?? (isOpaqueKind(typeUrl) ? typeUrl : undefined);

const emptyView = (revision: number): ResourceView => ({
  revision,
  get: () => undefined,
  list: () => [],
});

export class HandSetViews implements ViewSource {
  readonly #nodes = new Map<string, NodeState>();
  readonly #views = new Map<string, ResourceView>();
  readonly #listeners = new Set<(change: ViewChange) => void>();
  #revision = 0;

  readonly servesType = (): boolean => true;

  resolve({ id }: NodeClaim): ProxyResolution {
    return { ok: true, proxy: { id, identity: IDENTITY, namespace: 'test', workload: id } };
  }

  viewFor({ id }: ProxyRef): ResourceView {
    return this.#views.get(id) ?? emptyView(0);
  }

  subscribe(listener: (change: ViewChange) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** The version announced and the versions of single resources, by type and name. */
  stateOf(node: string): Readonly<Record<string, unknown>> {
    const { tables, announced } = this.#nodes.get(node) ?? NOTHING;
    const types = [...tables].map(([kind, table]) => [
      isOpaqueKind(kind) ? kind : TYPE_URLS[kind],
      {
        version: announced.get(kind),
        resources: Object.fromEntries([...table].map(([name, { version }]) => [name, version])),
      },
    ]);
    return Object.fromEntries(types);
  }

  /** Replaces all that the node has. What is the same as before keeps its version, and is not sent again. */
  set(node: string, version: string, resources: readonly HandSet[]): Outcome {
    const before = this.#nodes.get(node) ?? NOTHING;
    const tables = new Map<StreamKind, Map<string, Known | Opaque>>();
    for (const kind of before.tables.keys()) tables.set(kind, new Map());
    for (const given of resources) {
      const kind = kindOf(given.typeUrl);
      if (kind === undefined) return noSuchType(given.typeUrl);
      const table = tables.get(kind) ?? new Map<string, Known | Opaque>();
      if (table.has(given.name)) return refusal(given, 'it is given twice');
      const old = before.tables.get(kind)?.get(given.name);
      const isSame = old !== undefined && Buffer.compare(old.bytes, given.bytes) === 0;
      table.set(given.name, isSame ? old : encoded(kind, version, given));
      tables.set(kind, table);
    }
    const announced = new Map([...tables.keys()].map((kind) => [kind, version]));
    return this.#replace(node, { tables, announced });
  }

  add(node: string, version: string, given: HandSet): Outcome {
    return this.#put(node, version, { given, isThere: false });
  }

  /** @param given.bytes absent: what is there is announced anew. */
  update(
    node: string,
    version: string,
    given: Omit<HandSet, 'bytes'> & { readonly bytes: Uint8Array | undefined },
  ): Outcome {
    const kind = kindOf(given.typeUrl);
    const old = kind && this.#nodes.get(node)?.tables.get(kind)?.get(given.name);
    const bytes = given.bytes ?? old?.bytes;
    if (bytes === undefined) return refusal(given, 'there is none to update');
    return this.#put(node, version, { given: { ...given, bytes }, isThere: true });
  }

  remove(node: string, version: string, given: Omit<HandSet, 'bytes'>): Outcome {
    const kind = kindOf(given.typeUrl);
    if (kind === undefined) return noSuchType(given.typeUrl);
    const before = this.#nodes.get(node) ?? NOTHING;
    const table = new Map(before.tables.get(kind));
    if (!table.delete(given.name)) return refusal(given, 'there is none to remove');
    return this.#replace(node, withTable(before, { kind, table, version }));
  }

  /** Takes everything away. What was announced is forgotten, unless a version is given. */
  clear(node: string, version: string | undefined): Outcome {
    const before = this.#nodes.get(node) ?? NOTHING;
    const kinds = [...before.tables.keys()];
    return this.#replace(node, {
      tables: new Map(kinds.map((kind) => [kind, new Map()])),
      announced: new Map(version === undefined ? [] : kinds.map((kind) => [kind, version])),
    });
  }

  #put(
    node: string,
    version: string,
    { given, isThere }: { readonly given: HandSet; readonly isThere: boolean },
  ): Outcome {
    const kind = kindOf(given.typeUrl);
    if (kind === undefined) return noSuchType(given.typeUrl);
    const before = this.#nodes.get(node) ?? NOTHING;
    const table = new Map(before.tables.get(kind));
    if (table.has(given.name) !== isThere)
      return refusal(given, isThere ? 'there is none to update' : 'it is there already');
    table.set(given.name, encoded(kind, version, given));
    return this.#replace(node, withTable(before, { kind, table, version }));
  }

  #replace(node: string, state: NodeState): Outcome {
    if (!this.#nodes.has(node) && this.#nodes.size >= MAX_NODES)
      return { ok: false, reason: `Cannot take node ${node}: there are ${MAX_NODES} already` };
    this.#nodes.set(node, state);
    this.#views.set(node, viewOf(state, ++this.#revision));
    const change = { isAll: false, proxies: new Set([node]), names: new Set<string>() };
    for (const listener of this.#listeners) listener(change);
    return DONE;
  }
}

const isKnown = (one: Known | Opaque): one is Known => !isOpaqueKind(one.kind);
const isOpaque = (one: Known | Opaque): one is Opaque => isOpaqueKind(one.kind);

function viewOf({ tables, announced }: NodeState, revision: number): ResourceView {
  const find = (kind: StreamKind, name: string): Known | Opaque | undefined =>
    tables.get(kind)?.get(name);
  const all = (kind: StreamKind): readonly (Known | Opaque)[] => [
    ...(tables.get(kind)?.values() ?? []),
  ];
  return {
    revision,
    get(kind, name) {
      const found = find(kind, name);
      return found !== undefined && isKnown(found) ? found : undefined;
    },
    list: (kind) => all(kind).filter(isKnown),
    opaque: {
      get(kind, name) {
        const found = find(kind, name);
        return found !== undefined && isOpaque(found) ? found : undefined;
      },
      list: (kind) => all(kind).filter(isOpaque),
    },
    announced: (kind) => announced.get(kind),
  };
}

function withTable(
  { tables, announced }: NodeState,
  put: { readonly kind: StreamKind; readonly table: Table; readonly version: string },
): NodeState {
  return {
    tables: new Map([...tables, [put.kind, put.table]]),
    announced: new Map([...announced, [put.kind, put.version]]),
  };
}

/** Its own version tells contents and announcements apart, so that an update in name alone is one too. */
function encoded(kind: StreamKind, version: string, { name, bytes }: HandSet): Known | Opaque {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
  const content = { name, version: `${version}-${hash}`, bytes };
  return isOpaqueKind(kind) ? { kind, ...content } : { kind, ...content };
}

const noSuchType = (typeUrl: string): Outcome => ({
  ok: false,
  reason: `Cannot take type ${typeUrl}: it is not the URL of a type, such as ${TYPE_URLS.cluster}`,
});

const refusal = ({ typeUrl, name }: Omit<HandSet, 'bytes'>, why: string): Outcome => ({
  ok: false,
  reason: `Cannot take ${name} of ${typeUrl}: ${why}`,
});
