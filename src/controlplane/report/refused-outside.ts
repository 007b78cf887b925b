// Remembers what workloads called outside the mesh and were refused, as their proxies report it: a peer's word, so bounded.
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { messagesOf, textOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';
import type { ProxyRef } from '../serve/view-source.ts';

export interface ReportedRefusal {
  readonly host: string;
  readonly port: number;
  readonly reason: string;
  readonly count: number;
}

export interface RefusedOutside extends ReportedRefusal {
  /** `POD.NAMESPACE`. */
  readonly workload: string;
  readonly identity: SpiffeId;
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
}

/** Of one report: a proxy tells no more than so many hosts apart. */
const MAX_REPORTED = 256;
const MAX_TEXT = 255;
/** Some 3 MB; beyond, the longest unseen goes. */
const MAX_KEPT = 10_000;

const numberOf = (message: PlainMessage, field: string): number => {
  const value = message[field];
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
};

export const readRefusals = (report: PlainMessage): readonly ReportedRefusal[] =>
  messagesOf(report, 'refused_outside')
    .slice(0, MAX_REPORTED)
    .map((entry) => ({
      host: textOf(entry, 'host').slice(0, MAX_TEXT),
      port: numberOf(entry, 'port'),
      reason: textOf(entry, 'reason').slice(0, MAX_TEXT),
      count: numberOf(entry, 'count'),
    }))
    .filter(({ count }) => count > 0);

export class RefusalLedger {
  readonly #clock: Clock;
  /** Longest unseen first. */
  readonly #kept = new Map<string, RefusedOutside>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note({ id, identity }: ProxyRef, refusals: readonly ReportedRefusal[]): void {
    const nowMs = this.#clock.now();
    for (const refusal of refusals) {
      const key = [id, refusal.host, refusal.port, refusal.reason].join('\0');
      const known = this.#kept.get(key);
      this.#kept.delete(key);
      this.#kept.set(key, {
        ...refusal,
        count: (known?.count ?? 0) + refusal.count,
        workload: id,
        identity,
        firstSeenMs: known?.firstSeenMs ?? nowMs,
        lastSeenMs: nowMs,
      });
    }
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT) break;
      this.#kept.delete(key);
    }
  }

  report(): object {
    return {
      refused: [...this.#kept.values()].map(({ firstSeenMs, lastSeenMs, ...refusal }) => ({
        ...refusal,
        firstSeen: new Date(firstSeenMs).toISOString(),
        lastSeen: new Date(lastSeenMs).toISOString(),
      })),
    };
  }
}
