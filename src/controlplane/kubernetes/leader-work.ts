// What the leader alone does in a cluster: publishes what is trusted, keeps webhooks verifiable, and writes what it knows of policies.
import type { BroughtSecret } from '@weft/ca/store/brought-secret';
import type { KubernetesSecretStore } from '@weft/ca/store/kubernetes-secret';
import { systemClock } from '@weft/model/clock';
import type { Core } from '../core/open-core.ts';
import type { KubernetesSource } from '../registry/kubernetes/kubernetes-source.ts';
import { startBundleConfigMaps } from './bundle-config-maps.ts';
import type { EventSink } from './events.ts';
import { type KubernetesControlPlaneOptions, WEBHOOK_NAMES } from './kubernetes-options.ts';
import type { LeaderTask } from './leader-tasks.ts';
import { recordPolicyTurn, recordRotation, recordWebhookProblems } from './mesh-events.ts';
import { RouteStatusWriter } from './route-status-writer.ts';
import { StatusWriter } from './status-writer.ts';
import { startTrustBundleStatus } from './trust-bundle-status.ts';
import { WORKLOADS } from '../admission/render-webhooks.ts';
import type { VulnerabilityWatch } from '../vulnerabilities/vulnerability-watch.ts';
import { recordVulnerablePods } from './vulnerability-events.ts';
import { WorkloadBoard } from './workload-board.ts';
import { startWebhookCaBundles, WEBHOOK_CONFIGURATIONS } from './webhook-ca-bundle.ts';

/** What the leader works with. */
export interface Opened {
  readonly core: Core;
  readonly source: KubernetesSource;
  readonly store: KubernetesSecretStore;
  readonly brought: BroughtSecret | undefined;
  readonly events: EventSink;
  /** What keeps the webhooks from being verified, for others to look at. */
  readonly webhookState: { problems: readonly string[] };
  readonly revocations: VulnerabilityWatch;
}

export function leaderTasks(
  opened: Opened,
  options: KubernetesControlPlaneOptions,
): readonly LeaderTask[] {
  const { client, namespaces, log, clock = systemClock, random = Math.random } = options;
  const { core, source, store, brought, events, webhookState, revocations } = opened;
  const { authority } = core;
  const common = { client, clock, random };
  const served = options.webhook === undefined ? [] : (options.webhooks ?? WEBHOOK_NAMES);
  const webhooks = new Set(served.map((name) => `weft-${name}`));
  const workloads = new WorkloadBoard();
  return [
    () =>
      startBundleConfigMaps({
        ...common,
        bundle: () => authority.bundle(),
        onBundleChange: (listener) => authority.onBundleChange(() => listener()),
        ...(namespaces && { namespaces }),
        log: log.child({ component: 'trust-bundle' }),
      }),
    () =>
      startTrustBundleStatus({
        ...common,
        authority,
        problem: () => store.problem ?? brought?.problem,
        log: log.child({ component: 'trust-bundle' }),
      }),
    () =>
      startWebhookCaBundles({
        ...common,
        bundle: () => authority.bundle(),
        onBundleChange: (listener) => authority.onBundleChange(() => listener()),
        configurations: WEBHOOK_CONFIGURATIONS.filter(({ name }) => webhooks.has(name)),
        onProblems(problems) {
          webhookState.problems = problems;
          recordWebhookProblems(events, problems);
        },
        log: log.child({ component: 'admission' }),
      }),
    () => recordRotation(events, authority),
    () => recordVulnerablePods(events, revocations),
    ...(webhooks.has(WORKLOADS) ? [() => workloads.keep(opened, options)] : []),
    () =>
      new StatusWriter({
        client,
        source,
        views: core.views,
        policies: core.policies,
        workloads,
        vulnerabilities: revocations,
        federation: core.federation,
        clock,
        log: log.child({ component: 'status' }),
        onTurned: (turn) => recordPolicyTurn(events, turn),
      }),
    () =>
      new RouteStatusWriter({
        client,
        source,
        views: core.views,
        clock,
        log: log.child({ component: 'status' }),
      }),
  ];
}
