// Answers what the API server asks about the images of a Pod: the patch that gives them digests. It refuses nothing.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { AdmissionDecision } from '../admission/admission-review.ts';
import { workloadRequestOf, type WorkloadReviewOptions } from '../admission/review-workload.ts';
import { jsonPatchOf } from '../inject/json-patch.ts';
import type { ImageResolver } from './resolve-images.ts';

export interface ImageReviewOptions
  extends Pick<WorkloadReviewOptions, 'policies' | 'namespaceLabels' | 'context'> {
  readonly resolver: Pick<ImageResolver, 'resolve'>;
}

/** An audit annotation is for a line in a log. */
const MAX_AUDIT = 4_096;

const left = (reason: string): AdmissionDecision => ({
  allowed: true,
  warnings: [],
  auditAnnotations: { images: reason },
});

/**
 * What gets no digest is refused where the policy is enforced, so that nothing depends on this answer.
 * @param request the `request` of an AdmissionReview v1
 */
export async function reviewImages(
  request: PlainObject,
  options: ImageReviewOptions,
): Promise<AdmissionDecision> {
  const { object, operation } = request;
  const asked = workloadRequestOf(request, options);
  if (asked?.workload.kind !== 'Pod' || !isPlainObject(object)) return left('no Pod');
  if (operation !== 'CREATE' && operation !== 'UPDATE') return left('nothing is made or changed');
  const { resolver, policies, context } = options;
  const { spec, resolved, problems } = await resolver.resolve(policies(), asked, context());
  const said = [...resolved, ...problems].join('; ');
  return {
    allowed: true,
    patch: jsonPatchOf(object, { ...object, spec }),
    warnings: problems,
    auditAnnotations: { images: said === '' ? 'left as they are' : said.slice(0, MAX_AUDIT) },
  };
}
