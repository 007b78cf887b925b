// What a sidecar brings to its enrolment to prove who it is, and how that is said on the wire.
import type { PlainMessage } from '@weft/xds/registry';

export type Evidence =
  | { readonly kind: 'join-token'; readonly token: string }
  | {
      readonly kind: 'service-account-token';
      /** Bound to the Pod; the kubelet replaces it before it ends. */
      readonly token: string;
      readonly pod: string;
      readonly namespace: string;
    };

/** The fields of an EnrolRequest. */
export function evidenceFields(evidence: Evidence): PlainMessage {
  switch (evidence.kind) {
    case 'join-token':
      return { join_token: evidence.token };
    case 'service-account-token': {
      const { token, pod, namespace } = evidence;
      return { service_account_token: token, pod, namespace };
    }
    default:
      return evidence satisfies never;
  }
}
