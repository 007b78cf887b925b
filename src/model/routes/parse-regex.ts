// Parses the dialect of regular expressions that routes may use: what every engine reads alike and matches in linear time.

/** Codes of ASCII, and one place for all others. */
export const CLASS_SIZE = 129;
export const OTHER = 128;

export type RegexNode =
  | { readonly kind: 'class'; readonly members: Uint8Array }
  | { readonly kind: 'all'; readonly parts: readonly RegexNode[] }
  | { readonly kind: 'any'; readonly parts: readonly RegexNode[] }
  /** `max` is infinite where there is no limit. */
  | {
      readonly kind: 'repeat';
      readonly part: RegexNode;
      readonly min: number;
      readonly max: number;
    };

export type RegexParsing =
  | { readonly ok: true; readonly node: RegexNode }
  /** What of it is not in the dialect, for people. */
  | { readonly ok: false; readonly why: string };

/** Longer patterns than that are no routes any more; also Gateway API's own limit. */
const MAX_PATTERN = 1_024;
const MAX_DEPTH = 24;
const MAX_REPEAT = 256;

class Refused extends Error {}

const refuse = (why: string): never => {
  throw new Refused(why);
};

export function parseRegex(pattern: string): RegexParsing {
  if (pattern.length > MAX_PATTERN) return { ok: false, why: `is longer than ${MAX_PATTERN}` };
  try {
    return { ok: true, node: new Parser(pattern).parse() };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, why: error.message };
    throw error;
  }
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): RegexNode {
    // The whole text is matched anyway.
    if (this.#text.startsWith('^')) this.#at = 1;
    const node = this.#alternatives();
    if (this.#at < this.#text.length) refuse('has a ")" that closes nothing');
    return node;
  }

  get #char(): string | undefined {
    return this.#text[this.#at];
  }

  #alternatives(): RegexNode {
    if (++this.#depth > MAX_DEPTH) refuse(`is nested deeper than ${MAX_DEPTH}`);
    const parts = [this.#sequence()];
    while (this.#char === '|') {
      this.#at++;
      parts.push(this.#sequence());
    }
    this.#depth--;
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : { kind: 'any', parts };
  }

  #sequence(): RegexNode {
    const parts: RegexNode[] = [];
    for (let char = this.#char; char !== undefined; char = this.#char) {
      if (char === '|' || char === ')') break;
      const isEnd = char === '$' && this.#at === this.#text.length - 1 && this.#depth === 1;
      if (isEnd) this.#at++;
      else parts.push(this.#repeated(this.#atom(char)));
    }
    return { kind: 'all', parts };
  }

  #repeated(part: RegexNode): RegexNode {
    const bounds = this.#bounds();
    if (bounds === undefined) return part;
    // Lazy or greedy, the same texts match.
    if (this.#char === '?') this.#at++;
    if (this.#char !== undefined && '*+?{'.includes(this.#char)) {
      refuse('repeats a repetition, or has a possessive quantifier');
    }
    return { kind: 'repeat', part, ...bounds };
  }

  #bounds(): { readonly min: number; readonly max: number } | undefined {
    const char = this.#char;
    if (char === '{') return this.#counted();
    if (char === undefined || !'*+?'.includes(char)) return undefined;
    this.#at++;
    return {
      min: char === '+' ? 1 : 0,
      max: char === '?' ? 1 : Number.POSITIVE_INFINITY,
    };
  }

  #counted(): { readonly min: number; readonly max: number } {
    const end = this.#text.indexOf('}', this.#at);
    const [low = '', high] = (end === -1 ? '' : this.#text.slice(this.#at + 1, end)).split(',', 2);
    this.#at = end + 1;
    const min = countOf(low);
    const max = high === undefined ? min : high === '' ? Number.POSITIVE_INFINITY : countOf(high);
    if (min > max) refuse('has a repetition whose least is more than its most');
    return { min, max };
  }

  #atom(char: string): RegexNode {
    this.#at++;
    switch (char) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'class', members: this.#bracket() };
      case '.':
        return { kind: 'class', members: classOf((code) => code !== 0x0a) };
      case '\\':
        return { kind: 'class', members: this.#escape() };
      case '^':
      case '$':
        return refuse(`has "${char}" in its midst`);
      case '*':
      case '+':
      case '?':
        return refuse(`has "${char}" with nothing before it`);
      case '{':
      case '}':
      case ']':
        return refuse(`has a bare "${char}": write "\\${char}"`);
      default:
        return { kind: 'class', members: single(char) };
    }
  }

  #group(): RegexNode {
    if (this.#char === '?') {
      if (!this.#text.startsWith('?:', this.#at)) {
        refuse('has a group other than "(…)" and "(?:…)": no lookaround, names or flags');
      }
      this.#at += 2;
    }
    const node = this.#alternatives();
    if (this.#char !== ')') refuse('has a "(" that nothing closes');
    this.#at++;
    return node;
  }

  /** Behind a backslash. */
  #escape(): Uint8Array {
    const char = this.#char;
    if (char === undefined) return refuse('ends with a backslash');
    this.#at++;
    const set = SHORTHANDS.get(char.toLowerCase());
    if (set !== undefined) return char === char.toLowerCase() ? set : inverse(set);
    const control = CONTROLS.get(char);
    if (control !== undefined) return single(control);
    if (isAlphanumeric(char.charCodeAt(0))) {
      refuse(`has "\\${char}", which is not in the dialect`);
    }
    return single(char);
  }

  /** Behind a `[`. */
  #bracket(): Uint8Array {
    const isNegated = this.#char === '^';
    if (isNegated) this.#at++;
    const members = new Uint8Array(CLASS_SIZE);
    let isFirst = true;
    for (;;) {
      const char = this.#char;
      if (char === undefined) return refuse('has a "[" that nothing closes');
      this.#at++;
      if (char === ']' && !isFirst) break;
      if (char === '[' || char === ']') refuse(`has a bare "${char}" in a class`);
      isFirst = false;
      this.#member(char, members);
    }
    return isNegated ? inverse(members) : members;
  }

  #member(char: string, members: Uint8Array): void {
    const set = char === '\\' ? this.#escape() : single(char);
    const isRange = this.#char === '-' && (this.#text[this.#at + 1] ?? ']') !== ']';
    if (!isRange) {
      set.forEach((isIn, code) => {
        if (isIn === 1) members[code] = 1;
      });
      return;
    }
    const next = this.#text[this.#at + 1] ?? '';
    this.#at += 2;
    const from = onlyOf(set);
    const to = onlyOf(next === '\\' ? this.#escape() : single(next));
    if (from > to) refuse('has a range that runs backwards');
    members.fill(1, from, to + 1);
  }
}

