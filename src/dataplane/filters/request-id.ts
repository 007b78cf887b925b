// Names each request, so that a refusal can be found in the log: the caller's own id when it is harmless, else a new one.
import { randomBytes } from 'node:crypto';

const MAX_LENGTH = 128;

/** Random once a process, then counted: unique without asking for entropy at every request. */
const PREFIX = randomBytes(8).toString('hex');
let count = 0;

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
  count++;
  return `${PREFIX}-${count.toString(36)}`;
}
