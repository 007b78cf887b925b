// How a sidecar says on the wire what proves who it is.
import type { Evidence } from '@weft/model/enrolment-evidence';
import type { PlainMessage } from '@weft/xds/registry';

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
