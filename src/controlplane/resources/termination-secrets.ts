// Which Secrets a workload's ports are sent, under which names, and what is made of each: nobody else is ever sent them.
import type { InboundSpec, Mesh, Workload } from '@weft/model/mesh/mesh';
import type { DataObject } from '@weft/model/mesh/objects';
import type { TlsTermination } from '@weft/model/tls/types';
import type { Secret } from '@weft/xds/resources/secret';

const CERTIFICATE = 'tls/';
const AUTHORITIES = 'clients/';
/** The same where a certificate is refused of which no list of revoked ones speaks. */
const CHECKED_AUTHORITIES = 'checked-clients/';

export const certificateName = (namespace: string, name: string): string =>
  `${CERTIFICATE}${namespace}/${name}`;

export const authoritiesName = (
  namespace: string,
  { trust, crl }: NonNullable<TlsTermination['clientCertificates']>,
): string =>
  `${crl === 'required' ? CHECKED_AUTHORITIES : AUTHORITIES}${namespace}/${trust.kind === 'secret' ? trust.name : ''}`;

/** Of a Secret's place, namespace and name with a NUL between, all names that it is delivered under. */
export function deliveredNames(place: string): readonly string[] {
  const name = place.replace('\0', '/');
  return [CERTIFICATE, AUTHORITIES, CHECKED_AUTHORITIES].map((prefix) => prefix + name);
}

/** What the ports of a workload ask for. */
export function namesOf({ terminations = [] }: InboundSpec): readonly string[] {
  const names = terminations.flatMap(({ namespace, certificates, clientCertificates: clients }) => [
    ...certificates.flatMap((one) =>
      one.kind === 'secret' ? [certificateName(namespace, one.name)] : [],
    ),
    ...(clients?.trust.kind === 'secret' ? [authoritiesName(namespace, clients)] : []),
  ]);
  return [...new Set(names)];
}

export interface FoundSecret {
  /** What it is made of: one object for as long as that is the same. */
  readonly from: DataObject;
  readonly secret: Secret;
}

/** @returns `undefined` for what the workload does not ask for, is not there, or does not hold what it is to. */
export function findTerminationSecret(
  name: string,
  workload: Workload | undefined,
  { secrets }: Pick<Mesh, 'secrets'>,
): FoundSecret | undefined {
  if (workload === undefined || !namesOf(workload.inbound).includes(name)) return undefined;
  const [kind = '', namespace = '', of = ''] = name.split('/');
  const from = secrets?.get(`${namespace}\0${of}`);
  if (from === undefined || namespace !== workload.namespace) return undefined;
  const secret = kind === 'tls' ? certificateOf(name, from) : authoritiesOf(name, from);
  return secret && { from, secret };
}

const CERTIFICATE_PEM = '-----BEGIN CERTIFICATE-----';

function certificateOf(name: string, { values }: DataObject): Secret | undefined {
  const certificatePem = values.get('tls.crt')?.reveal();
  const keyPem = values.get('tls.key');
  if (certificatePem?.includes(CERTIFICATE_PEM) !== true || keyPem === undefined) return undefined;
  return { name, certificatePem, keyPem };
}

function authoritiesOf(name: string, { values }: DataObject): Secret | undefined {
  const trustedCaPem = values.get('ca.crt')?.reveal();
  const crlPem = values.get('ca.crl')?.reveal();
  if (trustedCaPem?.includes(CERTIFICATE_PEM) !== true) return undefined;
  if (crlPem !== undefined) return { name, trustedCaPem, crlPem };
  // Without the list an Envoy would take certificates that may be revoked.
  return name.startsWith(CHECKED_AUTHORITIES) ? undefined : { name, trustedCaPem };
}
