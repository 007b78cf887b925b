// Makes one path of many that differ in what varies: numbers, ids and hashes become `{*}`.

/** Longer paths and segments are cut: a summary holds no payload. */
const MAX_SEGMENTS = 12;
const MAX_SEGMENT = 64;

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isHexLetter = (code: number): boolean => (code | 0x20) >= 0x61 && (code | 0x20) <= 0x66;
const isPlain = (code: number): boolean =>
  (code | 0x20) >= 0x61
    ? (code | 0x20) <= 0x7a
    : isDigit(code) || code === 0x2d || code === 0x2e || code === 0x5f;

/**
 * Whether a segment is a value rather than a name: only digits; eight or more hexadecimal characters (with dashes) of
 * which one is a digit; mostly digits; or anything that names are not made of.
 */
function isVariable(segment: string): boolean {
  if (segment.length === 0) return false;
  if (segment.length > MAX_SEGMENT) return true;
  let digits = 0;
  let hex = 0;
  for (let at = 0; at < segment.length; at++) {
    const code = segment.charCodeAt(at);
    if (!isPlain(code)) return true;
    if (isDigit(code)) digits++;
    if (isDigit(code) || isHexLetter(code) || code === 0x2d) hex++;
  }
  if (digits === segment.length) return true;
  if (hex === segment.length && digits > 0 && segment.length >= 8) return true;
  return digits * 2 > segment.length;
}

/** `/orders/8812/lines` becomes `/orders/{*}/lines`. */
export function templateOf(path: string): string {
  if (path === '' || !path.startsWith('/')) return path.length > MAX_SEGMENT ? '{*}' : path;
  const segments = path.split('/');
  const kept = segments.slice(0, MAX_SEGMENTS + 1);
  const text = kept.map((segment) => (isVariable(segment) ? '{*}' : segment)).join('/');
  return segments.length > kept.length ? `${text}/{**}` : text;
}
