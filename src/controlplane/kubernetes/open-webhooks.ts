// Answers what the API server asks before a Pod or a policy is made: injected how, and refused or warned of why.
import { findInImages, imagesOf } from '@weft/model/admission/check-images';
import { findInPod, holds } from '@weft/model/admission/check-workload';
import { findInVulnerabilities } from '@weft/model/admission/check-vulnerabilities';
import { systemClock } from '@weft/model/clock';
import type { PlainObject } from '@weft/model/policy/reader';
import { reviewPolicy } from '../admission/review-policy.ts';
import { createTrial } from '../admission/trial.ts';
import { namespaceLabelsIn } from '../admission/workload-policies.ts';
import { workloadReviews } from '../admission/workload-reviews.ts';
import type { Source } from '../registry/source.ts';
import type { WorkloadLook } from '../admission/review-workload.ts';
import { openWebhookServer, type Review, type WebhookServer } from '../admission/webhook-server.ts';
import type { Core, ListenAddress } from '../core/open-core.ts';
import { ImageSignatures } from '../images/image-signatures.ts';
import { ImageResolver } from '../images/resolve-images.ts';
import type { Registry } from '../images/registry.ts';
import { reviewInjection } from '../inject/review.ts';
import type { VulnerabilityWatch } from '../vulnerabilities/vulnerability-watch.ts';
import { type KubernetesControlPlaneOptions, MEMBERSHIP } from './kubernetes-options.ts';

export interface WebhookParts {
  readonly core: Core;
  readonly source: Pick<Source, 'state'>;
  readonly revocations: Pick<VulnerabilityWatch, 'reportOf' | 'know'>;
  readonly registry: Registry;
}

/**
 * @param source what is in force there counts at once, and not when the mesh was compiled from it
 * @throws Error with the cure when the address cannot be bound.
 */
export function openWebhooks(
  { core, source, revocations, registry }: WebhookParts,
  address: ListenAddress,
  options: KubernetesControlPlaneOptions,
): Promise<WebhookServer> {
  const { trustDomain, rootNamespace, injection, log, clock = systemClock } = options;
  const { authority, views, edges, metrics } = core;
  const identity = { trustDomain, rootNamespace, membership: MEMBERSHIP };
  const trial = createTrial({ views, edges, identity, clock });
  const labelsOf = (request: PlainObject): ReadonlyMap<string, string> | undefined => {
    return namespaceLabelsIn(source.state.snapshot, String(request['namespace']));
  };
  const { captureImage, sidecarImage, envoyImage } = injection;
  const asking = {
    registry,
    nowMs: () => clock.now(),
    onLooked: (outcome: string) => metrics.imageLooked(outcome),
  };
  const images = new ImageSignatures(asking);
  const workloads = workloadReviews({
    looks: [findInPod, findInImages, images.look, vulnerabilityLook(revocations)],
    snapshot: () => source.state.snapshot,
    context: { rootNamespace, captureImage, sidecarImage, envoyImage },
    resolver: new ImageResolver({
      ...asking,
      ownImages: [captureImage, sidecarImage, envoyImage],
    }),
    onFinding: (mode, check) => metrics.workloadFinding(mode, check),
    clock,
  });
  return openWebhookServer({
    address,
    authority,
    dnsNames: [`weft-control-plane.${rootNamespace}.svc`],
    ...(options.ipAddresses && { ipAddresses: options.ipAddresses }),
    reviews: new Map<string, Review>([
      ['/inject', (request) => reviewInjection(request, injection, labelsOf(request))],
      ['/validate', (request) => reviewPolicy(request, { rootNamespace, trial })],
      ...workloads,
    ]),
    onOutcome: (path, outcome, durationMs) => metrics.reviewed(path, outcome, durationMs),
    clock,
    log: log.child({ component: 'admission' }),
  });
}

const vulnerabilityLook =
  (known: WebhookParts['revocations']): WorkloadLook =>
  async (policy, request, context) => {
    const { vulnerabilities: section } = policy;
    const { namespace, spec } = request.workload;
    // Registries are asked about what is going to run, and not only once it does.
    if (section !== undefined && holds(policy, request, context).kind === 'held') {
      await Promise.all(imagesOf(spec).map((image) => known.know(section, image)));
    }
    return findInVulnerabilities(policy, request, {
      context,
      reportOf: (image, of) => known.reportOf(namespace, image, of),
    });
  };
