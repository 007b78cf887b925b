// Compiles matchers into closures: strings, globs, path templates, metadata. Linear in the text; no RegExp is ever made.
import type { GlobPart, StringMatcher, ValueMatcher } from './rbac.ts';

export type StringTest = (text: string) => boolean;

/** Compiles a string matcher. Case is folded as ASCII hosts need it. */
export function compileString(matcher: StringMatcher): StringTest {
  if (matcher.kind === 'glob') return compileGlob(matcher.parts);
  const { ignoreCase } = matcher;
  const value = ignoreCase ? matcher.value.toLowerCase() : matcher.value;
  const test = plainTest(matcher.kind, value);
  return ignoreCase ? (text) => test(text.toLowerCase()) : test;
}

function plainTest(kind: 'exact' | 'prefix' | 'suffix' | 'contains', value: string): StringTest {
  switch (kind) {
    case 'exact':
      return (text) => text === value;
    case 'prefix':
      return (text) => text.startsWith(value);
    case 'suffix':
      return (text) => text.endsWith(value);
    case 'contains':
      return (text) => text.includes(value);
    default:
      return kind satisfies never;
  }
}

/** One step of a glob over positions: where a match may stand after this part. */
type Step =
  | { readonly kind: 'literal'; readonly text: string }
  /** `min` to any number of bytes that `accepts`. */
  | { readonly kind: 'run'; readonly min: 0 | 1; readonly accepts: (code: number) => boolean };

const SLASH = 0x2f;
const anyByte = (): boolean => true;
const notSlash = (code: number): boolean => code !== SLASH;

function stepOf(part: GlobPart): Step {
  switch (part.kind) {
    case 'literal':
      return part;
    case 'any':
      return { kind: 'run', min: 0, accepts: anyByte };
    case 'some':
      return { kind: 'run', min: 1, accepts: anyByte };
    case 'segment':
      return { kind: 'run', min: 0, accepts: notSlash };
    default:
      return part satisfies never;
  }
}

/** Anchored at both ends. Time is the text's length times the number of parts, whatever the text. */
function compileSteps(steps: readonly Step[]): StringTest {
  return (text) => {
    let reached: Uint8Array = new Uint8Array(text.length + 1);
    reached[0] = 1;
    for (const step of steps) reached = advance(step, text, reached);
    return reached[text.length] === 1;
  };
}

function advance(step: Step, text: string, from: Uint8Array): Uint8Array {
  const next = new Uint8Array(text.length + 1);
  if (step.kind === 'literal') {
    for (let at = 0; at + step.text.length <= text.length; at++) {
      if (from[at] === 1 && text.startsWith(step.text, at)) next[at + step.text.length] = 1;
    }
    return next;
  }
  let isRunning = false;
  for (let at = 0; at <= text.length; at++) {
    if (at > 0) {
      const wasOpen: boolean = isRunning || from[at - 1] === 1;
      isRunning = wasOpen && step.accepts(text.charCodeAt(at - 1));
    }
    if (isRunning || (step.min === 0 && from[at] === 1)) next[at] = 1;
  }
  return next;
}

/** A glob; the common shapes are recognised and run without the general walk. */
export function compileGlob(parts: readonly GlobPart[]): StringTest {
  const [first, second, third, ...rest] = parts;
  if (rest.length === 0) {
    if (first?.kind === 'some' && second === undefined) return (text) => text.length > 0;
    if (first?.kind === 'any' && second?.kind === 'literal' && third?.kind === 'any') {
      return plainTest('contains', second.text);
    }
    if (first?.kind === 'literal' && second?.kind === 'any' && third?.kind === 'literal') {
      const { text: head } = first;
      const { text: tail } = third;
      const shortest = head.length + tail.length;
      return (text) => text.length >= shortest && text.startsWith(head) && text.endsWith(tail);
    }
  }
  return compileSteps(parts.map(stepOf));
}

/** RFC 3986 pchar, and `*` which Envoy once left out (CVE-2025-46821). */
function isPathChar(code: number): boolean {
  if ((code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a)) return true;
  if (code >= 0x61 && code <= 0x7a) return true;
  return PATH_PUNCTUATION.has(code);
}
const PATH_PUNCTUATION: ReadonlySet<number> = new Set(
  Array.from("-._~%!$&'()*+,;:@=", (char) => char.charCodeAt(0)),
);
const isPathCharOrSlash = (code: number): boolean => code === SLASH || isPathChar(code);

/**
 * Compiles a path template: `{*}` is one segment of at least one byte, `{**}` is anything, slashes included.
 * @param isWide the wildcard takes any byte: chosen where matching more is the safe side (a DENY). Otherwise
 *   only what may stand in a path (an ALLOW).
 */
export function compileTemplate(
  template: string,
  options: { readonly isWide: boolean },
): StringTest {
  const segmentByte = options.isWide ? notSlash : isPathChar;
  const treeByte = options.isWide ? anyByte : isPathCharOrSlash;
  const steps: Step[] = [];
  let at = 0;
  while (at < template.length) {
    if (template.startsWith('{**}', at)) {
      steps.push({ kind: 'run', min: 0, accepts: treeByte });
      at += 4;
    } else if (template.startsWith('{*}', at)) {
      steps.push({ kind: 'run', min: 1, accepts: segmentByte });
      at += 3;
    } else {
      const brace = template.indexOf('{', at + 1);
      const end = brace === -1 ? template.length : brace;
      steps.push({ kind: 'literal', text: template.slice(at, end) });
      at = end;
    }
  }
  return compileSteps(steps);
}

/** A list in metadata longer than this is not looked through to its end. */
const MAX_LIST = 1_024;

/** Tests a metadata value. Numbers and booleans never equal strings, as in Envoy. */
export function compileValue(matcher: ValueMatcher): (value: unknown) => boolean {
  switch (matcher.kind) {
    case 'present':
      return (value) => value !== undefined && value !== null;
    case 'string': {
      const test = compileString(matcher.string);
      return (value) => typeof value === 'string' && test(value);
    }
    case 'list': {
      const test = compileValue(matcher.oneOf);
      return (value) => Array.isArray(value) && value.slice(0, MAX_LIST).some(test);
    }
    case 'or': {
      const tests = matcher.values.map(compileValue);
      return (value) => tests.some((test) => test(value));
    }
    default:
      return matcher satisfies never;
  }
}
