// Reads the field lines of an HTTP/1 head or trailer section, byte for byte and strictly (RFC 9112 §5).

/** The fields that decide framing or belong to one hop; all others are `Other`. */
export const FieldKind = {
  Other: 0,
  Host: 1,
  Connection: 2,
  ContentLength: 3,
  TransferEncoding: 4,
  Upgrade: 5,
  Expect: 6,
  Te: 7,
  /** Fields of one hop that are always taken out: `keep-alive`, `proxy-connection` and the like. */
  HopByHop: 8,
} as const;

const TOKEN_PUNCTUATION = "!#$%&'*+-.^_`|~";
const TOKEN = new Uint8Array(256);
const VALUE = new Uint8Array(256);
for (let code = 0; code < 256; code++) {
  const isAlphanumeric =
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x61 && code <= 0x7a);
  TOKEN[code] = isAlphanumeric || TOKEN_PUNCTUATION.includes(String.fromCharCode(code)) ? 1 : 0;
  VALUE[code] = code === 0x09 || (code >= 0x20 && code !== 0x7f) ? 1 : 0;
}

export const isTokenCode = (code: number): boolean => TOKEN[code] === 1;

/** Numbers kept for each field: line start, name end, value start, value end, kind. */
const STRIDE = 5;
const INITIAL_FIELDS = 24;

/** The fields of one head as ranges of its text; used again for the next head. */
export class FieldBlock {
  /** The whole section as it came, each byte a character. */
  text = '';
  count = 0;
  /** Whether a name holds `_`, which CGI-like servers read as `-`. */
  hasUnderscore = false;
  #ranges = new Int32Array(INITIAL_FIELDS * STRIDE);

  /**
   * Reads lines from `at` to the empty line that ends `text`.
   * @returns a reason code, or '' when all is well.
   */
  read(text: string, at: number, maxFields: number): string {
    this.text = text;
    this.count = 0;
    this.hasUnderscore = false;
    const end = text.length - 2;
    let position = at;
    while (position < end) {
      if (this.count === maxFields) return 'too-many-fields';
      const lineStart = position;
      let code = text.charCodeAt(position);
      if (code === 0x20 || code === 0x09) return 'folded-line';
      while (TOKEN[code] === 1) {
        if (code === 0x5f) this.hasUnderscore = true;
        code = text.charCodeAt(++position);
      }
      if (code !== 0x3a) return nameProblem(code);
      if (position === lineStart) return 'field-name-empty';
      const nameEnd = position;
      do code = text.charCodeAt(++position);
      while (code === 0x20 || code === 0x09);
      const valueStart = position;
      while (VALUE[code] === 1) code = text.charCodeAt(++position);
      if (code !== 0x0d) return code === 0x0a ? 'bare-lf' : 'field-value-bad-byte';
      if (text.charCodeAt(position + 1) !== 0x0a) return 'bare-cr';
      this.#add(lineStart, nameEnd, valueStart, trimEnd(text, valueStart, position));
      position += 2;
    }
    return '';
  }

  #add(lineStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    const at = this.count * STRIDE;
    if (at === this.#ranges.length) {
      const wider = new Int32Array(at * 2);
      wider.set(this.#ranges);
      this.#ranges = wider;
    }
    const ranges = this.#ranges;
    ranges[at] = lineStart;
    ranges[at + 1] = nameEnd;
    ranges[at + 2] = valueStart;
    ranges[at + 3] = valueEnd;
    ranges[at + 4] = kindOf(this.text, lineStart, nameEnd - lineStart);
    this.count++;
  }

  kind(index: number): number {
    return this.#ranges[index * STRIDE + 4] ?? FieldKind.Other;
  }

  /** Where the field's line begins. */
  lineStart(index: number): number {
    return this.#ranges[index * STRIDE] ?? 0;
  }

  /** Where the line after it begins. */
  lineEnd(index: number): number {
    return index + 1 < this.count ? this.lineStart(index + 1) : this.text.length - 2;
  }

  /** Whether there is a tab anywhere in the field's line. */
  hasTab(index: number): boolean {
    const at = this.text.indexOf('\t', this.lineStart(index));
    return at !== -1 && at < this.lineEnd(index);
  }

  lowerName(index: number): string {
    const at = index * STRIDE;
    return this.text.slice(this.#ranges[at], this.#ranges[at + 1]).toLowerCase();
  }

  value(index: number): string {
    const at = index * STRIDE;
    return this.text.slice(this.#ranges[at + 2], this.#ranges[at + 3]);
  }

  /** Every value of a name given in lower case, in order. */
  values(lowerName: string): string[] | undefined {
    let values: string[] | undefined;
    const ranges = this.#ranges;
    for (let index = 0, at = 0; index < this.count; index++, at += STRIDE) {
      const start = ranges[at] ?? 0;
      if ((ranges[at + 1] ?? 0) - start !== lowerName.length) continue;
      if (isNamed(this.text, start, lowerName)) (values ??= []).push(this.value(index));
    }
    return values;
  }
}

function nameProblem(code: number): string {
  if (code === 0x20 || code === 0x09) return 'space-before-colon';
  if (code === 0x0a) return 'bare-lf';
  if (code === 0x0d) return 'line-without-colon';
  return 'field-name-bad-byte';
}

function trimEnd(text: string, start: number, end: number): number {
  let at = end;
  while (at > start) {
    const code = text.charCodeAt(at - 1);
    if (code !== 0x20 && code !== 0x09) break;
    at--;
  }
  return at;
}

/** Whether the letters at `start` are `lowerName` in any case; the lengths are known to be equal. */
function isNamed(text: string, start: number, lowerName: string): boolean {
  for (let at = 0; at < lowerName.length; at++) {
    const code = text.charCodeAt(start + at);
    const lower = code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
    if (lower !== lowerName.charCodeAt(at)) return false;
  }
  return true;
}

function kindOf(text: string, start: number, length: number): number {
  switch (length) {
    case 2:
      return isNamed(text, start, 'te') ? FieldKind.Te : FieldKind.Other;
    case 4:
      return isNamed(text, start, 'host') ? FieldKind.Host : FieldKind.Other;
    case 6:
      return isNamed(text, start, 'expect') ? FieldKind.Expect : FieldKind.Other;
    case 7:
      return isNamed(text, start, 'upgrade') ? FieldKind.Upgrade : FieldKind.Other;
    case 10:
      if (isNamed(text, start, 'connection')) return FieldKind.Connection;
      return isNamed(text, start, 'keep-alive') ? FieldKind.HopByHop : FieldKind.Other;
    case 14:
      if (isNamed(text, start, 'content-length')) return FieldKind.ContentLength;
      return isNamed(text, start, 'http2-settings') ? FieldKind.HopByHop : FieldKind.Other;
    case 16:
      return isNamed(text, start, 'proxy-connection') ? FieldKind.HopByHop : FieldKind.Other;
    case 17:
      return isNamed(text, start, 'transfer-encoding')
        ? FieldKind.TransferEncoding
        : FieldKind.Other;
    default:
      return FieldKind.Other;
  }
}
