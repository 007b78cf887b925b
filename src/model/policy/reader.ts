// Walks a parsed YAML or JSON value and collects what is wrong with its shape, each problem with its field path.
import type { Problem } from '../problem.ts';

/** A YAML or JSON mapping. */
export type PlainObject = Readonly<Record<string, unknown>>;

export function isPlainObject(value: unknown): value is PlainObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Characters of an offending value that a message repeats. */
const MAX_SHOWN = 120;

/** A user's text for a message: quoted, control characters escaped, of bounded length. */
export function shown(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}

const describe = (value: unknown): string => {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'string'
    ? `string ${shown(value)}`
    : `${typeof value} ${JSON.stringify(value)}`;
};

/** Problems that are kept of one object: more help nobody, and a hostile file could make millions. */
const MAX_PROBLEMS = 100;
/** Characters of one text. Nothing that is matched is longer: request heads are bounded far below it. */
const MAX_TEXT = 8_192;

/** Collects problems while a value is taken apart. Absent and wrong parts come back as `undefined`. */
export class Reader {
  readonly problems: Problem[] = [];

  error(field: string, code: string, message: string, cure?: string): void {
    if (this.problems.length >= MAX_PROBLEMS) return;
    const problem: Problem = { severity: 'error', code, field, message };
    this.problems.push(cure === undefined ? problem : { ...problem, cure });
  }

  /** A mapping, with every key known; a key that is not is an error and never ignored. */
  object(value: unknown, field: string, keys: readonly string[]): PlainObject | undefined {
    if (value === undefined) return undefined;
    if (!isPlainObject(value)) {
      this.error(field, 'wrong-type', `expected a mapping, found ${describe(value)}`);
      return undefined;
    }
    for (const key of Object.keys(value)) {
      if (!keys.includes(key)) {
        const near = keys.find((known) =>
          known.toLowerCase().startsWith(key.toLowerCase().slice(0, 4)),
        );
        this.error(
          `${field === '' ? '' : `${field}.`}${key.slice(0, MAX_SHOWN)}`,
          'unknown-field',
          `unknown field ${shown(key)}`,
          near === undefined ? `use one of ${keys.join(', ')}` : `did you mean "${near}"?`,
        );
      }
    }
    return value;
  }

  list(value: unknown, field: string, limit: number): readonly unknown[] | undefined {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) {
      this.error(
        field,
        'wrong-type',
        `expected a list, found ${describe(value)}`,
        'write it as a list: - …',
      );
      return undefined;
    }
    if (value.length > limit) {
      this.error(field, 'too-many', `${value.length} entries, at most ${limit} are allowed`);
      return undefined;
    }
    const entries: readonly unknown[] = value;
    return entries;
  }

  string(value: unknown, field: string): string | undefined {
    if (value === undefined) return undefined;
    if (typeof value !== 'string') {
      this.error(
        field,
        'wrong-type',
        `expected a text, found ${describe(value)}`,
        'put it in quotes',
      );
      return undefined;
    }
    if (value.length > MAX_TEXT) {
      this.error(field, 'too-long', `${value.length} characters, at most ${MAX_TEXT} are allowed`);
      return undefined;
    }
    return value;
  }

  /** A list of texts, none of them empty. */
  strings(value: unknown, field: string, limit: number): readonly string[] {
    const entries = this.list(value, field, limit) ?? [];
    const texts: string[] = [];
    entries.forEach((entry, index) => {
      const text = this.string(entry, `${field}[${index}]`);
      if (text === undefined) {
        if (entry === undefined) this.error(`${field}[${index}]`, 'wrong-type', 'expected a text');
      } else if (text === '') {
        this.error(
          `${field}[${index}]`,
          'empty-value',
          'empty value is not allowed',
          'remove it, or write "*" for any',
        );
      } else texts.push(text);
    });
    return texts;
  }

  /** A mapping of texts to texts. */
  stringMap(value: unknown, field: string, limit: number): ReadonlyMap<string, string> | undefined {
    if (value === undefined) return undefined;
    if (!isPlainObject(value)) {
      this.error(field, 'wrong-type', `expected a mapping, found ${describe(value)}`);
      return undefined;
    }
    const entries = Object.entries(value);
    if (entries.length > limit)
      this.error(field, 'too-many', `${entries.length} entries, at most ${limit}`);
    const map = new Map<string, string>();
    for (const [key, entry] of entries) {
      const text = this.string(entry, `${field}.${key}`);
      if (text !== undefined) map.set(key, text);
    }
    return map;
  }
}
