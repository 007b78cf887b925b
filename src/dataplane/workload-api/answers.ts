// Writes the answers of the Workload API: identities and bundles in the forms that SPIFFE gives them.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { partsOf, type SpiffeId } from '@weft/model/identity';
import { encodeMessage } from '@weft/xds/registry';
import { type MeshMaterial, splitPem } from '../tls/credentials.ts';

/** Certificates one after the other, as SPIFFE wants lists of them. */
const derOf = (pem: string): Buffer =>
  Buffer.concat(splitPem(pem).map((part) => new X509Certificate(part).raw));

/** `spiffe://TRUST-DOMAIN`. */
function trustDomainIdOf(spiffeId: SpiffeId): string {
  const parts = partsOf(spiffeId);
  if (parts === undefined) throw new TypeError(`Cannot serve ${spiffeId}: it names no workload`);
  return `spiffe://${parts.trustDomain}`;
}

/** Has a private key in it: for attested callers alone. */
export const x509SvidAnswer = (material: MeshMaterial): Uint8Array =>
  encodeMessage('X509SVIDResponse', {
    svids: [
      {
        spiffe_id: material.spiffeId,
        x509_svid: derOf(material.chainPem),
        x509_svid_key: createPrivateKey(material.keyPem).export({ type: 'pkcs8', format: 'der' }),
        bundle: derOf(material.bundlePem),
      },
    ],
    federated_bundles: federatedDer(material),
  });

export const x509BundlesAnswer = (material: MeshMaterial): Uint8Array =>
  encodeMessage('X509BundlesResponse', {
    bundles: {
      [trustDomainIdOf(material.spiffeId)]: derOf(material.bundlePem),
      ...federatedDer(material),
    },
  });

/** Of trust domains that are believed besides; none where there are none. */
const federatedDer = ({ federated = [] }: MeshMaterial): Readonly<Record<string, Buffer>> =>
  Object.fromEntries(
    federated.map(({ trustDomain, trustedCaPem }) => [
      `spiffe://${trustDomain}`,
      derOf(trustedCaPem),
    ]),
  );
