// What proves who a workload is, and what a proof is worth.
import type { WorkloadName } from '../issuance.ts';

/** What a workload brings to its first enrolment. */
export interface Evidence {
  readonly kind: 'join-token';
  readonly token: string;
}

export interface AttestationRefusal {
  readonly ok: false;
  /** For the log; the workload hears no more than that it was refused. */
  readonly reasonCode: string;
  readonly reason: string;
  /** Whether the same evidence may be good later: the fault is on our side. */
  readonly isTemporary: boolean;
}

export type Attestation =
  | {
      readonly ok: true;
      readonly identity: WorkloadName;
      /** Uses the evidence up; only then may an identity be given for it. */
      redeem(): Promise<{ readonly ok: true } | AttestationRefusal>;
    }
  | AttestationRefusal;

export interface Attestor {
  /** In the audit lines. */
  readonly name: string;
  readonly kind: Evidence['kind'];
  attest(evidence: Evidence): Promise<Attestation>;
}
