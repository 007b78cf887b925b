// Remembers which resources could not be encoded, for as long as the mesh would give them.
import { errorText } from '@weft/model/error-text';
import type { Problem } from '@weft/model/problem';
import type { EncodingFailure } from '../resources/resource-cache.ts';

/** Each is one resource that is left out; more of them say no more. */
const MAX_PROBLEMS = 1_000;

interface Known {
  readonly failure: EncodingFailure;
  readonly problem: Problem;
}

export class EncodingProblems {
  readonly #known = new Map<string, Known>();

  note(failure: EncodingFailure): void {
    if (this.#known.size >= MAX_PROBLEMS) return;
    const { kind, name, owner, cause } = failure;
    const what = owner === undefined ? name : `${name} of ${owner}`;
    const message = `left out the ${kind} ${what}: ${errorText(cause)}`;
    const problem: Problem = { severity: 'error', code: 'cannot-encode', message };
    this.#known.set(`${kind}\0${what}`, { failure, problem });
  }

  /** After a change: forgets all that are not found again. */
  refresh(isLeftOut: (failure: EncodingFailure) => boolean): void {
    if (this.#known.size === 0) return;
    const known = [...this.#known];
    this.#known.clear();
    for (const [key, one] of known) if (isLeftOut(one.failure)) this.#known.set(key, one);
  }

  problems(): readonly Problem[] {
    return [...this.#known.values()].map(({ problem }) => problem);
  }
}
