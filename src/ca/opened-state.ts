// Computes what follows from the CA's state: keys ready to sign, the bundle, and the status that people see.
import { createHash, type X509Certificate } from 'node:crypto';
import type { SpiffeId, TrustDomain } from '@weft/model/identity';
import { openGeneration, type OpenGeneration } from './generation.ts';
import { keptGenerations, type RotationPhase, trustedGenerations } from './rotation.ts';
import { toPem } from './sign.ts';
import type { CaState } from './store/store.ts';

export interface Bundle {
  /** Changes exactly when the roots do. */
  readonly version: string;
  readonly rootsDer: readonly Buffer[];
  readonly pem: string;
}

export interface OpenedState {
  readonly state: CaState;
  readonly byId: ReadonlyMap<number, OpenGeneration>;
  readonly active: OpenGeneration;
  /**
   * Signs for the control plane's own servers: the oldest trusted root, because a proxy that was away during a rotation knows no other,
   * and has to get in to be given the next.
   */
  readonly serving: OpenGeneration;
  readonly bundle: Bundle;
}

export interface CertificateStatus {
  readonly generation: number;
  readonly subject: string;
  /** SHA-256 of the certificate, hex in pairs with colons. */
  readonly fingerprint: string;
  readonly notAfter: Date;
}

export interface RootStatus extends CertificateStatus {
  /** Subject key id, in hex. */
  readonly keyId: string;
  readonly notBefore: Date;
  /** What is issued now is under this one. */
  readonly isActive: boolean;
}

export interface IssuerStatus extends CertificateStatus {
  readonly keyId: string;
  readonly isActive: boolean;
}

export interface AuthorityStatus {
  readonly trustDomain: TrustDomain;
  readonly controlPlaneId: SpiffeId;
  readonly bundleVersion: string;
  readonly roots: readonly RootStatus[];
  readonly issuers: readonly IssuerStatus[];
  readonly rotation: {
    readonly phase: RotationPhase;
    /** What the last `advance` found missing. */
    readonly waitsFor: readonly string[];
  };
  readonly issued: number;
  readonly refused: number;
  readonly refusedByReason: ReadonlyMap<string, number>;
}

/** 64 bits of a hash: versions are compared, and seen by people. */
const VERSION_DIGITS = 16;

/** @throws when the state contradicts itself. */
export function openState(state: CaState): OpenedState {
  const byId = new Map(
    state.generations.map((generation) => [generation.id, openGeneration(generation)]),
  );
  const trusted = trustedGenerations(state.rotation).map((id) => required(byId, id));
  const rootsDer = trusted.map(({ root }) => root.raw).sort((a, b) => a.compare(b));
  const digest = createHash('sha256');
  for (const der of rootsDer) digest.update(der);
  const version = digest.digest('hex').slice(0, VERSION_DIGITS);
  const bundle = { version, rootsDer, pem: rootsDer.map(toPem).join('') };
  const active = required(byId, state.rotation.active);
  const serving = required(byId, Math.min(...trustedGenerations(state.rotation)));
  return { state, byId, active, serving, bundle };
}

function required(byId: ReadonlyMap<number, OpenGeneration>, id: number): OpenGeneration {
  const found = byId.get(id);
  if (found === undefined) {
    throw new Error(`Cannot open the CA: its journal names generation ${id}, which is not there`);
  }
  return found;
}

/** Without the keys that the rotation needs no more. */
export function withoutUnneeded(state: CaState): CaState {
  const kept = new Set(keptGenerations(state.rotation));
  return { ...state, generations: state.generations.filter(({ id }) => kept.has(id)) };
}

const certificateStatus = (
  generation: number,
  certificate: X509Certificate,
): CertificateStatus => ({
  generation,
  subject: certificate.subject.replaceAll('\n', ', '),
  fingerprint: certificate.fingerprint256,
  notAfter: certificate.validToDate,
});

export const rootStatus = ({ state, byId, active }: OpenedState): readonly RootStatus[] =>
  trustedGenerations(state.rotation).map((id) => {
    const { root, rootKeyId } = required(byId, id);
    return {
      ...certificateStatus(id, root),
      keyId: rootKeyId,
      notBefore: root.validFromDate,
      isActive: id === active.id,
    };
  });

export const issuerStatus = ({ byId, active }: OpenedState): readonly IssuerStatus[] =>
  [...byId.values()].map((generation) => ({
    ...certificateStatus(generation.id, generation.issuing),
    keyId: generation.issuerKeyId,
    isActive: generation.id === active.id,
  }));
