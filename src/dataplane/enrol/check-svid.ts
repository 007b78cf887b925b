// Decides whether a certificate that came is the one asked for: our key, an identity we may have, issued under a root we trust.
import { X509Certificate } from 'node:crypto';
import { partsOf, type SpiffeId, type TrustDomain } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import { textOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';
import { isStillTrusted, type MeshMaterial } from '../tls/credentials.ts';
import type { KeyAndRequest } from './csr.ts';

/** A certificate in use, with the times that renewal goes by. */
export interface Svid extends MeshMaterial {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly serialHex: string;
}

export type SvidCheck =
  | { readonly ok: true; readonly svid: Svid }
  | { readonly ok: false; readonly reason: string };

/** Who the certificate must be for. `spiffeId` once it is known: a renewal never changes it. */
export interface ExpectedIdentity {
  readonly trustDomain: TrustDomain;
  readonly namespace: string;
  readonly spiffeId: SpiffeId | undefined;
}

const MAX_CHAIN = 5;

const refuse = (reason: string): SvidCheck => ({ ok: false, reason });

export function checkSvid(
  message: PlainMessage | undefined,
  own: KeyAndRequest,
  context: {
    readonly bundlePem: string;
    readonly roots: readonly X509Certificate[];
    readonly expected: ExpectedIdentity;
    readonly nowMs: number;
  },
): SvidCheck {
  const list = message?.['certificate_chain_der'];
  const ders = Array.isArray(list) ? list.filter((item) => item instanceof Uint8Array) : [];
  if (ders.length === 0 || ders.length > MAX_CHAIN)
    return refuse(`${ders.length} certificates came`);
  let chain: readonly X509Certificate[];
  try {
    chain = ders.map((der) => new X509Certificate(der));
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
  const [leaf] = chain;
  if (leaf === undefined) return refuse('no certificate came');
  const leafKey = leaf.publicKey.export({ type: 'spki', format: 'der' });
  if (!leafKey.equals(own.publicKeyDer)) return refuse('the certificate is of another key');
  const identity = peerIdentity(leaf.raw);
  if (!identity.ok) return refuse(identity.reason);
  if (!identity.clientAuth || !identity.serverAuth) return refuse('the certificate lacks an EKU');
  const reason = whyUnexpected(identity.spiffeId, context.expected);
  if (reason !== undefined) return refuse(reason);
  if (!isStillTrusted(chain, context.roots, context.nowMs)) {
    return refuse('the certificate leads to no root of the bundle');
  }
  const { facts } = identity;
  return {
    ok: true,
    svid: {
      spiffeId: identity.spiffeId,
      keyPem: own.keyPem,
      chainPem: chain.map((certificate) => certificate.toString()).join(''),
      bundlePem: context.bundlePem,
      notBeforeMs: facts.notBeforeUnixSeconds * 1_000,
      notAfterMs: facts.notAfterUnixSeconds * 1_000,
      serialHex: facts.serialHex.startsWith('00') ? facts.serialHex.slice(2) : facts.serialHex,
    },
  };
}

function whyUnexpected(id: SpiffeId, expected: ExpectedIdentity): string | undefined {
  if (expected.spiffeId !== undefined) {
    return id === expected.spiffeId ? undefined : `the certificate is for ${id}`;
  }
  const parts = partsOf(id);
  const isOurs =
    parts?.trustDomain === expected.trustDomain && parts.namespace === expected.namespace;
  if (isOurs) return undefined;
  return `the certificate is for ${id}, not for namespace ${expected.namespace} of ${expected.trustDomain}`;
}

export interface TrustBundle {
  readonly version: string;
  readonly pem: string;
  readonly roots: readonly X509Certificate[];
}

const MAX_ROOTS = 32;

/** @returns `undefined` when it is empty or no list of certificates: an empty bundle is never put in force. */
export function readBundle(message: PlainMessage | undefined): TrustBundle | undefined {
  const list = message?.['root_der'];
  const ders = Array.isArray(list) ? list.filter((item) => item instanceof Uint8Array) : [];
  if (ders.length === 0 || ders.length > MAX_ROOTS) return undefined;
  try {
    const roots = ders.map((der) => new X509Certificate(der));
    if (!roots.every((root) => root.ca)) return undefined;
    const pem = roots.map((root) => root.toString()).join('');
    return { version: textOf(message, 'version'), pem, roots };
  } catch {
    /** Bytes that are no certificate: the caller keeps the bundle it has and says so. */
    return undefined;
  }
}
