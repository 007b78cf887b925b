// What the agent serves to the proxy beside it: the workload's certificate with its key, and the bundle. Never on a disk.
import { createHash } from 'node:crypto';
import { trustDomainOf } from '@weft/model/identity';
import { encodeMessage } from '@weft/xds/registry';
import { encodeResource, typeNameOf } from '@weft/xds/codec/resource-codec';
import type { EncodedResource, ResourceView } from '@weft/xds/resource';
import {
  BUNDLE_SECRET,
  OWN_CERTIFICATE_SECRET,
  type TrustSecret,
} from '@weft/xds/resources/secret';
import type { Svid } from '../enrol/check-svid.ts';

/** @param svid absent: there is nothing to be had. */
export function viewOfSecrets(svid: Svid | undefined, revision: number): ResourceView {
  const secrets = new Map<string, EncodedResource>(
    svid === undefined
      ? []
      : [
          [OWN_CERTIFICATE_SECRET, ownCertificate(svid)],
          [BUNDLE_SECRET, encodeResource('secret', trustOf(svid))],
        ],
  );
  return {
    revision,
    get: (kind, name) => (kind === 'secret' ? secrets.get(name) : undefined),
    list: (kind) => (kind === 'secret' ? secrets.values() : []),
  };
}

/** Other trust domains are believed by the proxy as by a sidecar: each root for its own identities. */
function trustOf({ spiffeId, bundlePem: trustedCaPem, federated }: Svid): TrustSecret {
  const own = { trustDomain: trustDomainOf(spiffeId), trustedCaPem };
  const byTrustDomain = federated && [own, ...federated];
  return { name: BUNDLE_SECRET, trustedCaPem, ...(byTrustDomain && { byTrustDomain }) };
}

function ownCertificate({ chainPem, keyPem }: Svid): EncodedResource {
  const bytes = encodeMessage(typeNameOf('secret'), {
    name: OWN_CERTIFICATE_SECRET,
    tls_certificate: {
      certificate_chain: { inline_string: chainPem },
      private_key: { inline_string: keyPem },
    },
  });
  /** Of what is public alone: versions are shown and logged. A certificate has one key. */
  const version = createHash('sha256').update(chainPem).digest('hex').slice(0, 16);
  return { kind: 'secret', name: OWN_CERTIFICATE_SECRET, version, bytes };
}
