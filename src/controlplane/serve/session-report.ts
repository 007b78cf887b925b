// What the admin API shows of one stream: who it serves, what was sent, what is in force and what was refused.
import type { SpiffeId } from '@weft/model/identity';
import {
  ABSENT,
  type Refusal,
  type Subscription,
  type Variant,
} from '@weft/xds/protocol/subscription';
import type { StreamKind } from '@weft/xds/resource';

export interface KindReport {
  readonly kind: StreamKind;
  readonly isWildcard: boolean;
  /** Names asked for. */
  readonly subscribed: number;
  readonly lastSentNonce: string;
  /** State of the world only. */
  readonly lastSentVersion: string;
  readonly isAnswerAwaited: boolean;
  /** Versions in force by name; the first {@link MAX_REPORTED_NAMES} of `ackedCount`. */
  readonly acked: Readonly<Record<string, string>>;
  readonly ackedCount: number;
  /** Names whose newest version the proxy refused; bounded likewise. */
  readonly refused: readonly string[];
  readonly lastNack: Refusal | undefined;
}

export interface SessionReport {
  readonly proxyId: string;
  readonly identity: SpiffeId;
  readonly variant: Variant;
  readonly connectedAtMs: number;
  readonly peer: string;
  readonly userAgent: string;
  readonly outboxBytes: number;
  readonly kinds: readonly KindReport[];
}

/** A wildcard client in a large mesh holds thousands of names; nobody reads more than these. */
export const MAX_REPORTED_NAMES = 1_000;

export function reportKind(sub: Subscription): KindReport {
  const acked = new Map<string, string>();
  const refused: string[] = [];
  let ackedCount = 0;
  for (const [name, entry] of sub.entries) {
    if (entry.acked !== undefined && entry.acked !== ABSENT) {
      ackedCount++;
      if (acked.size < MAX_REPORTED_NAMES) acked.set(name, entry.acked);
    }
    if (entry.rejected !== undefined && refused.length < MAX_REPORTED_NAMES) refused.push(name);
  }
  return {
    kind: sub.kind,
    isWildcard: sub.isWildcard,
    subscribed: sub.namedCount,
    lastSentNonce: sub.lastNonce,
    lastSentVersion: sub.lastVersion,
    isAnswerAwaited: sub.inFlight !== undefined,
    acked: Object.fromEntries(acked),
    ackedCount,
    refused,
    lastNack: sub.refusal,
  };
}
