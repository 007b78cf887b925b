// Collects what is so of a pair, in order; the first that is not ends the run.

export class PairChecks {
  readonly passed: string[] = [];
  readonly #pair: string;

  constructor(pair: string) {
    this.#pair = pair;
  }

  check(isTrue: boolean, what: string, seen: string): void {
    if (!isTrue) throw new Error(`Cannot measure ${this.#pair}: not so that ${what}: ${seen}`);
    this.passed.push(what);
  }
}
