// Reads and writes the messages of weft.enrolment.v1; what a peer sends is a value here, never an exception.
import type { MethodDefinition } from '@grpc/grpc-js';
import { bytesOf, textOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { Evidence } from '@weft/model/enrolment-evidence';
import type { Svid } from './issuance.ts';
import type { Bundle } from './opened-state.ts';

/** 16 KiB: twice the largest request for a certificate. */
const MAX_MESSAGE_BYTES = 16_384;

/** Not `ok` for bytes that are no such message, or too many. */
export type Received =
  | { readonly ok: true; readonly message: PlainMessage }
  | { readonly ok: false };
export type EnrolmentMethod = MethodDefinition<Received, PlainMessage>;

/** The named method of the service alone: each is served on a port of its own. */
export function enrolmentMethod(name: 'Enrol' | 'Renew' | 'IssueToken' | 'GetTokenKeys'): {
  readonly [name: string]: EnrolmentMethod;
} {
  const method = serviceDefinition('weft.enrolment.v1.Enrolment')[name];
  if (method === undefined) throw new TypeError(`Cannot serve enrolment: it has no method ${name}`);
  const { requestDeserialize } = method;
  const bounded = (bytes: Buffer): Received => {
    if (bytes.length > MAX_MESSAGE_BYTES) return { ok: false };
    try {
      return { ok: true, message: requestDeserialize(bytes) };
    } catch (error) {
      // protobufjs throws RangeError past the end, and Error for wire types that do not exist.
      if (error instanceof Error) return { ok: false };
      throw error;
    }
  };
  return { [name]: { ...method, requestDeserialize: bounded } };
}

export type EnrolRequest =
  | { readonly ok: true; readonly csrDer: Uint8Array; readonly evidence: Evidence }
  | {
      readonly ok: false;
      readonly reasonCode: 'evidence-missing' | 'evidence-ambiguous' | 'evidence-incomplete';
      readonly reason: string;
    };

/** Exactly one kind of evidence: of two, it would be a guess which one speaks. */
export function readEnrolRequest(message: PlainMessage): EnrolRequest {
  const csrDer = bytesOf(message, 'csr_der');
  const joinToken = textOf(message, 'join_token');
  const token = textOf(message, 'service_account_token');
  const pod = textOf(message, 'pod');
  const namespace = textOf(message, 'namespace');
  if (joinToken !== '' && token !== '') {
    const reason = 'the request has both a join token and a service account token';
    return { ok: false, reasonCode: 'evidence-ambiguous', reason };
  }
  if (joinToken !== '') {
    return { ok: true, csrDer, evidence: { kind: 'join-token', token: joinToken } };
  }
  if (token === '') {
    const reason = 'the request has neither a join token nor a service account token';
    return { ok: false, reasonCode: 'evidence-missing', reason };
  }
  if (pod === '' || namespace === '') {
    const reason = 'the request does not say which Pod it is from: pod and namespace are needed';
    return { ok: false, reasonCode: 'evidence-incomplete', reason };
  }
  return { ok: true, csrDer, evidence: { kind: 'service-account-token', token, pod, namespace } };
}

export type RenewRequest =
  | { readonly kind: 'csr' | 'additional-csr'; readonly csrDer: Uint8Array }
  | { readonly kind: 'bundle-ack'; readonly version: string }
  | { readonly kind: 'unknown' };

export function readRenewRequest(message: PlainMessage): RenewRequest {
  const csrDer = bytesOf(message, 'csr_der');
  if (csrDer.byteLength > 0) return { kind: 'csr', csrDer };
  const additionalDer = bytesOf(message, 'additional_csr_der');
  if (additionalDer.byteLength > 0) return { kind: 'additional-csr', csrDer: additionalDer };
  const version = textOf(message, 'bundle_ack');
  return version === '' ? { kind: 'unknown' } : { kind: 'bundle-ack', version };
}

const unixSeconds = (date: Date): number => date.getTime() / 1_000;

export const svidMessage = (svid: Svid): PlainMessage => ({
  certificate_chain_der: svid.chainDer,
  not_after_unix_seconds: unixSeconds(svid.notAfter),
  spiffe_id: svid.spiffeId,
  not_before_unix_seconds: unixSeconds(svid.notBefore),
});

/** Roots of another trust domain, for its identities alone. */
export interface ForeignRoots {
  readonly trustDomain: string;
  readonly rootsDer: readonly Uint8Array[];
}

export const bundleMessage = (
  bundle: Bundle,
  federated: readonly ForeignRoots[] = [],
): PlainMessage => ({
  root_der: bundle.rootsDer,
  version: bundle.version,
  federated: federated.map(({ trustDomain, rootsDer }) => ({
    trust_domain: trustDomain,
    root_der: rootsDer,
  })),
});
