// Owns the CA's state: changes it one after the other, each kept before it is acted on, and follows what another control plane has kept.
import type { Logger } from 'pino';
import { type OpenedState, openState, withoutUnneeded } from './opened-state.ts';
import type { CaState, CaStore, SaveResult } from './store/store.ts';

export interface StateChange {
  readonly before: OpenedState;
  readonly after: OpenedState;
}

export interface KeptStateOptions {
  readonly store: CaStore;
  /** As the store gave or took it. */
  readonly state: CaState;
  readonly log?: Logger;
  /** Acts on a change that is in force, whoever made it; no other happens before it has ended. */
  readonly onChange: (change: StateChange) => Promise<void>;
}

export class KeptState implements AsyncDisposable {
  readonly #options: KeptStateOptions;
  #opened: OpenedState;
  /** Changes of state happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #subscription: Disposable | undefined;
  #isDisposed = false;

  /** @throws when the state contradicts itself. */
  constructor(options: KeptStateOptions) {
    this.#options = options;
    this.#opened = openState(options.state);
  }

  get opened(): OpenedState {
    return this.#opened;
  }

  /** Whether others may change the state as well, and issue certificates of their own. */
  get isShared(): boolean {
    return this.#options.store.subscribe !== undefined;
  }

  /** Once: what others keep is taken over from now on. */
  follow(): void {
    this.#subscription = this.#options.store.subscribe?.((state) => {
      this.exclusively(() => this.#adopt(state)).catch((error: unknown) => {
        if (this.#isDisposed) return;
        this.#options.log?.error({ err: error }, 'ca state of another control plane not taken');
      });
    });
  }

  exclusively<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.#isDisposed) throw new Error('Cannot change the CA: it is closed');
      return run();
    });
    // The caller hears of a failure; the next change must not.
    this.#last = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /**
   * Keeps the state first and acts on it then, so that whatever was told is still true after a crash. Inside `exclusively` alone.
   * On a conflict the state of the other is in force when this returns.
   */
  async commit(changed: CaState): Promise<SaveResult> {
    const { store, log } = this.#options;
    const opened = openState(withoutUnneeded(changed));
    const saved = await store.save(opened.state, this.#opened.state);
    if (saved.ok) {
      await this.#take(opened);
      return saved;
    }
    const { reasonCode, reason } = saved;
    if (reasonCode === 'conflict') {
      log?.info({ reason }, 'ca state was changed by another control plane first');
      await this.#reload();
    } else log?.error({ reasonCode, reason }, 'ca state not kept');
    return saved;
  }

  async #reload(): Promise<void> {
    try {
      const state = await this.#options.store.load();
      if (state !== undefined) await this.#adopt(state);
    } catch (error) {
      // What is in force stays so; the store says the same to whoever asks it.
      this.#options.log?.error({ err: error }, 'ca state not read');
    }
  }

  async #adopt(state: CaState): Promise<void> {
    if (state === this.#opened.state) return;
    await this.#take(openState(state));
  }

  async #take(opened: OpenedState): Promise<void> {
    const before = this.#opened;
    this.#opened = opened;
    const { phase } = opened.state.rotation;
    const bundleVersion = opened.bundle.version;
    this.#options.log?.info({ phase, bundleVersion }, 'ca state changed');
    await this.#options.onChange({ before, after: opened });
  }

  /** Waits for the change that is under way. The store is its opener's to close. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription?.[Symbol.dispose]();
    await this.#last;
    this.#isDisposed = true;
  }
}