function countOf(digits: string): number {
  const isNumber = digits.length > 0 && Array.from(digits).every((one) => one >= '0' && one <= '9');
  const count = isNumber ? Number(digits) : Number.NaN;
  return count <= MAX_REPEAT ? count : refuse(`repeats by no number up to ${MAX_REPEAT}`);
}

function classOf(isIn: (code: number) => boolean): Uint8Array {
  const members = new Uint8Array(CLASS_SIZE);
  for (let code = 0; code < CLASS_SIZE; code++) members[code] = isIn(code) ? 1 : 0;
  return members;
}

function single(char: string): Uint8Array {
  const code = char.charCodeAt(0);
  if (code < 0x20 || code >= 0x7f) {
    const isControl = char.length === 1 && (code === 0x09 || code === 0x0a || code === 0x0d);
    if (!isControl) refuse('has a character that is not of ASCII');
  }
  return classOf((one) => one === code);
}

const inverse = (members: Uint8Array): Uint8Array => classOf((code) => members[code] !== 1);

function onlyOf(members: Uint8Array): number {
  const code = members.indexOf(1);
  return code === members.lastIndexOf(1) ? code : refuse('has a range of more than characters');
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isAlphanumeric = (code: number): boolean =>
  isDigit(code) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || code > 0x7f;

const SHORTHANDS: ReadonlyMap<string, Uint8Array> = new Map([
  ['d', classOf(isDigit)],
  ['w', classOf((code) => code < OTHER && (isAlphanumeric(code) || code === 0x5f))],
  ['s', classOf((code) => [0x09, 0x0a, 0x0c, 0x0d, 0x20].includes(code))],
]);
const CONTROLS: ReadonlyMap<string, string> = new Map([
  ['t', '\t'],
  ['n', '\n'],
  ['r', '\r'],
]);
