// Finds what is wrong with the names of a workload's images: where they come from, and whether they are named for good.
import { isPlainObject, type PlainObject } from '../policy/reader.ts';
import { type CheckContext, type Finding, holds, type WorkloadRequest } from './check-workload.ts';
import { fitsPattern, type ImageReference, parseImageReference } from './image-reference.ts';
import type { ImageCheckId } from './image-types.ts';
import type { WorkloadPolicy } from './types.ts';
import { listIn } from './workload.ts';

/** An image as a Pod names it, and where. */
export interface UsedImage {
  /** `container "web"`, `volume "models"`. */
  readonly where: string;
  readonly container?: string;
  readonly field: string;
  readonly text: string;
  /** Absent: it is no name that every runtime reads alike. */
  readonly reference: ImageReference | undefined;
}

const CONTAINER_LISTS = [
  ['containers', 'container'],
  ['initContainers', 'init container'],
  ['ephemeralContainers', 'ephemeral container'],
] as const;

const textIn = (object: PlainObject, key: string): string => {
  const value = object[key];
  return typeof value === 'string' ? value : '';
};

/** Of containers of every kind, and of volumes that are images. */
export function imagesOf(spec: PlainObject): readonly UsedImage[] {
  const ofContainers = CONTAINER_LISTS.flatMap(([list, what]) =>
    listIn(spec, list).map((container) => {
      const name = textIn(container, 'name');
      return used(`${what} ${JSON.stringify(name)}`, textIn(container, 'image'), 'image', name);
    }),
  );
  const ofVolumes = listIn(spec, 'volumes').flatMap((volume) => {
    const { image } = volume;
    if (!isPlainObject(image)) return [];
    const where = `volume ${JSON.stringify(textIn(volume, 'name'))}`;
    return [used(where, textIn(image, 'reference'), 'image.reference')];
  });
  return [...ofContainers, ...ofVolumes];
}

const used = (where: string, text: string, field: string, container?: string): UsedImage => ({
  where,
  ...(container !== undefined && { container }),
  field,
  text,
  reference: parseImageReference(text),
});

/** Those that the policy asks something of. */
export const askedImages = (
  { images }: WorkloadPolicy,
  { workload }: WorkloadRequest,
  { captureImage, sidecarImage, envoyImage }: CheckContext,
): readonly UsedImage[] =>
  images === undefined
    ? []
    : imagesOf(workload.spec).filter(
        ({ text }) =>
          !(
            images.allowWeftImage &&
            text !== '' &&
            [captureImage, sidecarImage, envoyImage].includes(text)
          ),
      );

export const imageFinding = (
  policy: WorkloadPolicy,
  { where, container, field, text }: UsedImage,
  found: {
    readonly check: ImageCheckId;
    readonly rule: string;
    readonly says: string;
    readonly cure: string;
  },
): Finding => ({
  policy,
  check: found.check,
  rule: `spec.images.${found.rule}`,
  ...(container !== undefined && { container }),
  field,
  value: text,
  text: `${where}: ${field} ${JSON.stringify(text)} ${found.says}`,
  cure: found.cure,
});

/** What is wrong with a workload by the names of its images; signatures are looked at elsewhere, for they are asked for. */
export function findInImages(
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  context: CheckContext,
): readonly Finding[] {
  const { images } = policy;
  const held = holds(policy, request, context);
  if (images === undefined || held.kind === 'not') return [];
  return askedImages(policy, request, context).flatMap((image) => {
    const found: Finding[] = [];
    const { reference } = image;
    const { allow, digests } = images;
    const isApproved =
      allow === undefined ||
      (reference !== undefined && allow.some((pattern) => fitsPattern(reference, pattern)));
    if (!isApproved && !held.isLeftOut('imageRegistry')) {
      found.push(imageFinding(policy, image, NOT_APPROVED));
    }
    const isNamedForGood =
      reference?.digest !== undefined || isResolvedLater(policy, request, context);
    if (digests !== 'any' && !isNamedForGood && !held.isLeftOut('imageDigest')) {
      found.push(imageFinding(policy, image, digests === 'resolve' ? NOT_RESOLVED : NO_DIGEST));
    }
    return found;
  });
}

/** Whether Pods that it holds for get digests when they are made. */
export const resolvesImages = ({ mode, images }: WorkloadPolicy): boolean =>
  mode === 'enforce' && images?.digests === 'resolve';

/** What makes Pods may name images by tags: its Pods get digests, and are looked at, when they are made. */
export const isResolvedLater = (
  policy: WorkloadPolicy,
  { workload }: WorkloadRequest,
  { isBeforeMutation = false }: CheckContext,
): boolean =>
  workload.kind === 'Pod'
    ? isBeforeMutation && resolvesImages(policy)
    : policy.images?.digests === 'resolve';

const NOT_APPROVED = {
  check: 'imageRegistry',
  rule: 'allow',
  says: 'is from nowhere that is approved',
  cure: 'use an image of an approved repository',
} as const;

const NO_DIGEST = {
  check: 'imageDigest',
  rule: 'digests',
  says: 'can become another image',
  cure: 'name it by its digest: REPOSITORY@sha256:…',
} as const;

const NOT_RESOLVED = {
  ...NO_DIGEST,
  says: 'can become another image, and got no digest',
  cure: 'see that its registry can be asked for what is in spec.images.allow; or name it by its digest: REPOSITORY@sha256:…',
} as const;
