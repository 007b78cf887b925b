// Refuses Pods that have lost their identity another certificate: by their token when they enrol, by their address when they renew.
import type { Attestor } from '@weft/ca/attest/attestor';
import type { WorkloadName } from '@weft/ca/issuance';
import { addressOf } from '@weft/ca/rate-limit';
import { formatIp, parseIp } from '@weft/model/ip';
import type { PodObject, Snapshot } from '@weft/model/mesh/objects';
import type { RevokedPod } from './judge-pods.ts';

type Revoked = () => ReadonlyMap<string, RevokedPod>;

const refusedText = (key: string, reason: string): string =>
  `Pod ${key} has lost its identity: ${reason}`;

/** The token names the Pod, and the API server vouches for it. */
export function withRevocations(attestor: Attestor, revoked: Revoked): Attestor {
  return {
    name: attestor.name,
    kind: attestor.kind,
    async attest(evidence) {
      const attestation = await attestor.attest(evidence);
      if (!attestation.ok || evidence.kind !== 'service-account-token') return attestation;
      const key = `${evidence.namespace}/${evidence.pod}`;
      // Asked after the answer: what was revoked meanwhile is.
      const found = revoked().get(key);
      if (found === undefined) return attestation;
      const reason = refusedText(key, found.reason);
      return { ok: false, reasonCode: 'identity-revoked', reason, isTemporary: false };
    },
  };
}

/**
 * A certificate names an account, which Pods share. While one of them has lost its identity a renewal has to come from
 * the address of another; one of which nobody can tell whose it is waits for its end, and enrols anew by its token.
 */
export function heldBackBy(
  revoked: Revoked,
  snapshot: () => Snapshot,
): (identity: WorkloadName, peer: string) => string | undefined {
  return ({ namespace, serviceAccount }, peer) => {
    const all = revoked();
    if (all.size === 0) return undefined;
    const { objects } = snapshot();
    const isOwn = (pod: PodObject): boolean =>
      pod.meta.namespace === namespace && pod.serviceAccount === serviceAccount;
    const lost = [...all].filter(([key]) => {
      const pod = objects.get(`Pod/${key}`);
      // One that is not read yet may be of any account of its namespace.
      return pod?.kind === 'Pod' ? isOwn(pod) : key.startsWith(`${namespace}/`);
    });
    const [first] = lost;
    if (first === undefined) return undefined;
    const address = canonical(addressOf(peer));
    const there = podsAt(objects, address).filter(isOwn);
    const own = there
      .map(({ meta }) => `${meta.namespace}/${meta.name}`)
      .find((key) => all.has(key));
    if (own !== undefined) return refusedText(own, all.get(own)?.reason ?? '');
    if (there.length > 0) return undefined;
    return `a Pod of ${namespace}/${serviceAccount} has lost its identity (${first[0]}), and it is not known which Pod asks`;
  };
}

const podsAt = (objects: Snapshot['objects'], address: string): readonly PodObject[] =>
  [...objects.values()].flatMap((object) =>
    object.kind === 'Pod' && object.ips.includes(address) ? [object] : [],
  );

/** As addresses of Pods are written; brackets are taken off. */
function canonical(text: string): string {
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  const ip = parseIp(bare);
  return ip === undefined ? bare : formatIp(ip);
}
