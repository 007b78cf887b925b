// What the CA keeps between runs, and what it asks of whatever keeps it.
import type { RotationState } from '../rotation.ts';

/** A root with the issuing CA under it. Keys are PKCS#8, everything in DER. */
export interface Generation {
  /** Unique in the store; sorts by age. */
  readonly id: number;
  readonly rootKey: Buffer;
  readonly rootCertificate: Buffer;
  readonly issuingKey: Buffer;
  readonly issuingCertificate: Buffer;
  /** The longest life given to a certificate of this generation: how long after its last use one may still be valid. */
  readonly longestLeafMs: number;
}

export interface CaState {
  readonly trustDomain: string;
  readonly generations: readonly Generation[];
  readonly rotation: RotationState;
}

export type SaveResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly reasonCode: 'store-failed'; readonly reason: string };

export interface CaStore extends AsyncDisposable {
  /**
   * @returns `undefined` when nothing was ever kept here.
   * @throws when something was, and cannot be trusted now: a new root is never made over an old one.
   */
  load(): Promise<CaState | undefined>;
  /** All or nothing: a half-written state never exists. Refused, the state before stays in force. */
  save(state: CaState): Promise<SaveResult>;
  /** Puts the roots where people and sidecars can read them. */
  publishBundle(pem: string): Promise<SaveResult>;
}
