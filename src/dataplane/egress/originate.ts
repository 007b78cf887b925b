// Opens TLS to a host outside the mesh: to whom the given roots vouch for by an expected name, read from the certificate's DER.
import type { X509Certificate } from 'node:crypto';
import type { SecureContext, TLSSocket } from 'node:tls';
import { readCertificate } from '@weft/model/x509';
import type { ServerName } from '@weft/xds/resources/egress';
import { ConnectFailure, type ConnectHandlers, connectTls, type Target } from '../tls/client.ts';

export interface OriginateTarget extends Target {
  readonly context: SecureContext;
  readonly sni: string;
  /** Empty: none is offered, and none is asked for. */
  readonly alpn: readonly string[];
  /** The one that must be agreed on by name; absent: saying nothing is agreeing. */
  readonly requiredAlpn?: string;
  readonly names: readonly ServerName[];
}

/** A server that is not the expected one is a failure before a byte of the caller's was sent. */
export function connectOriginated(
  target: OriginateTarget,
  handlers: ConnectHandlers<TLSSocket>,
): void {
  /** Names are compared by OpenSSL and from DER. */
  connectTls({ ...target, judge: (socket) => whyNot(socket, target) }, handlers);
}

function whyNot(socket: TLSSocket, target: OriginateTarget): ConnectFailure | undefined {
  if (!socket.authorized) {
    return new ConnectFailure('upstream-not-authorized', String(socket.authorizationError));
  }
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) {
    return new ConnectFailure('upstream-without-certificate', 'no certificate was presented');
  }
  if (!target.names.some((name) => carries(leaf, name))) {
    const expected = target.names.map(({ value }) => value).join(', ');
    return new ConnectFailure('upstream-name-mismatch', `is none of ${expected}`);
  }
  const { requiredAlpn } = target;
  const agreed = socket.alpnProtocol === false ? undefined : socket.alpnProtocol;
  const isAgreed = agreed === null || agreed === undefined || target.alpn.includes(agreed);
  if (isAgreed && (requiredAlpn === undefined || agreed === requiredAlpn)) return undefined;
  return new ConnectFailure('upstream-alpn-mismatch', `agreed on ${agreed ?? 'no protocol'}`);
}

/** A star in a certificate stands for one whole label, and the subject's common name for nothing. */
const HOST_CHECK = {
  subject: 'never',
  wildcards: true,
  partialWildcards: false,
  multiLabelWildcards: false,
  singleLabelSubdomains: false,
} as const;

function carries(leaf: X509Certificate, { kind, value }: ServerName): boolean {
  switch (kind) {
    case 'dns':
      return leaf.checkHost(value, HOST_CHECK) !== undefined;
    case 'ip':
      return leaf.checkIP(value) !== undefined;
    case 'uri': {
      const reading = readCertificate(leaf.raw);
      return reading.ok && reading.facts.uriSans.includes(value);
    }
    default:
      return kind satisfies never;
  }
}
