// What the CA keeps between runs, and what it asks of whatever keeps it.
import type { RotationState } from '../rotation.ts';

/** What signs, and the way from there to the root that is trusted. Keys are PKCS#8, everything in DER. */
export interface IssuingMaterial {
  readonly rootCertificate: Buffer;
  readonly issuingKey: Buffer;
  readonly issuingCertificate: Buffer;
  /** Between the issuing certificate and the root, the issuer of the issuing one first; our own CAs have none. */
  readonly intermediates: readonly Buffer[];
}

/** A root with the issuing CA under it. */
export interface Generation extends IssuingMaterial {
  /** Unique in the store; sorts by age. */
  readonly id: number;
  /** Absent of a CA that was brought: its root's key is elsewhere, and makes the next issuing CA there. */
  readonly rootKey?: Buffer;
  /** The longest life given to a certificate of this generation: how long after its last use one may still be valid. */
  readonly longestLeafMs: number;
}

/** Signs tokens; its public half is published. */
export interface TokenKey {
  /** PKCS#8 on P-256, DER. */
  readonly key: Buffer;
  readonly createdAtMs: number;
}

/** The number under which keys were published last. */
export interface Publication {
  readonly sequence: number;
  readonly publishedAtMs: number;
  /** Of the keys. */
  readonly digest: string;
}

export interface CaState {
  readonly trustDomain: string;
  readonly generations: readonly Generation[];
  readonly rotation: RotationState;
  /** Oldest first; absent as long as nobody has asked for a token. */
  readonly tokenKeys?: readonly TokenKey[];
  /** Absent: nothing was ever published. */
  readonly publication?: Publication;
}

export type SaveResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      /** `conflict`: somebody else has kept a state since; load it, and decide anew. */
      readonly reasonCode: 'store-failed' | 'conflict';
      readonly reason: string;
    };

export interface CaStore extends AsyncDisposable {
  /**
   * @returns `undefined` when nothing was ever kept here.
   * @throws when something was, and cannot be trusted now: a new root is never made over an old one.
   */
  load(): Promise<CaState | undefined>;
  /**
   * All or nothing: a half-written state never exists. Refused, the state before stays in force.
   * @param replaces the state that this one was made of, as this store gave or took it; `undefined` when there was none.
   */
  save(state: CaState, replaces: CaState | undefined): Promise<SaveResult>;
  /** Puts the roots where people and sidecars can read them. */
  publishBundle(pem: string): Promise<SaveResult>;
  /** Of a store that several control planes share: tells of states that others have kept, each of them checked. Absent: there are no others. */
  subscribe?(listener: (state: CaState) => void): Disposable;
}
