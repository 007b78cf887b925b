// Names of HTTP fields: what a name may be made of, and which names are not for users to set.

/** Besides letters and digits of ASCII. */
const TOKEN_PUNCTUATION = "!#$%&'*+-.^_`|~";

/** RFC 9110 §5.6.2. Look before lower-casing: the Kelvin sign becomes a `k` then. */
export function isToken(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isDigit = code >= 0x30 && code <= 0x39;
    const isLetter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
    if (!isDigit && !isLetter && !TOKEN_PUNCTUATION.includes(text.charAt(at))) return false;
  }
  return text.length > 0;
}

/** They say where a message ends and how it goes on, or the mesh speaks in them: no rule, credential or authorizer sets any. */
export const RESERVED_FIELDS = [
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-forwarded-client-cert',
  'x-request-id',
] as const;
