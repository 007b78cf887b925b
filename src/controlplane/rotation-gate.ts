// Who is connected, and what each has acknowledged: what the steps of a root rotation wait for.
import type { RenewalService } from '@weft/ca/enrolment-service';
import type { ConnectedProxy } from '@weft/ca/rotation';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { BUNDLE_SECRET } from '@weft/xds/resources/secret';
import { type TrustBundle, trustSecretOf } from './resources/trust-secret.ts';
import type { AdsServer } from './serve/ads-server.ts';

/**
 * Every renewal stream, and every proxy with a discovery stream. One that is connected for discovery alone, with no
 * renewal stream of its identity, cannot show that it has renewed and holds the rotation up: better late than cut off.
 */
export function connectedProxies(parts: {
  readonly renewal: Pick<RenewalService, 'connected'>;
  readonly ads: Pick<AdsServer, 'proxies' | 'statusOf'>;
  readonly bundle: TrustBundle;
  /** Whether a proxy may renew at another control plane than the one that it has its configuration from; default false. */
  readonly hasOthers?: boolean;
}): readonly ConnectedProxy[] {
  const { renewal, ads, bundle, hasOthers = false } = parts;
  const renewing = renewal.connected();
  const secret = encodeResource('secret', trustSecretOf(bundle));
  const { ownVersion = bundle.version } = bundle;
  const acked = new Map(
    ads.statusOf('secret', BUNDLE_SECRET).map((status) => [status.proxyId, status.acked]),
  );
  const issuers = new Map(renewing.map(({ identity, issuerKeyId }) => [identity, issuerKeyId]));
  return [
    ...renewing.map(({ identity, peer, ackedBundleVersion, issuerKeyId }) => ({
      proxyId: `${identity} at ${peer}`,
      hasBundle: (version: string) => ackedBundleVersion === version,
      issuerKeyId,
    })),
    ...ads.proxies().map(({ proxyId, identity, isGrpc = false }) => {
      const renewsElsewhere = hasOthers && !issuers.has(identity);
      // Its agent writes the bundle to files, and acknowledges it where it renews when the program goes by them.
      const hasFiles = (version: string): boolean =>
        renewsElsewhere ||
        renewing.some((one) => one.identity === identity && one.ackedBundleVersion === version);
      const hasSecret = (version: string): boolean =>
        version === ownVersion && acked.get(proxyId) === secret.version;
      const hasBundle = isGrpc ? hasFiles : hasSecret;
      return { proxyId, hasBundle, issuerKeyId: issuers.get(identity), renewsElsewhere };
    }),
  ];
}
