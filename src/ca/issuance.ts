// Answers one certificate request: what the request must prove, and what the certificate says.
import {
  isDnsLabel,
  isDnsSubdomain,
  type SpiffeId,
  spiffeIdOf,
  type TrustDomain,
} from '@weft/model/identity';
import { type CsrRefusal, readCsr } from './csr.ts';
import type { OpenGeneration } from './generation.ts';
import { createKeyPair, createSerial, signTemplate, toPem } from './sign.ts';
import { BACKDATE_MS, leafTemplate, type SubjectAltNames } from './template.ts';

export interface WorkloadName {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface Svid {
  /** Leaf first, then the issuing CA, then what is between that and the root. */
  readonly chainDer: readonly Buffer[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly spiffeId: SpiffeId;
  /** In hex. */
  readonly serial: string;
}

export type IssueRefusal =
  | CsrRefusal
  | 'identity-invalid'
  | 'identity-reserved'
  | 'identity-revoked'
  | 'issuer-expired';

export interface Refusal {
  readonly ok: false;
  readonly reasonCode: IssueRefusal;
  readonly reason: string;
}

export type Issuance = { readonly ok: true; readonly svid: Svid } | Refusal;

export interface ServerCertificate {
  readonly keyPem: string;
  /** Leaf and issuing CA. */
  readonly chainPem: string;
  readonly notAfter: Date;
}

/** Who signs, and for how long from when. */
export interface Signing {
  readonly generation: OpenGeneration;
  readonly nowMs: number;
  readonly svidTtlMs: number;
}

export interface Subject extends WorkloadName {
  readonly trustDomain: TrustDomain;
  /** The control plane's own identity: no workload may be given it, because workloads trust whoever has it. */
  readonly reservedId: SpiffeId;
}

/** A request that was found good: its owner holds the key, and it names nobody but whom the attestor named. */
export interface Reviewed {
  readonly ok: true;
  readonly spiffeId: SpiffeId;
  readonly subject: Subject;
  readonly point: Buffer;
}

/** What a request must be to be granted, short of the signing. Checks its signature, which costs more than to sign. */
export function reviewRequest(csrDer: Uint8Array, subject: Subject): Reviewed | Refusal {
  if (!isDnsLabel(subject.namespace) || !isDnsSubdomain(subject.serviceAccount)) {
    const reason = 'namespace or service account is no Kubernetes name';
    return { ok: false, reasonCode: 'identity-invalid', reason };
  }
  const spiffeId = spiffeIdOf(subject);
  if (spiffeId === subject.reservedId) {
    const reason = `${spiffeId} is the control plane's own identity`;
    return { ok: false, reasonCode: 'identity-reserved', reason };
  }
  const request = readCsr(csrDer);
  if (!request.ok) return request;
  const [claimed, ...more] = request.uriSans;
  if (more.length > 0 || (claimed !== undefined && claimed !== spiffeId)) {
    const reason = `the request names an identity that is not the proven one, ${spiffeId}`;
    return { ok: false, reasonCode: 'csr-names-another', reason };
  }
  return { ok: true, spiffeId, subject, point: request.point };
}

export function issueSvid(reviewed: Reviewed, signing: Signing): Issuance {
  const { spiffeId } = reviewed;
  const leaf = signLeaf(reviewed.point, { spiffeId }, signing);
  if (leaf === undefined) {
    return { ok: false, reasonCode: 'issuer-expired', reason: 'the issuing CA has expired' };
  }
  return { ok: true, svid: { ...leaf, spiffeId } };
}

/** @throws when the issuing CA has expired. */
export function createServerCertificate(
  names: SubjectAltNames,
  signing: Signing,
): ServerCertificate {
  const { privateKey, point } = createKeyPair();
  const leaf = signLeaf(point, names, signing);
  if (leaf === undefined) {
    throw new Error('Cannot make a server certificate: the issuing CA has expired');
  }
  return {
    keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }),
    chainPem: leaf.chainDer.map(toPem).join(''),
    notAfter: leaf.notAfter,
  };
}

/** @returns `undefined` when the issuing CA has expired. */
function signLeaf(
  point: Buffer,
  names: SubjectAltNames,
  signing: Signing,
): Omit<Svid, 'spiffeId'> | undefined {
  const { chainDer, issuingNotAfterMs, issuingKey, issuer } = signing.generation;
  const notAfterMs = Math.min(signing.nowMs + signing.svidTtlMs, issuingNotAfterMs);
  if (notAfterMs <= signing.nowMs) return undefined;
  const validity = { notBeforeMs: signing.nowMs - BACKDATE_MS, notAfterMs };
  const serial = createSerial();
  const toBeSigned = leafTemplate({ serial, point, validity, names }, issuer);
  return {
    chainDer: [signTemplate(toBeSigned, issuingKey), ...chainDer],
    notBefore: wholeSeconds(validity.notBeforeMs),
    notAfter: wholeSeconds(notAfterMs),
    serial: serial.toString('hex'),
  };
}

/** Certificates count whole seconds. */
const wholeSeconds = (ms: number): Date => new Date(Math.floor(ms / 1_000) * 1_000);
