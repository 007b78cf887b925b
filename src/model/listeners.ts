// Who wants to be told of something: one after the other, until each has had enough.

export class Listeners<Event = void> {
  readonly #listeners = new Set<(event: Event) => void>();

  get size(): number {
    return this.#listeners.size;
  }

  /** Until disposed; added twice, it is told twice. */
  add(listener: (event: Event) => void): Disposable {
    const own = (event: Event): void => listener(event);
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  /** One that throws ends the telling, because nobody else could know. */
  tell(event: Event): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** One listener's flaw does not keep the news from the others. @param failed is told of each that throws. */
  tellAll(event: Event, failed: (error: unknown) => void): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        failed(error);
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}
