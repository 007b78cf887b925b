// Makes the line of a list of users: what `htpasswd -nB` would write.
import { hash } from 'bcryptjs';
import { parseHtpasswd } from '@weft/model/login/htpasswd';

/** A quarter of a second for each login that is not remembered. */
export const DEFAULT_BCRYPT_COST = 12;
/** bcrypt reads no further. */
export const MAX_PASSWORD_BYTES = 72;

/** @throws Error for a name or a password that nobody could log in with. */
export async function htpasswdLine(user: string, password: string, cost: number): Promise<string> {
  const bytes = Buffer.byteLength(password, 'utf8');
  if (bytes === 0 || bytes > MAX_PASSWORD_BYTES || password.includes('\0')) {
    throw new Error(
      `Cannot hash the password: it has ${bytes} bytes; use 1 to ${MAX_PASSWORD_BYTES}, none of them null`,
    );
  }
  const line = `${user}:${await hash(password, cost)}`;
  const [only] = parseHtpasswd(line).users;
  if (only?.name === user) return line;
  const cure = 'use 1 to 255 characters that can be seen, none of them a colon';
  throw new Error(`Cannot make a line for ${JSON.stringify(user)}: it is no user's name; ${cure}`);
}
