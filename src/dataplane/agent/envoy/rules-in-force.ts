// Which of the delivered listeners an Envoy judges traffic by, as it says itself: what policy status is made of.
import { listenerOfAgent } from '@weft/xds/agent-form';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { TYPE_URLS } from '@weft/xds/resource';
import type { Listener } from '@weft/xds/resources/listener';
import { digestOf, type HeldListener } from '../../report/reporter.ts';
import type { RelayObserver } from '../relay-observer.ts';

const INBOUND = 'inbound';
/** The one in force, the one that warms, and those that were refused in between. */
const MAX_DELIVERED = 4;

export interface RulesInForceOptions {
  /** Something was delivered or answered: Envoy should be asked what it runs. */
  readonly onNews: () => void;
  /** Another listener is in force, or none any more. */
  readonly onChange: () => void;
  /** A delivered listener cannot be read here: nothing can be said of it. */
  readonly onUnreadable: (problem: string) => void;
}

/**
 * An acknowledgement is not enough: Envoy acknowledges a listener that it has yet to warm, and serves by the old one
 * until then. Its own dump says which version is active; what was delivered under that version says which rules.
 */
export class RulesInForce {
  readonly #options: RulesInForceOptions;
  readonly #delivered = new Map<string, Uint8Array>();
  #active: { readonly version: string; readonly listener: Listener | undefined } | undefined;
  /** Of the newest that was delivered. */
  #newest: string | undefined;

  constructor(options: RulesInForceOptions) {
    this.#options = options;
  }

  readonly observer: RelayObserver = {
    onDelivered: (_, { typeUrl, resources, removed }) => {
      if (typeUrl !== TYPE_URLS.listener) return;
      for (const { name, version, bytes } of resources) {
        if (name !== INBOUND) continue;
        this.#keep(version, Buffer.from(bytes));
        this.#newest = version;
      }
      if (removed.includes(INBOUND)) this.#newest = undefined;
    },
    onAnswered: (_, { response }) => {
      if (response.typeUrl === TYPE_URLS.listener) this.#options.onNews();
    },
  };

  #keep(version: string, bytes: Buffer): void {
    this.#delivered.delete(version);
    this.#delivered.set(version, bytes);
    for (const known of this.#delivered.keys()) {
      if (this.#delivered.size <= MAX_DELIVERED) return;
      if (known !== this.#active?.version) this.#delivered.delete(known);
    }
  }

  /** The newest listener is not the one in force. */
  get isWaiting(): boolean {
    return this.#newest !== this.#active?.version;
  }

  /** For people: which version is active, which came last, and the digest that is reported. */
  describe(): object {
    const { held } = this;
    return {
      active: this.#active?.version ?? null,
      newest: this.#newest ?? null,
      digest: held === undefined ? null : digestOf(held),
    };
  }

  get held(): HeldListener | undefined {
    const listener = this.#active?.listener;
    return listener && { listener };
  }

  /** @param version that Envoy calls active; `undefined` when it has no such listener, or is gone. */
  setActive(version: string | undefined): void {
    if (this.#active?.version === version) return;
    this.#active = version === undefined ? undefined : { version, listener: this.#read(version) };
    this.#options.onChange();
  }

  #read(version: string): Listener | undefined {
    const bytes = this.#delivered.get(version);
    if (bytes === undefined) return undefined;
    const read = decodeResource('listener', bytes);
    if (read.ok) return listenerOfAgent(read.value);
    this.#options.onUnreadable(read.problems.map(({ message }) => message).join('; '));
    return undefined;
  }
}
