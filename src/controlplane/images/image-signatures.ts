// Looks whether the images of a workload are signed as policies ask: asked of their registries once, and remembered by digest.
import { LRUCache } from 'lru-cache';
import {
  askedImages,
  imageFinding,
  isResolvedLater,
  type UsedImage,
} from '@weft/model/admission/check-images';
import { type Finding, holds } from '@weft/model/admission/check-workload';
import { fitsPattern } from '@weft/model/admission/image-reference';
import type { SignatureRule } from '@weft/model/admission/image-types';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import type { WorkloadLook } from '../admission/review-workload.ts';
import type { Registry } from './registry.ts';
import { findSignatures } from './stored-signatures.ts';

export type SignatureOutcome = 'signed' | 'unsigned' | 'unavailable';

export interface ImageSignaturesOptions {
  readonly registry: Registry;
  readonly nowMs: () => number;
  /** Told of each time that a registry was asked. */
  readonly onLooked?: (outcome: SignatureOutcome) => void;
}

type Verdict =
  | { readonly outcome: 'signed' }
  | { readonly outcome: 'unsigned' | 'unavailable'; readonly reason: string };

/** Below what a webhook waits for a decision. */
const LOOK_MS = 3_000;
const MAX_KEPT = 10_000;
/** A signature stays one; that a certificate is still good is looked at again. */
const SIGNED_MS = 600_000;
/** Somebody may just be signing it. */
const UNSIGNED_MS = 10_000;
const UNAVAILABLE_MS = 2_000;
const KEEP_MS: { readonly [K in SignatureOutcome]: number } = {
  signed: SIGNED_MS,
  unsigned: UNSIGNED_MS,
  unavailable: UNAVAILABLE_MS,
};

export class ImageSignatures {
  readonly #options: ImageSignaturesOptions;
  readonly #known = new LRUCache<string, Promise<Verdict>>({ max: MAX_KEPT });
  /** Rules are known by what they are, not by what they say: a changed policy has others. */
  readonly #numbers = new WeakMap<SignatureRule, number>();
  #lastNumber = 0;

  constructor(options: ImageSignaturesOptions) {
    this.#options = options;
  }

  /** Images that a rule fits have to be named by their digest: a tag can be another image by the time it is pulled. */
  readonly look: WorkloadLook = async (policy, request, context) => {
    const { images } = policy;
    const held = holds(policy, request, context);
    if (images === undefined || images.signatures.length === 0 || held.kind === 'not') return [];
    if (held.isLeftOut('imageSignature')) return [];
    const isLater = isResolvedLater(policy, request, context);
    const found = await Promise.all(
      askedImages(policy, request, context).flatMap((image) =>
        images.signatures
          .filter((rule) => isFor(rule, image) && !(isLater && hasNoDigest(image)))
          .map((rule) => this.#judge(policy, image, rule)),
      ),
    );
    return found.flatMap((one) => one ?? []);
  };

  async #judge(
    policy: WorkloadPolicy,
    image: UsedImage,
    rule: SignatureRule,
  ): Promise<Finding | undefined> {
    const { reference } = image;
    if (reference?.digest === undefined) return imageFinding(policy, image, NO_DIGEST);
    const { digest } = reference;
    const verdict = await this.#verdict(`${reference.registry}/${reference.repository}`, {
      rule,
      place: reference,
      digest,
    });
    if (verdict.outcome === 'signed') return undefined;
    if (verdict.outcome === 'unavailable') {
      if (policy.images?.whenUnavailable === 'allow') return undefined;
      return imageFinding(policy, image, {
        check: 'imageSignature',
        rule: 'whenUnavailable',
        says: `cannot be looked up (${verdict.reason})`,
        cure: 'try again; or set spec.images.whenUnavailable: allow',
      });
    }
    return imageFinding(policy, image, {
      check: 'imageSignature',
      rule: 'signatures',
      says: `is not signed as it has to be: ${verdict.reason}`,
      cure: 'sign it: cosign sign --key KEY IMAGE@DIGEST',
    });
  }

  #verdict(name: string, asked: Asked): Promise<Verdict> {
    const key = `${this.#numberOf(asked.rule)} ${name}@${asked.digest}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const verdict = this.#ask(asked);
    this.#known.set(key, verdict, { ttl: LOOK_MS });
    void verdict.then(({ outcome }) => {
      this.#known.set(key, verdict, { ttl: KEEP_MS[outcome] });
      this.#options.onLooked?.(outcome);
    });
    return verdict;
  }

  async #ask({ rule, place, digest }: Asked): Promise<Verdict> {
    const { registry, nowMs } = this.#options;
    try {
      const found = await findSignatures(registry, place, digest, AbortSignal.timeout(LOOK_MS));
      if (!found.ok) return { outcome: 'unavailable', reason: found.reason };
      const { whyNotSigned } = await import('./verify-signature.ts');
      const reasons: string[] = [];
      for (const stored of found.value) {
        const wrong = whyNotSigned(stored, rule, { digest, nowMs: nowMs() });
        if (wrong === undefined) return { outcome: 'signed' };
        reasons.push(wrong);
      }
      const reason =
        reasons.length === 0 ? 'there is no signature' : `one signature ${reasons.at(-1)}`;
      return { outcome: 'unsigned', reason };
    } catch (error) {
      return { outcome: 'unavailable', reason: error instanceof Error ? error.message : 'unknown' };
    }
  }

  #numberOf(rule: SignatureRule): number {
    let number = this.#numbers.get(rule);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(rule, number);
    }
    return number;
  }
}

interface Asked {
  readonly rule: SignatureRule;
  readonly place: { readonly registry: string; readonly repository: string };
  readonly digest: string;
}

/** What is no name of an image could be meant by any rule. */
const isFor = ({ images }: SignatureRule, { reference }: UsedImage): boolean =>
  reference === undefined || images.some((pattern) => fitsPattern(reference, pattern));

const hasNoDigest = ({ reference }: UsedImage): boolean => reference?.digest === undefined;

const NO_DIGEST = {
  check: 'imageSignature',
  rule: 'signatures',
  says: 'names no digest, so that what is pulled could be another image than what is signed',
  cure: 'name it by its digest: REPOSITORY@sha256:…',
} as const;
