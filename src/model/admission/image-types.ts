// What a WorkloadPolicy asks of images: where they come from, that they are named for good, and who signed them.
import type { ImagePattern } from './image-reference.ts';

/** The names by which exemptions and refusals mean what is asked of images. */
export const IMAGE_CHECKS = ['imageRegistry', 'imageDigest', 'imageSignature'] as const;
export type ImageCheckId = (typeof IMAGE_CHECKS)[number];

export interface ImagesSection {
  /** Absent: from anywhere. */
  readonly allow: readonly ImagePattern[] | undefined;
  /** `resolve`: Pods that name none get the one that the tag stands for when they are made; of those in `allow` alone. */
  readonly digests: 'any' | 'required' | 'resolve';
  /** Images of every rule that fits must be signed as it says. */
  readonly signatures: readonly SignatureRule[];
  /** What holds while a registry cannot be asked. */
  readonly whenUnavailable: 'refuse' | 'allow';
  /** The image of Weft's own containers needs no approval and no signature. */
  readonly allowWeftImage: boolean;
}

/** One good signature by one of the keys or one of the identities is enough. */
export interface SignatureRule {
  readonly images: readonly ImagePattern[];
  /** Public keys, PEM. */
  readonly keys: readonly string[];
  readonly certificates: CertificateRule | undefined;
}

export interface CertificateRule {
  /** PEM: of the authority, and of those that issue for it. */
  readonly roots: string;
  readonly identities: readonly SignerIdentity[];
  /** Public keys, PEM; with any of them a signature must have been entered there while its certificate was good. */
  readonly transparencyLogs: readonly string[];
}

/** Who a certificate was given to, as Fulcio writes it: the alternative name, and by whose word. */
export interface SignerIdentity {
  /** `*` at its end stands for any rest. */
  readonly subject: string;
  /** Absent: the certificate names none, as those of an authority of one's own. */
  readonly issuer: string | undefined;
}
