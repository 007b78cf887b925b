// What RBAC rules look at beside plain text: headers, metadata and address ranges, on the wire.
import { parseCidr } from '@weft/model/ip';
import type {
  CidrRange,
  HeaderMatcher,
  MetadataMatcher,
  ValueMatcher,
} from '@weft/model/policy/rbac';
import type { PlainMessage } from '../registry.ts';
import {
  type Fields,
  flag,
  message,
  messages,
  missing,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
} from './fields.ts';
import { encodeStringMatcher, readStringMatcher } from './string-match.ts';
import { encodeUint, requiredUint } from './well-known.ts';

export const MAX_PORT = 65_535;
/** Nesting of list and or in a value matcher: JWT claims never need more than three. */
const MAX_VALUE_DEPTH = 8;
/** The pseudo-headers that every proxy knows in the same form, HTTP/1 and HTTP/2 alike. */
const PSEUDO_HEADERS: ReadonlySet<string> = new Set([':authority', ':method', ':path']);

export const encodeCidr = ({ address, prefixLength }: CidrRange): PlainMessage => ({
  address_prefix: address,
  prefix_len: encodeUint(prefixLength),
});

/** Canonical, bits beyond the prefix dropped. A missing length is a problem: read as 0 it would match everybody. */
export const readCidr: Read<CidrRange> = (fields) => {
  const address = requiredText(fields, 'address_prefix');
  const prefixLength = requiredUint(fields, 'prefix_len', 128);
  // Any slash would be the text's own: the length is a field of its own here.
  const cidr = address.includes('/') ? undefined : parseCidr(`${address}/${prefixLength}`);
  if (cidr !== undefined) return cidr;
  const what = `${shown(address)} and length ${prefixLength}`;
  return report(fields, '', 'out-of-range', `is no address range: ${what}`);
};

export const encodeHeaderMatcher = ({ name, match, invert }: HeaderMatcher): PlainMessage => ({
  name,
  ...(match.kind === 'present'
    ? { present_match: true }
    : { string_match: encodeStringMatcher(match.string) }),
  invert_match: invert || undefined,
});

/** Names come back in lower case, as headers are looked up (GHSA-qc2q-p7wx-3px3). */
export const readHeaderMatcher: Read<HeaderMatcher> = (fields) => {
  const name = requiredText(fields, 'name').toLowerCase();
  if (name.startsWith(':') && !PSEUDO_HEADERS.has(name))
    report(fields, 'name', 'not-supported', `is the pseudo-header ${shown(name)}`);
  const invert = flag(fields, 'invert_match');
  switch (oneOf(fields, 'header_match_specifier')) {
    case 'present_match':
      if (flag(fields, 'present_match')) return { name, match: { kind: 'present' }, invert };
      return report(fields, 'present_match', 'not-supported', 'is false: use invert_match');
    case 'string_match': {
      const string = message(fields, 'string_match', readStringMatcher);
      return string && { name, match: { kind: 'string', string }, invert };
    }
    default:
      return undefined;
  }
};

export const encodeMetadataMatcher = (matcher: MetadataMatcher): PlainMessage => ({
  filter: matcher.filter,
  path: matcher.path.map((key) => ({ key })),
  value: encodeValueMatcher(matcher.value, 1),
  invert: matcher.invert || undefined,
});

export const readMetadataMatcher: Read<MetadataMatcher> = (fields) => {
  const filter = requiredText(fields, 'filter');
  if (!fields.byName.has('path')) missing(fields, 'path');
  const path = messages(fields, 'path', (segment) => requiredText(segment, 'key'));
  const value = requiredMessage(fields, 'value', (matcher) => readValueMatcher(matcher, 1));
  return value && { filter, path, value, invert: flag(fields, 'invert') };
};

function encodeValueMatcher(matcher: ValueMatcher, depth: number): PlainMessage {
  if (depth > MAX_VALUE_DEPTH)
    throw new RangeError(`Cannot encode a metadata matcher: nested deeper than ${MAX_VALUE_DEPTH}`);
  switch (matcher.kind) {
    case 'string':
      return { string_match: encodeStringMatcher(matcher.string) };
    case 'present':
      return { present_match: true };
    case 'list':
      return { list_match: { one_of: encodeValueMatcher(matcher.oneOf, depth + 1) } };
    case 'or': {
      // The wire wants two alternatives at least.
      const [only] = matcher.values;
      if (only === undefined)
        throw new TypeError('Cannot encode a metadata matcher: an or of nothing');
      if (matcher.values.length === 1) return encodeValueMatcher(only, depth);
      const alternatives = matcher.values.map((value) => encodeValueMatcher(value, depth + 1));
      return { or_match: { value_matchers: alternatives } };
    }
    default:
      return matcher satisfies never;
  }
}

function readValueMatcher(fields: Fields, depth: number): ValueMatcher | undefined {
  if (depth > MAX_VALUE_DEPTH) {
    fields.byName.clear();
    return report(fields, '', 'too-deep', `is nested deeper than ${MAX_VALUE_DEPTH}`);
  }
  const below: Read<ValueMatcher> = (matcher) => readValueMatcher(matcher, depth + 1);
  switch (oneOf(fields, 'match_pattern')) {
    case 'string_match': {
      const string = message(fields, 'string_match', readStringMatcher);
      return string && { kind: 'string', string };
    }
    case 'present_match':
      if (flag(fields, 'present_match')) return { kind: 'present' };
      return report(fields, 'present_match', 'not-supported', 'is false');
    case 'list_match': {
      const element = message(fields, 'list_match', (list) =>
        requiredMessage(list, 'one_of', below),
      );
      return element && { kind: 'list', oneOf: element };
    }
    case 'or_match': {
      const values = message(fields, 'or_match', (or) => messages(or, 'value_matchers', below));
      if (values !== undefined && values.length >= 2) return { kind: 'or', values };
      return report(fields, 'or_match', 'missing', 'has fewer than two alternatives');
    }
    default:
      return undefined;
  }
}
