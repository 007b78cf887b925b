// What one peer, and all of them together, may ask of enrolment and renewal.
import type { Rate } from './rate-limit.ts';

export interface EnrolmentLimits {
  /** Enrolments of everybody. */
  readonly total: Rate;
  /** Enrolments from one address. */
  readonly perAddress: Rate;
  /** Audit lines of enrolments that were refused for their rate; the others are counted. */
  readonly limitedAudits: Rate;
  readonly maxRenewalStreams: number;
  readonly maxRenewalStreamsPerIdentity: number;
  /** Messages on one renewal stream. */
  readonly perStream: Rate;
}

export const DEFAULT_ENROLMENT_LIMITS: EnrolmentLimits = {
  /** An enrolment takes about 1 ms with its fsync: a fifth of a core at most. */
  total: { burst: 2_000, perSecond: 200 },
  /** A machine that starts all its sidecars at once is not to wait. */
  perAddress: { burst: 1_000, perSecond: 50 },
  limitedAudits: { burst: 10, perSecond: 1 },
  /** Twice the proxies of the largest mesh that is planned for. */
  maxRenewalStreams: 20_000,
  /** Replicas of one service account; one of them must not take the places of all others. */
  maxRenewalStreamsPerIdentity: 5_000,
  /** A renewal and an acknowledgement every few minutes are usual, every few seconds with the shortest life. */
  perStream: { burst: 20, perSecond: 1 },
};

/** What a stream may leave unread before it is ended: a bundle and a certificate of each of a few changes. */
export const MAX_UNREAD_MESSAGES = 16;
