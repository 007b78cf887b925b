// Says a condition on a header in what gRPC's rules make of headers: values of one name are one text there, and what is absent matches nothing.
import type { GlobPart, HeaderMatcher, StringMatcher } from '@weft/model/policy/rbac';

/** Of one connection alone: a gRPC server's transport takes them out. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** Whether rules see a header there, and as it was sent. */
export function isSeen(name: string, options: { readonly seesContentType: boolean }): boolean {
  // Its own, which it refuses in rules; and what it decodes before anybody looks.
  if (name.startsWith('grpc-') || name.endsWith('-bin') || name === ':scheme') return false;
  return !HOP_HEADERS.has(name) && (name !== 'content-type' || options.seesContentType);
}

/**
 * Matchers of which one matches where a value of the header does. Not negated: `invert` is the caller's to say.
 * @param isWide more may match: then no second value hides the first. Without, what matches is a value, or several as
 *   if they were written as one.
 */
export function matchersOf(
  { name, match }: HeaderMatcher,
  isWide: boolean,
): readonly HeaderMatcher[] {
  const string = match.kind === 'present' ? ANY_TEXT : match.string;
  const isOne = name.startsWith(':') || match.kind === 'present' || !isWide;
  const strings = isOne ? [string] : amongOthers(string);
  const called = name === 'host' ? ':authority' : name;
  return strings.map((one) => ({
    name: called,
    match: { kind: 'string', string: one },
    invert: false,
  }));
}

/** grpc-go takes a header that is there and empty for one that is not; one of any text is there for everybody. */
const ANY_TEXT: StringMatcher = { kind: 'glob', parts: [{ kind: 'any' }] };

const ANY: GlobPart = { kind: 'any' };
const COMMA: GlobPart = { kind: 'literal', text: ',' };

/** As one of several values with commas between, too. */
function amongOthers(string: StringMatcher): readonly StringMatcher[] {
  if (string.kind === 'glob') {
    const { parts } = string;
    return [
      string,
      { kind: 'glob', parts: [...parts, COMMA, ANY] },
      { kind: 'glob', parts: [ANY, COMMA, ...parts] },
      { kind: 'glob', parts: [ANY, COMMA, ...parts, COMMA, ANY] },
    ];
  }
  const { kind, value, ignoreCase } = string;
  switch (kind) {
    case 'exact':
      return [
        string,
        { kind: 'prefix', value: `${value},`, ignoreCase },
        { kind: 'suffix', value: `,${value}`, ignoreCase },
        { kind: 'contains', value: `,${value},`, ignoreCase },
      ];
    case 'prefix':
      return [string, { kind: 'contains', value: `,${value}`, ignoreCase }];
    case 'suffix':
      return [string, { kind: 'contains', value: `${value},`, ignoreCase }];
    case 'contains':
      return [string];
    default:
      return kind satisfies never;
  }
}
