// Changes an answer's headers as routes say, for both versions of HTTP.
import type { HeaderRules } from '@weft/xds/resources/route-rule';

/** What is taken out of an answer, and what is put in. */
export class AnswerHeaders {
  readonly #removed = new Set<string>();
  /** `[name, value, …]`. */
  readonly added: readonly string[];

  /** @param rules each on top of those before it. */
  constructor(rules: readonly HeaderRules[]) {
    let added: string[] = [];
    const remove = (name: string): void => {
      this.#removed.add(name);
      added = added.filter((_text, at) => added[at - (at % 2)] !== name);
    };
    for (const { remove: names, put } of rules) {
      for (const name of names) remove(name);
      for (const { name, value, isSet } of put) {
        if (isSet) remove(name);
        added.push(name, value);
      }
    }
    this.added = added;
  }

  /** @param name in lower case. */
  isRemoved(name: string): boolean {
    return this.#removed.has(name);
  }

  /** Of HTTP/2: a new list. */
  applyTo(raw: readonly string[]): string[] {
    const out: string[] = [];
    for (let at = 0; at + 1 < raw.length; at += 2) {
      const name = raw[at] ?? '';
      if (!this.#removed.has(name)) out.push(name, raw[at + 1] ?? '');
    }
    out.push(...this.added);
    return out;
  }
}
