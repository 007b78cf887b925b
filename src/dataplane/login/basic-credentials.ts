// Reads the Basic credentials of a request (RFC 7617); what is not exactly one user and password is none.
import type { ConnectionFacts } from '../filters/connection-facts.ts';

export interface BasicCredentials {
  readonly user: string;
  readonly password: string;
}

/** `malformed`: something else than one Basic credential stands there. */
export type FoundCredentials =
  | { readonly kind: 'credentials'; readonly credentials: BasicCredentials }
  | { readonly kind: 'absent' | 'malformed' };

/** Characters of the header: a name of 255 bytes and the longest password that bcrypt takes, in base64, are half of it. */
const MAX_HEADER = 1_024;
const SCHEME = 'basic ';

export const ABSENT = { kind: 'absent' } as const;
export const MALFORMED = { kind: 'malformed' } as const;

/** Several Authorization headers are nobody's: which of them the application would read cannot be told. */
export function readCredentials(facts: Pick<ConnectionFacts, 'header'>): FoundCredentials {
  const values = facts.header('authorization');
  if (values === undefined || values.length === 0) return ABSENT;
  const [value = '', ...more] = values;
  if (more.length > 0 || value.length > MAX_HEADER) return MALFORMED;
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return MALFORMED;
  const text = decode(value.slice(SCHEME.length).trim());
  const colon = text?.indexOf(':') ?? -1;
  if (text === undefined || colon === -1) return MALFORMED;
  return {
    kind: 'credentials',
    credentials: { user: text.slice(0, colon), password: text.slice(colon + 1) },
  };
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Strict, so that one credential has one spelling; UTF-8, as the challenge says. */
function decode(text: string): string | undefined {
  const end = text.endsWith('==') ? -2 : text.endsWith('=') ? -1 : text.length;
  const body = text.slice(0, end);
  for (const char of body) if (!ALPHABET.includes(char)) return undefined;
  if (body.length % 4 === 1) return undefined;
  const bytes = Buffer.from(body, 'base64');
  try {
    const decoded = utf8.decode(bytes);
    return decoded.includes('\0') ? undefined : decoded;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
