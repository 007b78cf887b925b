// Owns join tokens: single use, expiring, kept as hashes in one file each, so that a rename is what uses one up.
import { errorText } from '@weft/model/error-text';
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { type Clock, systemClock } from '@weft/model/clock';
import { isDnsLabel, isDnsSubdomain } from '@weft/model/identity';
import { parseJsonObject } from '@weft/model/parse-json-object';
import type { WorkloadName } from './issuance.ts';
import {
  type DiskCalls,
  diskCalls,
  errorCode,
  preparePrivateDirectory,
  readPrivateFile,
  removeIfThere,
  replaceFile,
  syncDirectory,
  TEMPORARY_SUFFIX,
} from './store/atomic-file.ts';

/** `weft-join.<id>.<secret>`, both base64url. */
const PREFIX = 'weft-join';
const ID_BYTES = 16;
const SECRET_BYTES = 32;
const ID_LENGTH = 22;
const SECRET_LENGTH = 43;
const DEFAULT_TTL_MS = 600_000;
const MIN_TTL_MS = 1_000;
/** A week: a token that waits longer is a password. */
const MAX_TTL_MS = 604_800_000;
/** A directory of so many files is still read in under a second. */
const MAX_TOKENS = 10_000;
/** A file in the making that is older was left behind by a crash. */
const ABANDONED_MS = 600_000;

const UNUSED = '.json';
const USED = '.used';

export interface JoinTokenOptions extends WorkloadName {
  readonly stateDir: string;
  /** Default 10 min; 1 s to 7 days. */
  readonly ttlMs?: number;
  readonly clock?: Clock;
  readonly disk?: DiskCalls;
}

export interface JoinToken {
  /** Shown once, and kept nowhere. */
  readonly token: string;
  readonly id: string;
  readonly expiresAt: Date;
}

export type TokenRefusal =
  | 'token-malformed'
  | 'token-unknown'
  | 'token-wrong'
  | 'token-expired'
  | 'token-used'
  | 'token-store-failed';

export type TokenCheck =
  | { readonly ok: true; readonly id: string; readonly identity: WorkloadName }
  | { readonly ok: false; readonly reasonCode: TokenRefusal; readonly reason: string };

interface Kept extends WorkloadName {
  readonly secretSha256: Buffer;
  readonly expiresAtMs: number;
}

const refused = (reasonCode: TokenRefusal, reason: string): TokenCheck => ({
  ok: false,
  reasonCode,
  reason,
});

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/**
 * Needs no running control plane: it writes where that one reads.
 * @throws when names or life are not allowed, there are too many tokens, or the disk refuses.
 */
export async function createJoinToken(options: JoinTokenOptions): Promise<JoinToken> {
  const { stateDir, namespace, serviceAccount, ttlMs = DEFAULT_TTL_MS } = options;
  const { clock = systemClock, disk = diskCalls } = options;
  if (!isDnsLabel(namespace)) {
    throw new RangeError(`Cannot make a token: ${namespace} is no name of a namespace`);
  }
  if (!isDnsSubdomain(serviceAccount)) {
    throw new RangeError(`Cannot make a token: ${serviceAccount} is no name of a service account`);
  }
  if (!(ttlMs >= MIN_TTL_MS && ttlMs <= MAX_TTL_MS)) {
    throw new RangeError(`Cannot make a token for ${ttlMs} ms: 1 second to 7 days are allowed`);
  }
  const directory = await prepareTokens(stateDir, disk);
  const count = await sweepTokens(directory, clock, disk);
  if (count >= MAX_TOKENS) {
    throw new Error(`Cannot make a token: ${directory} holds ${count} that have not expired`);
  }
  const id = randomBytes(ID_BYTES).toString('base64url');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const expiresAtMs = clock.now() + ttlMs;
  const secretSha256 = hashOf(secret).toString('hex');
  const text = `${JSON.stringify({ namespace, serviceAccount, secretSha256, expiresAtMs })}\n`;
  await replaceFile(disk, join(directory, id + UNUSED), { text, mode: 0o600 });
  return { token: `${PREFIX}.${id}.${secret}`, id, expiresAt: new Date(expiresAtMs) };
}

async function prepareTokens(stateDir: string, disk: DiskCalls): Promise<string> {
  const directory = join(stateDir, 'tokens');
  await disk.mkdir(stateDir, { recursive: true });
  await preparePrivateDirectory(disk, directory);
  return directory;
}

export interface JoinTokens {
  /** Looks, and uses nothing up. */
  check(token: string): Promise<TokenCheck>;
  /** Uses the token up: of any number of callers in any number of processes, one is told `ok`. */
  consume(token: string): Promise<TokenCheck>;
}

