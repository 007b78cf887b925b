// Matches texts against regular expressions in time linear in the text, whatever the text and the expression.
import { OTHER, parseRegex, type RegexNode } from './parse-regex.ts';

export type LinearRegex =
  | { readonly ok: true; readonly matches: (text: string) => boolean }
  | { readonly ok: false; readonly why: string };

/** Steps of a compiled expression: what one character may cost at worst. */
const MAX_STEPS = 512;
/** Kept sets of steps of one expression; when there are more all are forgotten, and matching goes on. */
const MAX_STATES = 256;

type Step =
  | { kind: 'take'; readonly members: Uint8Array; next: number }
  | { kind: 'split'; next: number; other: number }
  | { kind: 'end' };

/** The whole text must match. `ok: false` for what is not in the dialect or too large. */
export function compileLinearRegex(pattern: string): LinearRegex {
  const parsed = parseRegex(pattern);
  if (!parsed.ok) return parsed;
  const program = new Program();
  const start = program.add(parsed.node, program.end);
  if (start === TOO_LARGE) return { ok: false, why: `takes more than ${MAX_STEPS} steps` };
  const machine = new Machine(program.steps, start);
  return { ok: true, matches: (text) => machine.matches(text) };
}

const TOO_LARGE = -1;

/** Built from the end: each part knows what follows it. */
class Program {
  readonly steps: Step[] = [{ kind: 'end' }];
  readonly end = 0;

  #push(step: Step): number {
    if (this.steps.length >= MAX_STEPS) return TOO_LARGE;
    return this.steps.push(step) - 1;
  }

  /** @returns where it begins. */
  add(node: RegexNode, next: number): number {
    if (next === TOO_LARGE) return TOO_LARGE;
    switch (node.kind) {
      case 'class':
        return this.#push({ kind: 'take', members: node.members, next });
      case 'all':
        return node.parts.reduceRight((after, part) => this.add(part, after), next);
      case 'any':
        return this.#alternatives(node.parts, next);
      case 'repeat':
        return this.#repeat(node, next);
      default:
        return node satisfies never;
    }
  }

  #split(next: number, other: number): number {
    const isWhole = next !== TOO_LARGE && other !== TOO_LARGE;
    return isWhole ? this.#push({ kind: 'split', next, other }) : TOO_LARGE;
  }

  #alternatives(parts: readonly RegexNode[], next: number): number {
    const starts = parts.map((part) => this.add(part, next));
    return starts.reduceRight((other, start) => this.#split(start, other));
  }

  #repeat(
    { part, min, max }: { readonly part: RegexNode; readonly min: number; readonly max: number },
    next: number,
  ): number {
    let start = next;
    if (max === Number.POSITIVE_INFINITY) {
      const loop: Step = { kind: 'split', next, other: next };
      start = this.#push(loop);
      const body = this.add(part, start);
      if (body === TOO_LARGE) return TOO_LARGE;
      loop.next = body;
    } else {
      for (let left = max - min; left > 0; left--) {
        start = this.#split(this.add(part, start), next);
        if (start === TOO_LARGE) return TOO_LARGE;
      }
    }
    for (let left = min; left > 0; left--) start = this.add(part, start);
    return start;
  }
}

interface State {
  readonly steps: readonly number[];
  readonly isEnd: boolean;
  readonly next: (State | undefined)[];
}

/** Makes the states of a deterministic machine as texts need them. */
class Machine {
  readonly #steps: readonly Step[];
  readonly #start: number;
  readonly #states = new Map<string, State>();

  constructor(steps: readonly Step[], start: number) {
    this.#steps = steps;
    this.#start = start;
  }

  matches(text: string): boolean {
    let state = this.#stateOf([this.#start]);
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      const input = code < OTHER ? code : OTHER;
      let next = state.next[input];
      if (next === undefined) {
        next = this.#after(state, input);
        state.next[input] = next;
      }
      if (next.steps.length === 0) return false;
      state = next;
    }
    return state.isEnd;
  }

  #after(state: State, input: number): State {
    const next: number[] = [];
    for (const index of state.steps) {
      const step = this.#steps[index];
      if (step?.kind === 'take' && step.members[input] === 1) next.push(step.next);
    }
    return this.#stateOf(next);
  }

  #stateOf(from: readonly number[]): State {
    const reached = new Set<number>();
    const open = [...from];
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      if (reached.has(index)) continue;
      reached.add(index);
      const step = this.#steps[index];
      if (step?.kind === 'split') open.push(step.next, step.other);
    }
    const steps = [...reached].sort((a, b) => a - b);
    const key = steps.join();
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    if (this.#states.size >= MAX_STATES) this.#states.clear();
    const made: State = { steps, isEnd: reached.has(0), next: [] };
    this.#states.set(key, made);
    return made;
  }
}
