// Answers what the API server asks before a Pod or a policy is made: injected how, and refused or warned of why.
import { systemClock } from '@weft/model/clock';
import type { PlainObject } from '@weft/model/policy/reader';
import { reviewPolicy } from '../admission/review-policy.ts';
import { createTrial } from '../admission/trial.ts';
import { openWebhookServer, type Review, type WebhookServer } from '../admission/webhook-server.ts';
import type { Core, ListenAddress } from '../core/open-core.ts';
import { reviewInjection } from '../inject/review.ts';
import { type KubernetesControlPlaneOptions, MEMBERSHIP } from './kubernetes-options.ts';

/** @throws Error with the cure when the address cannot be bound. */
export function openWebhooks(
  core: Core,
  address: ListenAddress,
  options: KubernetesControlPlaneOptions,
): Promise<WebhookServer> {
  const { trustDomain, rootNamespace, injection, log, clock = systemClock } = options;
  const { authority, views, edges, metrics } = core;
  const identity = { trustDomain, rootNamespace, membership: MEMBERSHIP };
  const trial = createTrial({ views, edges, identity, clock });
  const labelsOf = (request: PlainObject): ReadonlyMap<string, string> | undefined => {
    const namespace = views.snapshot().objects.get(`Namespace//${String(request['namespace'])}`);
    return namespace?.kind === 'Namespace' ? namespace.meta.labels : undefined;
  };
  return openWebhookServer({
    address,
    authority,
    dnsNames: [`weft-control-plane.${rootNamespace}.svc`],
    ...(options.ipAddresses && { ipAddresses: options.ipAddresses }),
    reviews: new Map<string, Review>([
      ['/inject', (request) => reviewInjection(request, injection, labelsOf(request))],
      ['/validate', (request) => reviewPolicy(request, { rootNamespace, trial })],
    ]),
    onOutcome: (path, outcome, durationMs) => metrics.reviewed(path, outcome, durationMs),
    clock,
    log: log.child({ component: 'admission' }),
  });
}
