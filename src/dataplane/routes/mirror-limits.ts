// How much copies of requests may take: they never wait for anything, and what is too much is left out.

/** Copies under way at once in one sidecar. */
const MAX_MIRRORS = 256;
/** 256 KiB of one copy that wait to be sent: a slower receiver gets no more of it. */
export const MAX_MIRROR_BYTES = 262_144;
/** 30 s for one copy with its answer. */
export const MIRROR_TIMEOUT_MS = 30_000;

/** Of one process. */
export class MirrorSlots {
  #inUse = 0;

  /** @returns whether another copy may be begun, which then counts until `free`. */
  take(): boolean {
    if (this.#inUse >= MAX_MIRRORS) return false;
    this.#inUse++;
    return true;
  }

  free(): void {
    this.#inUse--;
  }
}

export const mirrorSlots = new MirrorSlots();
