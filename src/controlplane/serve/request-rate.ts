// Decides how long a stream's next request has to wait: a bucket of tokens that fills with time.

export interface RequestRate {
  /** Takes one request. @returns milliseconds until the next may be read, 0 for at once. */
  take(nowMs: number): number;
}

export function createRequestRate(options: {
  readonly burst: number;
  readonly perSecond: number;
  readonly nowMs: number;
}): RequestRate {
  const { burst, perSecond } = options;
  let tokens = burst;
  let filledAtMs = options.nowMs;
  return {
    take(nowMs) {
      // A clock that was set back adds nothing.
      const elapsedMs = Math.max(0, nowMs - filledAtMs);
      filledAtMs = nowMs;
      tokens = Math.min(burst, tokens + (elapsedMs * perSecond) / 1_000) - 1;
      return tokens >= 0 ? 0 : Math.ceil((-tokens * 1_000) / perSecond);
    },
  };
}
