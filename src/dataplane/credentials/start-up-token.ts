// The token that a caller of the credentials' URL has to show: made anew at each start, and written where its application alone reads it.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { requireMemory } from './memory-volume.ts';
import type { UrlDelivery } from './options.ts';

const TOKEN_BYTES = 32;
/** Longer ones are no tokens of ours. */
const MAX_SHOWN = 256;

export interface StartUpToken extends AsyncDisposable {
  isShown(authorization: string | undefined): boolean;
}

/**
 * @param isForced whether it may be written to a file system that is not in memory.
 * @throws Error when it cannot be written.
 */
export async function writeStartUpToken(
  file: NonNullable<UrlDelivery['tokenFile']>,
  { isForced }: { readonly isForced: boolean },
): Promise<StartUpToken> {
  const { path, mode, owner } = file;
  await requireMemory(dirname(path), {
    isForced,
    cure: 'give a --credentials-token-file on a tmpfs (/dev/shm, /run, an emptyDir of medium Memory)',
  });
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const fresh = `${path}.new`;
  await rm(fresh, { force: true });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  {
    await using made = await open(fresh, flags, 0o600);
    await made.writeFile(token);
    if (owner !== undefined) await made.chown(owner.uid, owner.gid);
    await made.chmod(mode);
  }
  await rename(fresh, path);
  const key = randomBytes(TOKEN_BYTES);
  const digest = (text: string): Buffer => createHmac('sha256', key).update(text).digest();
  const expected = digest(`Bearer ${token}`);
  return {
    /** Digests are compared: neither length nor content shows in the time it takes. */
    isShown: (authorization) =>
      authorization !== undefined &&
      authorization.length <= MAX_SHOWN &&
      timingSafeEqual(digest(authorization), expected),
    async [Symbol.asyncDispose]() {
      await rm(path, { force: true });
    },
  };
}
