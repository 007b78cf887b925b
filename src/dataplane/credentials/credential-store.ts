// Holds the credentials that are granted now, in memory alone, and tells whoever waits when that changes.
import { Listeners } from '@weft/model/listeners';
import type { Credential } from './credential.ts';

/** An identity with more is a mistake of its bindings; what comes beyond is not taken. */
export const MAX_CREDENTIALS = 256;

export interface StoreChange {
  readonly changed: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
}

export interface StoreUpdate {
  readonly credentials: readonly Credential[];
  readonly removed: Iterable<string>;
  /** Everything that is granted has come. */
  readonly isComplete?: boolean;
}

export class CredentialStore {
  readonly #byName = new Map<string, Credential>();
  readonly #listeners = new Listeners<StoreChange>();
  #isComplete = false;

  /** Whether a name that is not here is one that is not granted; else it may still come. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Credential | undefined {
    return this.#byName.get(name);
  }

  all(): readonly Credential[] {
    return [...this.#byName.values()];
  }

  /** @returns names for which there was no room. */
  apply({ credentials, removed, isComplete = false }: StoreUpdate): readonly string[] {
    const change = { changed: new Set<string>(), removed: new Set<string>() };
    const refused: string[] = [];
    for (const name of removed) if (this.#byName.delete(name)) change.removed.add(name);
    for (const credential of credentials) {
      const { name, version } = credential;
      const known = this.#byName.get(name);
      if (known === undefined && this.#byName.size >= MAX_CREDENTIALS) {
        refused.push(name);
        continue;
      }
      if (known?.version === version) continue;
      this.#byName.set(name, credential);
      change.changed.add(name);
      change.removed.delete(name);
    }
    const isNowComplete = isComplete && !this.#isComplete;
    if (isNowComplete) this.#isComplete = true;
    if (change.changed.size + change.removed.size > 0 || isNowComplete) this.#tell(change);
    return refused;
  }

  /** The identity is no more: nothing is granted to it. */
  clear(): void {
    this.#isComplete = false;
    this.apply({ credentials: [], removed: [...this.#byName.keys()] });
  }

  /** @param listener called after each change, in the order of joining; must not throw. */
  onChange(listener: (change: StoreChange) => void): Disposable {
    return this.#listeners.add(listener);
  }

  #tell(change: StoreChange): void {
    this.#listeners.tell(change);
  }

  /** Names and versions, for people. No value. */
  describe(): readonly { readonly name: string; readonly version: string }[] {
    return this.all().map(({ name, version }) => ({ name, version }));
  }
}