/** @throws when the directory cannot be used, or others may read it. */
export async function openJoinTokens(options: {
  readonly stateDir: string;
  readonly clock?: Clock;
  readonly disk?: DiskCalls;
}): Promise<JoinTokens> {
  const { stateDir, clock = systemClock, disk = diskCalls } = options;
  const directory = await prepareTokens(stateDir, disk);
  await sweepTokens(directory, clock, disk);
  const check = (token: string): Promise<TokenCheck> => checkToken(token, directory, clock, disk);
  return {
    check: (token) => orStoreFailed(() => check(token)),
    consume: (token) =>
      orStoreFailed(async () => {
        const checked = await check(token);
        if (!checked.ok) return checked;
        const path = join(directory, checked.id);
        try {
          await disk.rename(path + UNUSED, path + USED);
        } catch (error) {
          if (errorCode(error) !== 'ENOENT') throw error;
          return refused('token-used', 'another has used the token meanwhile');
        }
        // Used is used, also after a power failure.
        await syncDirectory(disk, directory);
        return checked;
      }),
  };
}

async function orStoreFailed(run: () => Promise<TokenCheck>): Promise<TokenCheck> {
  try {
    return await run();
  } catch (error) {
    return refused('token-store-failed', `Cannot check the token: ${errorText(error)}`);
  }
}

async function checkToken(
  token: string,
  directory: string,
  clock: Clock,
  disk: DiskCalls,
): Promise<TokenCheck> {
  const parts = splitToken(token);
  if (parts === undefined) return refused('token-malformed', 'the text is no join token');
  const path = join(directory, parts.id);
  const text = await readPrivateFile(disk, path + UNUSED);
  if (text === undefined) {
    const wasUsed = (await readPrivateFile(disk, path + USED)) !== undefined;
    return wasUsed
      ? refused('token-used', 'the token has been used')
      : refused('token-unknown', 'there is no such token, or it expired long ago');
  }
  const kept = readKept(text);
  if (kept === undefined) {
    return refused('token-store-failed', `Cannot read ${path}${UNUSED}: remove it, make a new one`);
  }
  if (!timingSafeEqual(hashOf(parts.secret), kept.secretSha256)) {
    return refused('token-wrong', 'the secret is not that of the token');
  }
  if (clock.now() >= kept.expiresAtMs) return refused('token-expired', 'the token has expired');
  const { namespace, serviceAccount } = kept;
  return { ok: true, id: parts.id, identity: { namespace, serviceAccount } };
}

/** The id becomes a file's name: nothing but base64url of its exact length passes. */
function splitToken(token: string): { readonly id: string; readonly secret: string } | undefined {
  if (token.length !== PREFIX.length + ID_LENGTH + SECRET_LENGTH + 2) return undefined;
  const [prefix, id = '', secret = '', ...rest] = token.split('.');
  if (prefix !== PREFIX || rest.length > 0) return undefined;
  if (id.length !== ID_LENGTH || secret.length !== SECRET_LENGTH) return undefined;
  return isBase64Url(id) && isBase64Url(secret) ? { id, secret } : undefined;
}

function isBase64Url(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isLetter = (code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a;
    const isDigit = code >= 0x30 && code <= 0x39;
    if (code > 0x7f || !(isLetter || isDigit || code === 0x2d || code === 0x5f)) return false;
  }
  return true;
}

function readKept(text: string): Kept | undefined {
  const { namespace, serviceAccount, secretSha256, expiresAtMs } = parseJsonObject(text) ?? {};
  if (typeof namespace !== 'string' || typeof serviceAccount !== 'string') return undefined;
  if (typeof secretSha256 !== 'string' || typeof expiresAtMs !== 'number') return undefined;
  const hash = Buffer.from(secretSha256, 'hex');
  if (hash.length !== 32) return undefined;
  return { namespace, serviceAccount, secretSha256: hash, expiresAtMs };
}

/** Removes tokens that have expired, used or not. @returns how many are left. */
async function sweepTokens(directory: string, clock: Clock, disk: DiskCalls): Promise<number> {
  let count = 0;
  for (const name of await disk.readdir(directory)) {
    const path = join(directory, name);
    if (name.endsWith(TEMPORARY_SUFFIX)) {
      if (await isAbandoned(path, clock, disk)) await removeIfThere(disk, path);
    } else if (name.endsWith(UNUSED) || name.endsWith(USED)) {
      const text = await readPrivateFile(disk, path);
      const kept = text === undefined ? undefined : readKept(text);
      if (kept !== undefined && kept.expiresAtMs <= clock.now()) await removeIfThere(disk, path);
      else count++;
    }
  }
  return count;
}

async function isAbandoned(path: string, clock: Clock, disk: DiskCalls): Promise<boolean> {
  try {
    return (await disk.stat(path)).mtimeMs < clock.now() - ABANDONED_MS;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
