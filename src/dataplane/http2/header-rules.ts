// Whether a decoded list is a well-formed request, response or trailer section (RFC 9113 §8.1–8.3).
import { parseContentLength } from '../http/content-length.ts';
import { FieldMark } from './field-marks.ts';

/** What the decoder gives: the fields, and what each is by itself. */
export interface MarkedFields {
  readonly raw: readonly string[];
  readonly marks: Uint8Array;
}

const REASON_BY_MARK: Readonly<Record<number, string>> = {
  [FieldMark.NameBad]: 'field-name-bad',
  [FieldMark.ValueBad]: 'field-value-bad',
  [FieldMark.PseudoUnknown]: 'pseudo-header-unknown',
  [FieldMark.HopField]: 'field-of-one-hop',
  [FieldMark.ContentLengthBad]: 'content-length-bad',
  [FieldMark.TeBad]: 'te-bad',
  [FieldMark.MethodBad]: 'method-bad',
  [FieldMark.SchemeBad]: 'scheme-bad',
  [FieldMark.PathBad]: 'path-bad',
  [FieldMark.AuthorityBad]: 'host-bad',
  [FieldMark.StatusBad]: 'status-bad',
};

const bitOf = (mark: number): number => 1 << mark;
const REQUEST_PSEUDO =
  bitOf(FieldMark.Method) |
  bitOf(FieldMark.Scheme) |
  bitOf(FieldMark.Path) |
  bitOf(FieldMark.Authority);
const RESPONSE_PSEUDO = bitOf(FieldMark.Status);
const PSEUDO = REQUEST_PSEUDO | RESPONSE_PSEUDO;
const ORDINARY = bitOf(FieldMark.Ordinary);
/** Fields that may come more than once; two of any other that is marked would leave open which one counts. */
const REPEATABLE = ORDINARY | bitOf(FieldMark.Te);

const REPEATED: Readonly<Record<number, string>> = {
  [FieldMark.Host]: 'two-hosts',
  [FieldMark.ContentLength]: 'two-content-lengths',
};

/** @param allowed the pseudo-headers that may be there. @returns the bits of the marks that there were, or a reason code. */
function walk({ raw, marks }: MarkedFields, allowed: number): number | string {
  const count = raw.length >>> 1;
  let seen = 0;
  for (let at = 0; at < count; at++) {
    const mark = marks[at] ?? 0;
    if (mark === FieldMark.Ordinary) {
      seen |= ORDINARY;
      continue;
    }
    if (mark >= FieldMark.FlawMark) return REASON_BY_MARK[mark] ?? '';
    const bit = bitOf(mark);
    if ((seen & bit & ~REPEATABLE) !== 0) return REPEATED[mark] ?? 'pseudo-header-twice';
    if ((bit & PSEUDO) !== 0) {
      if ((bit & allowed) === 0) return 'pseudo-header-misplaced';
      if ((seen & ~PSEUDO) !== 0) return 'pseudo-header-late';
    }
    seen |= bit;
  }
  return seen;
}

const has = (seen: number, mark: number): boolean => (seen & bitOf(mark)) !== 0;

/** @returns a reason code, or `undefined` for a request that is well-formed; `readHead` says whether it is served. */
export function requestFlaw(list: MarkedFields): string | undefined {
  const seen = walk(list, REQUEST_PSEUDO);
  if (typeof seen === 'string') return seen;
  if (!has(seen, FieldMark.Method)) return 'pseudo-header-missing';
  if (has(seen, FieldMark.Scheme) && has(seen, FieldMark.Path)) {
    return isConnect(list) ? 'pseudo-header-misplaced' : undefined;
  }
  return isConnect(list) && !has(seen, FieldMark.Scheme) && !has(seen, FieldMark.Path)
    ? undefined
    : 'pseudo-header-missing';
}

function isConnect({ raw, marks }: MarkedFields): boolean {
  for (let at = 0; at < 4; at++) {
    if (marks[at] === FieldMark.Method) return raw[2 * at + 1] === 'CONNECT';
  }
  return false;
}

/** @returns a reason code, or `undefined` for a response's head that is well-formed, an interim one's included. */
export function responseFlaw(list: MarkedFields): string | undefined {
  const seen = walk(list, RESPONSE_PSEUDO);
  if (typeof seen === 'string') return seen;
  if (!has(seen, FieldMark.Status)) return 'pseudo-header-missing';
  // The first field: no other pseudo-header can be before it.
  const status = list.raw[1] ?? '';
  /** There is nothing to switch to (RFC 9113 §8.6). */
  if (status === '101') return 'status-bad';
  if (!has(seen, FieldMark.ContentLength)) return undefined;
  const isBodyless = status.startsWith('1') || status === '204';
  return isBodyless && contentLengthOf(list) !== 0 ? 'content-length-misplaced' : undefined;
}

/** @returns a reason code, or `undefined` for trailers that are well-formed. */
export function trailersFlaw(list: MarkedFields): string | undefined {
  const seen = walk(list, 0);
  if (typeof seen === 'string') return seen;
  /** It would frame what has been sent already (RFC 9110 §6.5.1). */
  return has(seen, FieldMark.ContentLength) || has(seen, FieldMark.Host)
    ? 'field-not-in-trailers'
    : undefined;
}

/** What `content-length` says, of a list without a flaw. */
export function contentLengthOf({ raw, marks }: MarkedFields): number | undefined {
  const count = raw.length >>> 1;
  for (let at = 0; at < count; at++) {
    if (marks[at] === FieldMark.ContentLength) return parseContentLength(raw[2 * at + 1] ?? '');
  }
  return undefined;
}
