// Names each request, so that a refusal can be found in the log: the caller's own id when it is harmless, else a new one.
import { randomBytes } from 'node:crypto';

const MAX_LENGTH = 128;

/** Random once a process, then counted: unique without asking for entropy at every request. */
const PREFIX = randomBytes(8).toString('hex');
/** The last two digits, written beforehand: a number's text costs more than the rest of a small request's id. */
const LAST_DIGITS: readonly string[] = Array.from({ length: 36 * 36 }, (_, n) =>
  n.toString(36).padStart(2, '0'),
);
let count = 0;
let beginning = `${PREFIX}-`;

/** Letters, digits and a few signs: what cannot break a log or a header. */
function isHarmless(text: string): boolean {
  if (text.length === 0 || text.length > MAX_LENGTH) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isAlphanumeric =
      (code >= 0x30 && code <= 0x39) ||
      (code >= 0x41 && code <= 0x5a) ||
      (code >= 0x61 && code <= 0x7a);
    if (!isAlphanumeric && code !== 0x2d && code !== 0x5f && code !== 0x2e && code !== 0x3a)
      return false;
  }
  return true;
}

export function requestIdOf(given: string | undefined): string {
  if (given !== undefined && isHarmless(given)) return given;
  const last = LAST_DIGITS[count % LAST_DIGITS.length] ?? '';
  const id = beginning + last;
  count++;
  if (count % LAST_DIGITS.length === 0) {
    beginning = `${PREFIX}-${(count / LAST_DIGITS.length).toString(36)}`;
  }
  return id;
}
