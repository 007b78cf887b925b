// What filters change of a request's head on its way: headers taken out and added, and another query.
import type { RequestHead } from './connection-facts.ts';

/** Each filter's edits come on top of those before it. Names are in lower case. */
export class HeadEdits {
  readonly #removed = new Set<string>();
  readonly #added: string[] = [];
  /** The normalised target when a filter took something out of its query; the path itself never changes. */
  target: string | undefined;

  /** Takes out every value, those that earlier filters added as well. */
  remove(name: string): void {
    this.#removed.add(name);
    for (let at = this.#added.length - 2; at >= 0; at -= 2) {
      if (this.#added[at] === name) this.#added.splice(at, 2);
    }
  }

  /** Puts in a value beside those that are there. */
  add(name: string, value: string): void {
    this.#added.push(name, value);
  }

  /** The one value from now on; what a client wrote under this name is nobody's word. */
  set(name: string, value: string): void {
    this.remove(name);
    this.add(name, value);
  }

  /** Whether what the client sent under this name is taken out. */
  isRemoved(name: string): boolean {
    return this.#removed.has(name);
  }

  /** `[name, value, …]`. */
  get added(): readonly string[] {
    return this.#added;
  }

  get isEmpty(): boolean {
    return this.#removed.size === 0 && this.#added.length === 0 && this.target === undefined;
  }

  /** Every value of a header after the edits. */
  header(name: string, head: RequestHead): readonly string[] | undefined {
    let values = this.#removed.has(name) ? undefined : head.header(name);
    for (let at = 0; at + 1 < this.#added.length; at += 2) {
      if (this.#added[at] === name) values = [...(values ?? []), this.#added[at + 1] ?? ''];
    }
    return values;
  }
}
