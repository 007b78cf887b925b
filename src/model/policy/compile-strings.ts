// How the texts of policies match: wildcards at either end, templates, and each field's own reading of "*".
import type { GlobPart, HeaderMatcher, Permission, StringMatcher, ValueMatcher } from './rbac.ts';

const literal = (text: string): GlobPart => ({ kind: 'literal', text });
const plain = (
  kind: 'exact' | 'prefix' | 'suffix' | 'contains',
  value: string,
  ignoreCase = false,
): StringMatcher => ({
  kind,
  value,
  ignoreCase,
});
export const NON_EMPTY: StringMatcher = { kind: 'glob', parts: [{ kind: 'some' }] };

/** `a*` is a prefix, `*a` a suffix, everything else exact; a star elsewhere is a star. `*` alone: not empty. */
export function wildcardMatcher(
  value: string,
  options: { readonly ignoreCase: boolean } = { ignoreCase: false },
): StringMatcher {
  const { ignoreCase } = options;
  if (value === '*') return NON_EMPTY;
  if (value.startsWith('*')) return plain('suffix', value.slice(1), ignoreCase);
  if (value.endsWith('*')) return plain('prefix', value.slice(0, -1), ignoreCase);
  return plain('exact', value, ignoreCase);
}

/** `*` means that the header is there, even if empty. Names are compared in lower case. */
export function headerMatcher(name: string, value: string): HeaderMatcher {
  const match: HeaderMatcher['match'] =
    value === '*' ? { kind: 'present' } : { kind: 'string', string: wildcardMatcher(value) };
  return { name: name.toLowerCase(), match, invert: false };
}

/**
 * Hosts ignore case; the port is part of what is compared (ISTIO-SECURITY-2021-008). A name with a dot at its end is
 * the same host to a resolver and to many applications: where matching more is the safe side it matches too, with
 * and without a port (CVE-2021-39155).
 */
export function hostMatchers(value: string, isWide: boolean): readonly HeaderMatcher[] {
  const of = (match: HeaderMatcher['match']): HeaderMatcher => ({
    name: ':authority',
    match,
    invert: false,
  });
  if (value === '*') return [of({ kind: 'present' })];
  const string = (text: string): HeaderMatcher =>
    of({ kind: 'string', string: wildcardMatcher(text, { ignoreCase: true }) });
  const rooted = isWide ? rootedForm(value) : undefined;
  return rooted === undefined ? [string(value)] : [string(value), string(rooted)];
}

/** The same host as an absolute name; `undefined` when it is one, is an IPv6 address, or ends in a star that covers it. */
function rootedForm(value: string): string | undefined {
  if (value.startsWith('[')) return undefined;
  const colon = value.indexOf(':');
  const host = colon === -1 ? value : value.slice(0, colon);
  if (host.endsWith('.') || host.endsWith('*') || host === '') return undefined;
  return `${host}.${colon === -1 ? '' : value.slice(colon)}`;
}

export function pathPermission(value: string): Permission {
  if (value.includes('{*}') || value.includes('{**}'))
    return { kind: 'uriTemplate', template: value };
  return { kind: 'urlPath', path: wildcardMatcher(value) };
}

const SPIFFE = 'spiffe://';

/** `TD/ns/NS/sa/SA` without its scheme; a suffix may stand anywhere after the scheme (CVE-2020-16844). */
export function principalMatcher(value: string): StringMatcher {
  if (value === '*') return NON_EMPTY;
  if (value.startsWith('*')) {
    return { kind: 'glob', parts: [literal(SPIFFE), { kind: 'any' }, literal(value.slice(1))] };
  }
  if (value.endsWith('*')) return plain('prefix', `${SPIFFE}${value.slice(0, -1)}`);
  return plain('exact', `${SPIFFE}${value}`);
}

/** The namespace part of a peer's id. A star anywhere is anything, slashes included, as in Istio. */
export function namespaceMatcher(value: string): StringMatcher {
  if (!value.includes('*')) return plain('contains', `/ns/${value}/`);
  const parts: GlobPart[] = [{ kind: 'any' }];
  const pieces = `/ns/${value}/`.split('*');
  pieces.forEach((piece, index) => {
    if (index > 0) parts.push({ kind: 'any' });
    if (piece.length > 0) parts.push(literal(piece));
  });
  parts.push({ kind: 'any' });
  return { kind: 'glob', parts };
}

/**
 * A service account, `NAME` of the policy's own namespace or `NAMESPACE/NAME`; other segments may stand around `sa`.
 * Text is compared as it is: a dot is a dot (CVE-2026-39350).
 */
export function serviceAccountMatchers(
  value: string,
  policyNamespace: string,
): readonly StringMatcher[] {
  const slash = value.indexOf('/');
  const namespace = slash === -1 ? policyNamespace : value.slice(0, slash);
  const account = value.slice(slash + 1);
  const start = [literal(SPIFFE), { kind: 'some' } as const, literal(`/ns/${namespace}/`)];
  const between: readonly (readonly GlobPart[])[] = [[], [{ kind: 'some' }, literal('/')]];
  const after: readonly (readonly GlobPart[])[] = [[], [literal('/'), { kind: 'some' }]];
  return between.flatMap((middle) =>
    after.map(
      (end): StringMatcher => ({
        kind: 'glob',
        parts: joinLiterals([...start, ...middle, literal(`sa/${account}`), ...end]),
      }),
    ),
  );
}

/** Neighbouring literals as one, so that equal globs have one form. */
function joinLiterals(parts: readonly GlobPart[]): readonly GlobPart[] {
  const joined: GlobPart[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part.kind === 'literal' && last?.kind === 'literal') {
      joined[joined.length - 1] = literal(last.text + part.text);
    } else joined.push(part);
  }
  return joined;
}

/** A trust domain; a star stands for part of the name and never crosses its slash. */
export function trustDomainMatcher(value: string): StringMatcher {
  if (value === '*') return plain('prefix', SPIFFE);
  if (!value.includes('*')) return plain('prefix', `${SPIFFE}${value}/`);
  const [before = '', after = ''] = value.split('*');
  const parts = [
    literal(SPIFFE + before),
    { kind: 'segment' } as const,
    literal(`${after}/`),
    { kind: 'any' } as const,
  ];
  return { kind: 'glob', parts };
}

/** A claim: a text that matches, or a list with an element that does. */
export function claimMatcher(value: string): ValueMatcher {
  const string: ValueMatcher = { kind: 'string', string: wildcardMatcher(value) };
  return { kind: 'or', values: [string, { kind: 'list', oneOf: string }] };
}

export const textClaim = (value: string): ValueMatcher => ({
  kind: 'string',
  string: wildcardMatcher(value),
});
