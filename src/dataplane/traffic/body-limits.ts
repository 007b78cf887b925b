// How large and how slow the body of a request may be, whatever its head has said of it.
import type { HttpFilter } from '@weft/xds/resources/listener';

export interface BodyLimits {
  readonly maxBytes?: number;
  /** From its head to its end. */
  readonly timeoutMs?: number;
}

export function bodyLimitsOf(filters: readonly HttpFilter[]): BodyLimits | undefined {
  for (const filter of filters) {
    if (filter.kind !== 'requestLimits') continue;
    const { maxBodyBytes: maxBytes, bodyTimeoutMs: timeoutMs } = filter.limits.limits;
    if (maxBytes === undefined && timeoutMs === undefined) return undefined;
    return {
      ...(maxBytes !== undefined && { maxBytes }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
  }
  return undefined;
}
