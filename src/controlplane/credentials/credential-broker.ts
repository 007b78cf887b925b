// Follows the places of credentials while anybody entitled watches them, each once however many watch: values are held no longer.
import type { CredentialSourceRef } from '@weft/model/credentials/types';
import type { ConfiguredSources, FoundSource } from './sources/configured-sources.ts';
import type { CredentialSource, SourceReading } from './sources/source.ts';

/** What is known of a place. */
export type PlaceState =
  /** Asked, and not yet answered. */
  | { readonly kind: 'pending' }
  | {
      readonly kind: 'values';
      readonly version: string;
      readonly values: ReadonlyMap<string, Uint8Array>;
      /** These are the last ones, and the source cannot be read now. */
      readonly unavailable?: string;
    }
  /** Never read yet. */
  | { readonly kind: 'unavailable'; readonly reason: string }
  | { readonly kind: 'gone'; readonly reason: string };

export interface FollowedPlace extends Disposable {
  readonly state: PlaceState;
}

/** Places that are followed at once; each is a watch or a poll at its source. */
const MAX_PLACES = 4_096;
const PENDING: PlaceState = { kind: 'pending' };

interface Place {
  state: PlaceState;
  readonly following: Disposable;
  readonly listeners: Set<() => void>;
}

export class CredentialBroker implements AsyncDisposable {
  readonly #sources: ConfiguredSources;
  readonly #places = new Map<CredentialSource, Map<string, Place>>();
  #count = 0;

  constructor(sources: ConfiguredSources) {
    this.#sources = sources;
  }

  /** Of places that are followed now. */
  get size(): number {
    return this.#count;
  }

  find(namespace: string, ref: CredentialSourceRef): FoundSource {
    return this.#sources.find(namespace, ref);
  }

  /** @param onChange called when the state is another, never within this call */
  follow(namespace: string, ref: CredentialSourceRef, onChange: () => void): FollowedPlace {
    const found = this.find(namespace, ref);
    if (!found.ok) return fixed({ kind: 'gone', reason: found.reason });
    const { source, place: name } = found;
    const places = this.#places.get(source) ?? new Map<string, Place>();
    const known = places.get(name);
    if (known === undefined && this.#count >= MAX_PLACES) {
      return fixed({ kind: 'gone', reason: `${MAX_PLACES} places are followed already` });
    }
    this.#places.set(source, places);
    const place = known ?? this.#start(source, name, places);
    const listener = (): void => onChange();
    place.listeners.add(listener);
    return {
      get state() {
        return place.state;
      },
      [Symbol.dispose]: () => {
        place.listeners.delete(listener);
        if (place.listeners.size > 0 || places.get(name) !== place) return;
        places.delete(name);
        this.#count--;
        place.following[Symbol.dispose]();
        place.state = PENDING;
      },
    };
  }

  #start(source: CredentialSource, name: string, places: Map<string, Place>): Place {
    const listeners = new Set<() => void>();
    const place: Place = {
      state: PENDING,
      listeners,
      following: source.follow(name, (reading) => {
        place.state = nextState(place.state, reading);
        for (const listener of listeners) listener();
      }),
    };
    places.set(name, place);
    this.#count++;
    return place;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const places of this.#places.values()) {
      for (const { following } of places.values()) following[Symbol.dispose]();
    }
    this.#places.clear();
    this.#count = 0;
    await this.#sources[Symbol.asyncDispose]();
  }
}

const fixed = (state: PlaceState): FollowedPlace => ({ state, [Symbol.dispose]: () => undefined });

/** An outage takes nothing away from anybody. */
function nextState(before: PlaceState, reading: SourceReading): PlaceState {
  if (reading.kind !== 'unavailable') return reading;
  const { reason } = reading;
  if (before.kind !== 'values') return before.kind === 'gone' ? before : reading;
  const { kind, version, values } = before;
  return { kind, version, values, unavailable: reason };
}
