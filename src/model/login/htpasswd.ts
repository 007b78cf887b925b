// Reads lists of users in htpasswd's format; hashes other than bcrypt are refused, each with what to do about it.
import { SecretText } from '../secret-text.ts';
import type { Problem } from '../problem.ts';
import { shown } from '../policy/reader.ts';
import type { BasicUser } from './types.ts';

/** 64 KiB: some 700 users. Every HTTP chain of a listener carries them, and who has more wants another way to log in. */
export const MAX_LIST_LENGTH = 65_536;
const MAX_PROBLEMS = 20;
const MAX_NAME_LENGTH = 255;
/** Below 8 a stolen list is guessed too fast. Above 15 one login costs seconds, and logins could be used to hold up others. */
export const BCRYPT_COSTS = { min: 8, max: 15 } as const;

export interface UserList {
  /** By name. */
  readonly users: readonly BasicUser[];
  /** What could not be taken; each names its line, and no hash. */
  readonly problems: readonly Problem[];
}

/** Never throws for anything that the text holds. A line that cannot be taken lets nobody in. */
export function parseHtpasswd(text: string): UserList {
  const problems: Problem[] = [];
  const refuse = (line: number, code: string, message: string, cure: string): void => {
    if (problems.length >= MAX_PROBLEMS) return;
    problems.push({ severity: 'error', code, message: `line ${line} ${message}`, cure });
  };
  if (text.length > MAX_LIST_LENGTH) {
    const message = `has ${text.length} characters, at most ${MAX_LIST_LENGTH} are read`;
    const cure = 'keep fewer users, or let them log in by tokens (RequestAuthentication)';
    return { users: [], problems: [{ severity: 'error', code: 'too-many-users', message, cure }] };
  }
  const users = new Map<string, BasicUser>();
  const lines = text.split('\n');
  lines.forEach((raw, index) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const user = readLine(line, (code, message, cure) => refuse(index + 1, code, message, cure));
    if (user === undefined) return;
    if (users.has(user.name)) {
      const message = `has ${shown(user.name)} a second time`;
      refuse(index + 1, 'duplicate-user', message, 'remove one of the two lines');
    } else users.set(user.name, user);
  });
  if (users.size === 0 && problems.length === 0) {
    const message = 'names no user: nobody can log in';
    const cure = 'add one: htpasswd -nB -C 12 USER';
    problems.push({ severity: 'error', code: 'no-users', message, cure });
  }
  return { users: [...users.values()].sort(byName), problems };
}

const byName = (a: BasicUser, b: BasicUser): number => (a.name < b.name ? -1 : 1);

type Refuse = (code: string, message: string, cure: string) => void;

function readLine(line: string, refuse: Refuse): BasicUser | undefined {
  const colon = line.indexOf(':');
  if (colon < 1) {
    refuse('bad-line', 'has no user and hash', 'write USER:HASH, as htpasswd -nB does');
    return undefined;
  }
  const name = line.slice(0, colon);
  if (name.length > MAX_NAME_LENGTH || !isPrintable(name)) {
    const cure = `use at most ${MAX_NAME_LENGTH} characters, and none that cannot be seen`;
    refuse('bad-user', 'has a user that cannot be one', cure);
    return undefined;
  }
  const hash = readHash(line.slice(colon + 1), (code, message, cure) =>
    refuse(code, `(${shown(name)}) ${message}`, cure),
  );
  return hash === undefined ? undefined : { name, hash: new SecretText(hash) };
}

/** No control character: the name may go to the application in a header. */
const isPrintable = (text: string): boolean =>
  Array.from(text).every((char) => char >= ' ' && char !== '\u007f');

const BCRYPT_CURE = 'make it anew: htpasswd -nB -C 12 USER';

/** Says which kind it is, so that its owner finds the line; never what it is. */
const OTHER_KINDS: readonly (readonly [string, string])[] = [
  ['$apr1$', 'MD5 (apr1), which is guessed a million times faster'],
  ['$1$', 'MD5 (crypt), which is guessed a million times faster'],
  ['{SHA}', 'SHA-1 without salt, which is looked up in tables'],
  ['{SSHA}', 'SHA-1, which is guessed a million times faster'],
  ['$5$', 'SHA-256 (crypt), which graphics cards guess fast'],
  ['$6$', 'SHA-512 (crypt), which graphics cards guess fast'],
  ['$2x$', 'bcrypt of a version with a known fault'],
  ['$argon2', 'Argon2, which is not read here'],
  ['$y$', 'yescrypt, which is not read here'],
];

/** The text of a bcrypt hash after its cost: 22 characters of salt and 31 of the rest. */
const BCRYPT_TAIL = 53;
const BCRYPT_ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

function readHash(text: string, refuse: Refuse): string | undefined {
  const other = OTHER_KINDS.find(([prefix]) => text.startsWith(prefix));
  if (other !== undefined) {
    refuse('weak-hash', `is hashed with ${other[1]}; only bcrypt is taken`, BCRYPT_CURE);
    return undefined;
  }
  const version = text.slice(0, 4);
  if (version !== '$2a$' && version !== '$2b$' && version !== '$2y$') {
    const message = 'has no bcrypt hash: it may be a password, or one hashed with DES crypt';
    refuse('weak-hash', message, BCRYPT_CURE);
    return undefined;
  }
  const tail = text.slice(7);
  const cost = isDigit(text[4]) && isDigit(text[5]) ? Number(text.slice(4, 6)) : Number.NaN;
  const isWhole = text[6] === '$' && tail.length === BCRYPT_TAIL;
  if (
    !isWhole ||
    Number.isNaN(cost) ||
    !Array.from(tail).every((c) => BCRYPT_ALPHABET.includes(c))
  ) {
    refuse('bad-hash', 'has a bcrypt hash that is cut off or altered', BCRYPT_CURE);
    return undefined;
  }
  if (cost < BCRYPT_COSTS.min || cost > BCRYPT_COSTS.max) {
    const { min, max } = BCRYPT_COSTS;
    refuse('bad-cost', `has a bcrypt cost of ${cost}; ${min} to ${max} are taken`, BCRYPT_CURE);
    return undefined;
  }
  // PHP's name for what everybody else calls 2b.
  return version === '$2y$' ? `$2b$${text.slice(4)}` : text;
}

const isDigit = (char: string | undefined): boolean =>
  char !== undefined && char >= '0' && char <= '9';
