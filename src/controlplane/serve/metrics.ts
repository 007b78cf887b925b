// What serving streams counts; the functions are given by whoever keeps the counters.
import type { StreamKind } from '@weft/xds/resource';
import type { Variant } from '@weft/xds/protocol/subscription';

/** Why a stream ended. */
export type EndReason =
  | 'client-closed'
  | 'shutdown'
  | 'unauthenticated'
  | 'too-many-streams'
  | 'no-first-request'
  | 'bad-request'
  | 'bad-claim'
  | 'identity-mismatch'
  | 'unknown-workload'
  | 'too-many-names'
  | 'outbox-full'
  | 'internal';

export interface XdsMetrics {
  streamOpened(variant: Variant): void;
  streamEnded(variant: Variant, reason: EndReason): void;
  requestReceived(kind: StreamKind): void;
  /** A request for a type that is not served. */
  unknownTypeRequested(): void;
  /** A request was left unread for a while. */
  requestDelayed(): void;
  staleNonceReceived(kind: StreamKind): void;
  responseSent(
    kind: StreamKind,
    size: { readonly resources: number; readonly bytes: number },
  ): void;
  responseAccepted(kind: StreamKind): void;
  responseRefused(kind: StreamKind): void;
  /** From the start of a change until the last stream was told, as far as outboxes allowed. */
  changeServed(durationMs: number, streams: number): void;
}

const nothing = (): void => undefined;

export const noXdsMetrics: XdsMetrics = {
  streamOpened: nothing,
  streamEnded: nothing,
  requestReceived: nothing,
  unknownTypeRequested: nothing,
  requestDelayed: nothing,
  staleNonceReceived: nothing,
  responseSent: nothing,
  responseAccepted: nothing,
  responseRefused: nothing,
  changeServed: nothing,
};
