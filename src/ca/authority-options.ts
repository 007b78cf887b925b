// What a CA is opened with, and the limits of it.
import type { Clock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import type { BroughtCa } from './brought.ts';
import type { WorkloadName } from './issuance.ts';
import type { CaStore } from './store/store.ts';

export interface AuthorityOptions {
  readonly store: CaStore;
  readonly trustDomain: TrustDomain;
  readonly clock?: Clock;
  /** Default 1 h; 10 s to 24 h. */
  readonly svidTtlMs?: number;
  readonly log?: Logger;
  /** Where the control plane itself runs: default `weft-system`, service account `weft-control-plane`. */
  readonly controlPlane?: WorkloadName;
  /** What tokens name as their issuer: where their keys are published for others. */
  readonly tokenIssuer?: string;
  /** Issues in place of a CA of our own; a change of it is taken over, another root by a rotation. */
  readonly brought?: BroughtCa;
  /**
   * Whether a root is retired only when no certificate under it can be in use, also by workloads that are not connected.
   * Default true; false asks the connected ones alone.
   */
  readonly waitForDisconnected?: boolean;
  /** Whether other control planes may issue under the same roots; default: whenever the store can be shared. */
  readonly hasOthers?: () => boolean;
  /**
   * How long everybody must have had certificates of the new root before the previous one is retired: what is in flight
   * on connections made with older ones finishes meanwhile. Default 10 s.
   */
  readonly rotationGraceMs?: number;
  /** Why nothing is issued at the address of a peer, though it proves that it has the identity; absent: to all of them. */
  readonly heldBack?: (identity: WorkloadName, peer: string) => string | undefined;
}

/** 10 s: longer than nearly every request. */
export const DEFAULT_GRACE_MS = 10_000;
export const DEFAULT_SVID_TTL_MS = 3_600_000;
/** 10 s: below, a certificate can end before its holder has it in use. */
const MIN_SVID_TTL_MS = 10_000;
/** 24 h: nothing revokes an SVID but its end. */
export const MAX_SVID_TTL_MS = 86_400_000;
export const DEFAULT_CONTROL_PLANE: WorkloadName = {
  namespace: 'weft-system',
  serviceAccount: 'weft-control-plane',
};

/** @throws RangeError when certificates may not live that long. */
export function checkSvidTtl(svidTtlMs: number): void {
  if (svidTtlMs >= MIN_SVID_TTL_MS && svidTtlMs <= MAX_SVID_TTL_MS) return;
  throw new RangeError(
    `Cannot issue certificates for ${svidTtlMs} ms (--svid-ttl): ${MIN_SVID_TTL_MS / 1_000}s to ${MAX_SVID_TTL_MS / 3_600_000}h are allowed`,
  );
}
