// What proves who a workload is, and what a proof is worth.
import type { Evidence } from '@weft/model/enrolment-evidence';
import type { WorkloadName } from '../issuance.ts';

export type EvidenceKind = Evidence['kind'];

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
  readonly kind: EvidenceKind;
  /** Refuses evidence of another kind. */
  attest(evidence: Evidence): Promise<Attestation>;
}

/** Of an attestor that was handed what is not for it. */
export const notMine = (evidence: Evidence): AttestationRefusal => ({
  ok: false,
  reasonCode: 'evidence-kind',
  reason: `evidence of kind ${evidence.kind} is not for this attestor`,
  isTemporary: false,
});
