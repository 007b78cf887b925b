// A renewal service that gives every request the same answer: what its messages cost by themselves, with gRPC and TLS and without a CA.
import type { Server } from '@grpc/grpc-js';
import type { Authority } from '@weft/ca/authority';
import {
  bundleMessage,
  enrolmentMethod,
  readRenewRequest,
  type Received,
  svidMessage,
} from '@weft/ca/enrolment-messages';
import type { RenewalCall } from '@weft/ca/renewal-stream';
import type { PlainMessage } from '@weft/xds/registry';
import { ACCOUNT, CA_NAMESPACE } from './ca-messages.ts';

/** The first request of a stream gets a certificate, for the client checks it; after that it is that one again. */
export function addEchoService(server: Server, authority: Authority): void {
  server.addService(enrolmentMethod('Renew'), {
    Renew: (call: RenewalCall) => {
      let answer: PlainMessage | undefined;
      call.on('data', (received: Received) => {
        const request = received.ok ? readRenewRequest(received.message) : undefined;
        if (request?.kind !== 'csr') return;
        answer ??= { svid: svidOf(authority, request.csrDer) };
        call.write(answer);
      });
      call.on('end', () => call.end());
      call.write({ bundle: bundleMessage(authority.bundle()) });
    },
  });
}

function svidOf(authority: Authority, csrDer: Uint8Array): PlainMessage {
  const identity = { namespace: CA_NAMESPACE, serviceAccount: ACCOUNT };
  const issuance = authority.issue(csrDer, identity, 'benchmark', 'local');
  if (!issuance.ok) throw new Error(`Cannot echo: ${issuance.reason}`);
  return svidMessage(issuance.svid);
}
