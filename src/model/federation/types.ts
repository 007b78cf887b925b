// What a FederatedTrustDomain says: whose identities are believed besides our own, and where their keys are published.
import type { HttpUri } from '../http-uri.ts';
import type { SpiffeId, TrustDomain } from '../identity.ts';
import type { SpiffeBundle } from './bundle-document.ts';

/** How the one who publishes the keys proves who it is. */
export type EndpointProfile =
  /** By its name, under the roots that everybody trusts. */
  | { readonly kind: 'https_web' }
  /** By its SPIFFE id, under the keys of its own trust domain: those of `initial` until others have been fetched. */
  | { readonly kind: 'https_spiffe'; readonly spiffeId: SpiffeId; readonly initial: SpiffeBundle };

export interface FederatedTrustDomain {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly trustDomain: TrustDomain;
  readonly url: string;
  /** Of `url`; always TLS. */
  readonly uri: HttpUri;
  readonly profile: EndpointProfile;
  /** How long after the last good fetch its keys are believed. */
  readonly keepForMs: number;
}
