// A set of listeners that are told one after the other; one that throws ends the telling, because nobody else could know.

export class Listeners<Event> {
  readonly #listeners = new Set<(event: Event) => void>();

  add(listener: (event: Event) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  tell(event: Event): void {
    for (const listener of this.#listeners) listener(event);
  }
}
