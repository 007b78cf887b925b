// Reads and writes the messages of weft.enrolment.v1; what a peer sends is a value here, never an exception.
import type { MethodDefinition } from '@grpc/grpc-js';
import { bytesOf, textOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
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
export function enrolmentMethod(name: 'Enrol' | 'Renew'): {
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

export type RenewRequest =
  | { readonly kind: 'csr'; readonly csrDer: Uint8Array }
  | { readonly kind: 'bundle-ack'; readonly version: string }
  | { readonly kind: 'unknown' };

export function readRenewRequest(message: PlainMessage): RenewRequest {
  const csrDer = bytesOf(message, 'csr_der');
  if (csrDer.byteLength > 0) return { kind: 'csr', csrDer };
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

export const bundleMessage = (bundle: Bundle): PlainMessage => ({
  root_der: bundle.rootsDer,
  version: bundle.version,
});
