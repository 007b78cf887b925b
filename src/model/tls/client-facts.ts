// What rules and applications are told of a client outside the mesh that showed a certificate.
import type { ClientCertificate } from './client-certificate.ts';

/** The metadata under which rules find it; no filter of Envoy's writes there, so that nothing there can be misread. */
export const CLIENT_CERTIFICATE = 'weft.client_certificate';

/** What `connection.clientCertificate[NAME]` may ask for. */
export const CLIENT_FACTS = [
  'subject',
  'issuer',
  'dns',
  'uri',
  'email',
  'serial',
  'spki',
  'sha256',
] as const;

export const factsOfClient = (
  certificate: ClientCertificate,
): Readonly<Record<string, string | readonly string[]>> => ({
  subject: certificate.subjectText,
  issuer: certificate.issuerText,
  dns: certificate.dnsNames,
  uri: certificate.uris,
  email: certificate.emails,
  serial: certificate.serialHex,
  spki: certificate.spkiSha256,
  sha256: certificate.sha256,
});

/** Names of one kind: more fill a header and help nobody. */
const MAX_NAMES = 16;
/** Of the whole header: an application's limit for all its headers is 8 KB often. */
const MAX_HEADER = 4_096;

/**
 * X-Forwarded-Client-Cert in Envoy's form: the certificate (Hash), Subject as RFC 4514, URI and DNS names. All of it is
 * ASCII, and what could end a value is quoted.
 */
export function forwardedOutsideClient(certificate: ClientCertificate): string {
  const { sha256, subjectText, uris, dnsNames } = certificate;
  const whole = [
    `Hash=${sha256}`,
    `Subject=${quoted(subjectText)}`,
    ...uris.slice(0, MAX_NAMES).map((uri) => `URI=${valueOf(uri)}`),
    ...dnsNames.slice(0, MAX_NAMES).map((name) => `DNS=${valueOf(name)}`),
  ].join(';');
  return whole.length <= MAX_HEADER ? whole : `Hash=${sha256}`;
}

const SPECIAL = [',', ';', '='];

/**
 * Quotation marks and backslashes are never among what is written: readers differ in what ends a quoted text, and one
 * who could end it could write a name of somebody else behind it.
 */
function valueOf(text: string): string {
  const plain = text.replaceAll('"', '%22').replaceAll('\\', '%5C');
  return SPECIAL.some((char) => plain.includes(char)) ? quoted(plain) : plain;
}

const quoted = (text: string): string => `"${text}"`;
