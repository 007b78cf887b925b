// What the sidecar asks for and holds, kind by kind, and the requests that follow from it; no I/O.
import type { PlainMessage } from '@weft/xds/registry';
import { RESOURCE_ORDER, type ResourceKind, TYPE_URLS } from '@weft/xds/resource';

interface KindState {
  readonly wanted: Set<string>;
  /** Versions in force, told to the control plane after a reconnect so that only what changed is sent. */
  readonly held: Map<string, string>;
  readonly toSubscribe: Set<string>;
  readonly toUnsubscribe: Set<string>;
  /** Whether this stream has been told anything of the kind. */
  isOpened: boolean;
}

/** The error text that goes into a NACK; more is for nobody. */
const MAX_ERROR_LENGTH = 4_096;
/** `google.rpc.Code.INVALID_ARGUMENT`. */
const INVALID_ARGUMENT = 3;

/** The client's half of the delta protocol. It outlives streams; each new one is begun with {@link DeltaSubscriptions.reopen}. */
export class DeltaSubscriptions {
  readonly #kinds = new Map<ResourceKind, KindState>(
    RESOURCE_ORDER.map((kind) => [
      kind,
      {
        wanted: new Set(),
        held: new Map(),
        toSubscribe: new Set(),
        toUnsubscribe: new Set(),
        isOpened: false,
      },
    ]),
  );

  subscribe(kind: ResourceKind, name: string): void {
    const state = this.#of(kind);
    if (state.wanted.has(name)) return;
    state.wanted.add(name);
    /** Asked for anew even when the unsubscription was not sent yet: what was held has been dropped. */
    state.toSubscribe.add(name);
    /** Named in both lists, servers that take subscriptions first would forget it. */
    state.toUnsubscribe.delete(name);
  }

  unsubscribe(kind: ResourceKind, name: string): void {
    const state = this.#of(kind);
    if (!state.wanted.delete(name)) return;
    state.held.delete(name);
    state.toSubscribe.delete(name);
    state.toUnsubscribe.add(name);
  }

  isWanted(kind: ResourceKind, name: string): boolean {
    return this.#of(kind).wanted.has(name);
  }

  /** What came is in force from now on. */
  noteApplied(
    kind: ResourceKind,
    versions: ReadonlyMap<string, string>,
    removed: ReadonlySet<string>,
  ): void {
    const { held, wanted } = this.#of(kind);
    for (const [name, version] of versions) if (wanted.has(name)) held.set(name, version);
    for (const name of removed) held.delete(name);
  }

  /** A new stream knows nothing of what earlier ones said. */
  reopen(): void {
    for (const state of this.#kinds.values()) {
      state.isOpened = false;
      state.toUnsubscribe.clear();
      state.toSubscribe.clear();
      for (const name of state.wanted) state.toSubscribe.add(name);
    }
  }

  /** Requests for what changed since the last call, in make-before-break order. */
  takeRequests(): readonly PlainMessage[] {
    const requests: PlainMessage[] = [];
    for (const [kind, state] of this.#kinds) {
      /** A first request without names would ask for everything. */
      if (!state.isOpened) state.toUnsubscribe.clear();
      if (state.toSubscribe.size === 0 && state.toUnsubscribe.size === 0) continue;
      requests.push({
        type_url: TYPE_URLS[kind],
        resource_names_subscribe: [...state.toSubscribe],
        resource_names_unsubscribe: [...state.toUnsubscribe],
        ...(state.isOpened ? {} : { initial_resource_versions: Object.fromEntries(state.held) }),
      });
      state.isOpened = true;
      state.toSubscribe.clear();
      state.toUnsubscribe.clear();
    }
    return requests;
  }

  /** The answer to a response: ACK, or NACK when there are errors. */
  answer(kind: ResourceKind, nonce: string, errors: readonly string[]): PlainMessage {
    const ack = { type_url: TYPE_URLS[kind], response_nonce: nonce };
    if (errors.length === 0) return ack;
    const message = errors.join('\n').slice(0, MAX_ERROR_LENGTH).toWellFormed();
    return { ...ack, error_detail: { code: INVALID_ARGUMENT, message } };
  }

  #of(kind: ResourceKind): KindState {
    const state = this.#kinds.get(kind);
    if (state === undefined) throw new RangeError(`Cannot subscribe to ${kind}: no such kind`);
    return state;
  }
}
