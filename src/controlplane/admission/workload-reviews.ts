// The paths at which the API server asks about workloads, each with the policies that it is for.
import type { CheckContext } from '@weft/model/admission/check-workload';
import type { Clock } from '@weft/model/clock';
import type { Snapshot } from '@weft/model/mesh/objects';
import type { ImageResolver } from '../images/resolve-images.ts';
import { reviewImages } from '../images/review-images.ts';
import { CHECKED_PATH, IMAGES_PATH, REQUIRED_PATH } from './render-webhooks.ts';
import { reviewWorkload, type WorkloadReviewOptions } from './review-workload.ts';
import type { Review } from './webhook-server.ts';
import { namespaceLabelsIn, workloadPoliciesOf } from './workload-policies.ts';

export interface WorkloadReviewsOptions extends Pick<WorkloadReviewOptions, 'looks' | 'onFinding'> {
  readonly snapshot: () => Snapshot;
  readonly context: Omit<CheckContext, 'nowMs'>;
  readonly clock: Clock;
  /** Absent: images get no digests. */
  readonly resolver?: ImageResolver;
}

/** The two that refuse decide by every policy: which of them has to be asked is a matter of what happens without an answer. */
export function workloadReviews(
  options: WorkloadReviewsOptions,
): readonly (readonly [string, Review])[] {
  const { snapshot, context, clock, looks, onFinding, resolver } = options;
  const known = {
    policies: () => workloadPoliciesOf(snapshot()),
    namespaceLabels: (namespace: string) => namespaceLabelsIn(snapshot(), namespace),
    context: () => ({ ...context, nowMs: clock.now() }),
  };
  const review: Review = (request) =>
    reviewWorkload(request, {
      ...known,
      ...(looks && { looks }),
      ...(onFinding && { onFinding }),
    });
  const images: Review | undefined =
    resolver && ((request) => reviewImages(request, { ...known, resolver }));
  return [
    ...[CHECKED_PATH, REQUIRED_PATH].map((path) => [path, review] as const),
    ...(images === undefined ? [] : [[IMAGES_PATH, images] as const]),
  ];
}
