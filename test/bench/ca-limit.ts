// Reads from `openssl speed` what one core can sign and verify at most: what a CA could do if it did nothing else.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SPEED_MS = 30_000;

export interface SigningLimit {
  readonly signsPerSecond: number;
  readonly verifiesPerSecond: number;
  /** One signature checked (the request's) and one made (the certificate's): no CA can answer more a second of CPU. */
  readonly answersPerSecond: number;
}

/** `+F4:3:256:63211.34:22394.94`: bits, then signatures made and checked a second of CPU. */
const RESULT = /^\+F4:\d+:256:([\d.]+):([\d.]+)$/m;

/** Takes about twice as many seconds. @throws Error when there is no openssl, or it says something else. */
export async function signingLimit(seconds: number): Promise<SigningLimit> {
  const args = ['speed', '-seconds', String(seconds), '-mr', 'ecdsap256'];
  const { stdout } = await run('openssl', args, { timeout: SPEED_MS });
  return parseSigningLimit(stdout);
}

export function parseSigningLimit(text: string): SigningLimit {
  const [, signs, verifies] = RESULT.exec(text) ?? [];
  const [signsPerSecond, verifiesPerSecond] = [Number(signs), Number(verifies)];
  if (!(signsPerSecond > 0 && verifiesPerSecond > 0)) {
    throw new Error(`Cannot read what openssl speed says: ${JSON.stringify(text)}`);
  }
  const answersPerSecond = 1 / (1 / signsPerSecond + 1 / verifiesPerSecond);
  return { signsPerSecond, verifiesPerSecond, answersPerSecond };
}
