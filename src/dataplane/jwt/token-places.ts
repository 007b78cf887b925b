// Where tokens stand in a request: finds them in headers, parameters and cookies, and takes them out again.
import type { TokenHeader, TokenRule } from '@weft/model/policy/token-rules';
import type { GateRequest } from '../filters/request-gate.ts';

/** A place that at least one rule reads. */
export interface TokenPlace {
  readonly kind: 'header' | 'param' | 'cookie';
  readonly name: string;
  /** Of a header. */
  readonly prefix: string;
  /** Indexes of the rules that read it, in their order. */
  readonly rules: readonly number[];
}

export interface FoundToken {
  /** Index of its place. */
  readonly place: number;
  readonly token: string;
}

/** Tokens that one request may carry; more are an attack on whoever verifies them. */
export const MAX_TOKENS = 8;

/** Every place of all rules, each once. */
export function placesOf(rules: readonly TokenRule[]): readonly TokenPlace[] {
  const places = new Map<string, { place: Omit<TokenPlace, 'rules'>; rules: number[] }>();
  const add = (place: Omit<TokenPlace, 'rules'>, rule: number): void => {
    const key = `${place.kind} ${place.name} ${place.prefix}`;
    const known = places.get(key);
    if (known === undefined) places.set(key, { place, rules: [rule] });
    else if (!known.rules.includes(rule)) known.rules.push(rule);
  };
  rules.forEach((rule, index) => {
    for (const { name, prefix } of rule.fromHeaders) add({ kind: 'header', name, prefix }, index);
    for (const name of rule.fromParams) add({ kind: 'param', name, prefix: '' }, index);
    for (const name of rule.fromCookies) add({ kind: 'cookie', name, prefix: '' }, index);
  });
  return [...places.values()].map(({ place, rules: readers }) => ({ ...place, rules: readers }));
}

/** Every token at every place, also of repeated headers, parameters and cookies: each must be good. */
export function findTokens(
  places: readonly TokenPlace[],
  { facts }: Pick<GateRequest, 'facts'>,
): readonly FoundToken[] | undefined {
  let found: FoundToken[] | undefined;
  for (let place = 0; place < places.length; place++) {
    const at = places[place];
    if (at === undefined) continue;
    for (const token of tokensAt(at, facts)) (found ??= []).push({ place, token });
  }
  return found;
}

const NONE: readonly string[] = [];

function tokensAt(place: TokenPlace, facts: GateRequest['facts']): readonly string[] {
  switch (place.kind) {
    case 'header': {
      const values = facts.header(place.name);
      return values === undefined ? NONE : values.flatMap((value) => inHeader(value, place));
    }
    case 'param': {
      const target = facts.target ?? '';
      return target.includes('?') ? inQuery(target, place.name) : NONE;
    }
    case 'cookie': {
      const values = facts.header('cookie');
      return values === undefined ? NONE : values.flatMap((value) => inCookies(value, place.name));
    }
    default:
      return place.kind satisfies never;
  }
}

/**
 * The value behind the prefix. Schemes of `Authorization` are compared without case (RFC 9110 §11.1): a token that an
 * application would take must not pass unseen. Several values in one line are looked at one by one.
 */
function inHeader(value: string, place: TokenHeader): readonly string[] {
  if (place.prefix === '') return value === '' ? NONE : [value.trim()];
  const parts = value.includes(',') ? value.split(',') : [value];
  return parts.flatMap((part) => {
    const text = part.trimStart();
    const head = text.slice(0, place.prefix.length);
    const isThere =
      head === place.prefix ||
      (place.name === 'authorization' && head.toLowerCase() === place.prefix.toLowerCase()) ||
      /** `Bearer` with nothing behind it, its space trimmed. */
      text.trimEnd() === place.prefix.trimEnd();
    return isThere ? [text.slice(place.prefix.length).trim()] : [];
  });
}

function inQuery(target: string, name: string): readonly string[] {
  const query = queryOf(target);
  return query.split('&').flatMap((pair) => {
    const equals = pair.indexOf('=');
    if (equals === -1 || decoded(pair.slice(0, equals)) !== name) return [];
    return [decoded(pair.slice(equals + 1))];
  });
}

/** Between `?` and `#`. */
function queryOf(target: string): string {
  const start = target.indexOf('?') + 1;
  const end = target.indexOf('#', start);
  return target.slice(start, end === -1 ? target.length : end);
}

/** What cannot be decoded is as it stands. */
function decoded(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

function inCookies(value: string, name: string): readonly string[] {
  return value.split(';').flatMap((pair) => {
    const equals = pair.indexOf('=');
    if (equals === -1 || pair.slice(0, equals).trim() !== name) return [];
    const text = pair.slice(equals + 1).trim();
    const isQuoted = text.length > 1 && text.startsWith('"') && text.endsWith('"');
    return [isQuoted ? text.slice(1, -1) : text];
  });
}

/** Takes a place's tokens out of what is sent on; what else stands beside them stays. */
export function removeTokens(place: TokenPlace, request: GateRequest): void {
  const { facts } = request;
  const edits = request.edits();
  switch (place.kind) {
    case 'header':
      edits.remove(place.name);
      return;
    case 'param': {
      const target = edits.target ?? facts.target ?? '';
      const start = target.indexOf('?');
      if (start === -1) return;
      const kept = queryOf(target)
        .split('&')
        .filter((pair) => decoded(pair.split('=', 1)[0] ?? '') !== place.name)
        .join('&');
      edits.target = target.slice(0, start) + (kept === '' ? '' : `?${kept}`);
      return;
    }
    case 'cookie': {
      const values = facts.header('cookie') ?? [];
      const kept = values
        .flatMap((value) => value.split(';'))
        .filter((pair) => (pair.split('=', 1)[0] ?? '').trim() !== place.name)
        .map((pair) => pair.trim())
        .filter((pair) => pair !== '');
      edits.remove('cookie');
      if (kept.length > 0) edits.add('cookie', kept.join('; '));
      facts.applyEdits(edits);
      return;
    }
    default:
      return place.kind satisfies never;
  }
}
