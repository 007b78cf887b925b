// Fetches the bundle document of another trust domain from the one who must publish it, and from nobody else.
import {
  MAX_BUNDLE_BYTES,
  readBundleDocument,
  rootsPem,
  type SpiffeBundle,
} from '@weft/model/federation/bundle-document';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import type { SpiffeId } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import { requestGuarded, type Resolve } from '../fetch/guarded-request.ts';

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly isAllowed: (address: string) => boolean;
  /** With https_spiffe: the roots that its publisher is known by now. */
  readonly roots: readonly Buffer[];
  readonly resolve?: Resolve;
}

export type FetchedBundle =
  | { readonly ok: true; readonly bundle: SpiffeBundle; readonly document: string }
  | { readonly ok: false; readonly reason: string };

/** 10 s for all of it: name, connection, answer. */
const TIMEOUT_MS = 10_000;

/** Redirects are not followed: the address is part of what was configured to be believed. */
export async function fetchBundle(
  { uri, profile, trustDomain }: FederatedTrustDomain,
  options: FetchOptions,
): Promise<FetchedBundle> {
  const { roots, isAllowed, resolve } = options;
  const answer = await requestGuarded(uri, {
    signal: AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]),
    isAllowed,
    maxBytes: MAX_BUNDLE_BYTES,
    ...(resolve && { resolve }),
    ...(profile.kind === 'https_spiffe' && {
      ca: rootsPem(roots),
      whyNot: (certificate: Buffer) => whyNotServer(certificate, profile.spiffeId),
    }),
  });
  if (!answer.ok) return answer;
  if (answer.status !== 200) return { ok: false, reason: `the answer is ${answer.status}` };
  const document = answer.body.toString('utf8');
  const read = readBundleDocument(document, trustDomain);
  if (!read.ok) return { ok: false, reason: `the document ${read.reason}` };
  return { ok: true, bundle: read.bundle, document };
}

/** The chain is verified by then; the identity is read from DER (CVE-2021-44532). */
function whyNotServer(certificate: Buffer, expected: SpiffeId): string | undefined {
  const identity = peerIdentity(certificate);
  if (!identity.ok) return identity.reason;
  if (!identity.serverAuth) return 'its certificate is not for servers';
  if (identity.spiffeId === expected) return undefined;
  return `it is ${identity.spiffeId}, and not ${expected}`;
}
