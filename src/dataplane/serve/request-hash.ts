// What of a request chooses its endpoint: a hash as Envoy makes it, and the cookie that is set where there is none.
import { randomBytes } from 'node:crypto';
import type { HashRule } from '@weft/model/traffic/call-types';
import type { RequestHead } from '../filters/connection-facts.ts';
import { xxhash64 } from '../upstream/xxhash64.ts';

export interface RequestHash {
  /** `undefined`: nothing of what was looked for is there. */
  readonly hash: bigint | undefined;
  /** To be sent with the answer, so that the next request finds the same endpoint. */
  readonly setCookie: string | undefined;
}

/** Cookies that are looked through; more than any browser sends. */
const MAX_COOKIES = 300;
const COOKIE_BYTES = 16;
const MASK = 0xffff_ffff_ffff_ffffn;

/** @param newValue of a cookie that is missing; random. */
export function hashRequest(
  policies: readonly HashRule[],
  head: Pick<RequestHead, 'header'>,
  newValue: () => string = () => randomBytes(COOKIE_BYTES).toString('hex'),
): RequestHash {
  let hash: bigint | undefined;
  let setCookie: string | undefined;
  for (const policy of policies) {
    let found: bigint | undefined;
    if (policy.kind === 'header') found = hashOf(head.header(policy.name));
    else {
      const value = cookieOf(head.header('cookie'), policy.name);
      if (value !== undefined) found = hashOf([value]);
      else if (policy.ttlMs !== undefined) {
        const made = newValue();
        found = hashOf([made]);
        setCookie ??= cookieLine(policy, policy.ttlMs, made);
      }
    }
    if (found !== undefined) hash = combine(hash, found);
  }
  return { hash, setCookie };
}

/** Several values of a name count in any order alike. */
function hashOf(values: readonly string[] | undefined): bigint | undefined {
  if (values === undefined || values.length === 0) return undefined;
  const sorted = values.length === 1 ? values : values.toSorted();
  return sorted.reduce((seed, value) => xxhash64(Buffer.from(value, 'latin1'), seed), 0n);
}

const combine = (earlier: bigint | undefined, found: bigint): bigint =>
  earlier === undefined ? found : (((earlier << 1n) | (earlier >> 63n)) & MASK) ^ found;

function cookieOf(lines: readonly string[] | undefined, name: string): string | undefined {
  let left = MAX_COOKIES;
  for (const line of lines ?? []) {
    for (const pair of line.split(';', left)) {
      left--;
      const equals = pair.indexOf('=');
      if (equals === -1 || pair.slice(0, equals).trim() !== name) continue;
      const value = pair.slice(equals + 1).trim();
      const isQuoted = value.length > 1 && value.startsWith('"') && value.endsWith('"');
      return isQuoted ? value.slice(1, -1) : value;
    }
    if (left <= 0) return undefined;
  }
  return undefined;
}

function cookieLine(
  { name, path }: { readonly name: string; readonly path: string },
  ttlMs: number,
  value: string,
): string {
  const age = ttlMs === 0 ? '' : `; Max-Age=${Math.ceil(ttlMs / 1_000)}`;
  const where = path === '' ? '' : `; Path=${path}`;
  return `${name}="${value}"${age}${where}; HttpOnly`;
}
