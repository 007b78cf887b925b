// Says in words why the control plane could not be reached: OpenSSL's and the system's texts with what they mean here.
import { CLOSED_EARLY } from './grpc/channel.ts';

const NO_TLS = ['wrong version number', 'packet length too long', 'before secure TLS connection'];

/** @param said what is known of a call that failed, with or without its code. */
export function whyNoAnswer(said: string): string {
  if (NO_TLS.some((sign) => said.includes(sign))) {
    return 'what listens there speaks no TLS; enrolment is at port 15013 of the control plane by default, xDS at 15012';
  }
  if (said.includes('alert certificate required')) {
    return 'what listens there wants a certificate first: that is the xDS port; enrolment is at 15013 by default';
  }
  if (said.includes(CLOSED_EARLY)) {
    return 'nothing answered there in time; is its machine gone, or does a NetworkPolicy drop packets on the way?';
  }
  if (said.includes('certificate is not yet valid')) {
    return `${said}: by the clock of this node it begins later than now; is the clock behind?`;
  }
  if (said.includes('certificate has expired')) {
    return `${said}: by the clock of this node its end is past; is the clock ahead, or the control plane's certificate old?`;
  }
  if (said.includes('UNIMPLEMENTED')) {
    return `${said}; is the control plane of an older release, or this another port of it? xDS is at 15012 by default`;
  }
  // A CA of an older release sees no request in what it does not know.
  if (said.includes('not a RenewRequest')) {
    return `${said}; is the control plane of an older release, which issues no certificates for applications?`;
  }
  return said;
}
