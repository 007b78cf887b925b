// The control plane in a cluster: its source is the API server, its CA a Secret, its proof of identity the tokens of Pods.
import { join } from 'node:path';
import { joinTokenAttestor } from '@weft/ca/attest/join-token';
import { serviceAccountTokenAttestor } from '@weft/ca/attest/service-account-token';
import { openJoinTokens } from '@weft/ca/join-tokens';
import { type BroughtSecret, createBroughtSecret } from '@weft/ca/store/brought-secret';
import {
  createKubernetesSecretStore,
  type KubernetesSecretStore,
} from '@weft/ca/store/kubernetes-secret';
import type { KubeClient } from '@weft/kube/kube-api';
import { type LeaderElection, startLeaderElection } from '@weft/kube/leader';
import { textAt } from '@weft/kube/object-fields';
import { PODS } from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { formatHostPort } from '@weft/model/host-port';
import type { PlainObject } from '@weft/model/policy/reader';
import { ADMIN_SOCKET, makeStateDir } from '../control-plane.ts';
import { joinSubscriptions } from '../core/join-subscriptions.ts';
import type { Membership } from '../compile/mesh-settings.ts';
import { type Core, type CoreOptions, type ListenAddress, openCore } from '../core/open-core.ts';
import { reviewPolicy } from '../admission/review-policy.ts';
import { createTrial } from '../admission/trial.ts';
import { openWebhookServer, type Review, type WebhookServer } from '../admission/webhook-server.ts';
import { reviewInjection } from '../inject/review.ts';
import type { InjectionSettings } from '../inject/settings.ts';
import {
  type KubernetesSource,
  openKubernetesSource,
} from '../registry/kubernetes/kubernetes-source.ts';
import { localStates } from '../replicas/proxy-state.ts';
import { ReplicaLink } from '../replicas/replica-link.ts';
import { startBundleConfigMaps } from './bundle-config-maps.ts';
import { type LeaderTask, LeaderTasks } from './leader-tasks.ts';
import { connectedProxies } from '../rotation-gate.ts';
import { type ReplicaGates, startReplicaGates } from './replica-gates.ts';
import { StatusWriter } from './status-writer.ts';
import { startTrustBundleStatus } from './trust-bundle-status.ts';
import { startWebhookCaBundles } from './webhook-ca-bundle.ts';

export interface KubernetesControlPlaneOptions extends CoreOptions {
  readonly client: KubeClient;
  /** Of the mesh; absent: the whole cluster. */
  readonly namespaces?: readonly string[];
  /** Secret in the root namespace with an issuing CA that somebody else keeps; absent: the CA is our own. */
  readonly caSecret?: string;
  /** The admin socket and join tokens; nothing in it outlives the Pod. */
  readonly stateDir: string;
  /** Its name among the replicas. */
  readonly podName: string;
  /** Where the API server asks for reviews; absent: nothing is injected or reviewed. */
  readonly webhook?: ListenAddress;
  readonly injection: InjectionSettings;
  readonly random?: () => number;
  /** Ends the wait for the API server at the start. */
  readonly signal?: AbortSignal;
}

/** Who has no sidecar is spoken to in plain text. */
const MEMBERSHIP: Membership = 'injected';

/**
 * Waits for the API server, then starts everything; it serves when this returns.
 * @throws Error with the cure when the CA's Secret cannot be read, or an address cannot be bound.
 */
export async function openKubernetesControlPlane(
  options: KubernetesControlPlaneOptions,
): Promise<Core> {
  await using stack = new AsyncDisposableStack();
  const { client, log, clock = systemClock, stateDir, rootNamespace, trustDomain } = options;
  const { namespaces, signal, random = Math.random } = options;
  await makeStateDir(stateDir);
  const store = stack.use(
    createKubernetesSecretStore({
      client,
      namespace: rootNamespace,
      trustDomain,
      log: log.child({ component: 'ca' }),
      clock,
    }),
  );
  const brought = openBrought(options);
  stack.use(brought);
  const source = stack.use(
    await openKubernetesSource({
      client,
      ...(namespaces && { namespaces }),
      rootNamespace,
      log: log.child({ component: 'registry' }),
      clock,
      random,
      ...(signal && { signal }),
    }),
  );
  const election = stack.use(
    startLeaderElection({
      client,
      namespace: rootNamespace,
      identity: options.podName,
      log: log.child({ component: 'leader' }),
      clock,
      random,
    }),
  );
  let gates: ReplicaGates | undefined;
  // After the servers: a replica whose Lease is gone is taken for ended.
  stack.defer(() => gates?.[Symbol.asyncDispose]());
  const core = stack.use(
    await openCore(
      {
        source,
        store,
        ...(brought && { brought }),
        membership: MEMBERSHIP,
        isLeader: () => election.isLeader,
        elsewhere: (gate) => gates?.elsewhere(gate) ?? ['the control plane is starting'],
        hasOthers: () => gates?.hasOthers() ?? true,
        unready: () =>
          gates?.isPublished === true ? [] : ['other control planes do not know of this one yet'],
        attestors: [
          serviceAccountTokenAttestor({
            client,
            clock,
            ...(namespaces && { namespaces: new Set(namespaces) }),
          }),
          joinTokenAttestor(await openJoinTokens({ stateDir, clock })),
        ],
        adminSocketPath: join(stateDir, ADMIN_SOCKET),
      },
      options,
    ),
  );
  gates = await openGates(core, options);
  stack.use(shareWithLeader(core, election, options));
  stack.use(
    new LeaderTasks({
      election,
      tasks: leaderTasks({ core, source, store, brought }, options),
      log: log.child({ component: 'leader' }),
    }),
  );
  if (options.webhook !== undefined) {
    stack.use(await openWebhooks(core, options.webhook, options));
  }
  const owned = stack.move();
  return { ...core, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function openBrought(options: KubernetesControlPlaneOptions): BroughtSecret | undefined {
  const { client, rootNamespace: namespace, caSecret: secretName, log, clock } = options;
  if (secretName === undefined) return undefined;
  return createBroughtSecret({
    client,
    namespace,
    secretName,
    log: log.child({ component: 'ca' }),
    ...(clock && { clock }),
  });
}

/** In a Pod its Lease goes with it; elsewhere there is no Pod of the name. */
async function openGates(
  { authority, renewal, ads }: Core,
  options: KubernetesControlPlaneOptions,
): Promise<ReplicaGates> {
  const { client, rootNamespace: namespace, podName, log, clock = systemClock } = options;
  const pod = await client.get(PODS, { namespace, name: podName });
  const podUid = pod.ok ? textAt(pod.value, 'metadata', 'uid') : undefined;
  return startReplicaGates({
    client,
    namespace,
    podName,
    ...(podUid !== undefined && { podUid }),
    authority,
    connected: () =>
      connectedProxies({ renewal, ads, bundle: authority.bundle(), hasOthers: true }),
    clock,
    log: log.child({ component: 'replicas' }),
  });
}

/** What the API server asks before a Pod or a policy is made. */
function openWebhooks(
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

interface Opened {
  readonly core: Core;
  readonly source: KubernetesSource;
  readonly store: KubernetesSecretStore;
  readonly brought: BroughtSecret | undefined;
}

function leaderTasks(
  { core, source, store, brought }: Opened,
  options: KubernetesControlPlaneOptions,
): readonly LeaderTask[] {
  const { client, namespaces, log, clock = systemClock, random = Math.random } = options;
  const { authority } = core;
  const common = { client, clock, random };
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
        log: log.child({ component: 'admission' }),
      }),
    () =>
      new StatusWriter({
        client,
        source,
        views: core.views,
        policies: core.policies,
        clock,
        log: log.child({ component: 'status' }),
      }),
  ];
}

/** Tells the leader what the proxies connected here enforce, while another leads. */
function shareWithLeader(
  core: Core,
  election: LeaderElection,
  options: KubernetesControlPlaneOptions,
): Disposable {
  const { rootNamespace, xds, podName, log, clock = systemClock } = options;
  const { authority, ads, reports, views } = core;
  return new ReplicaLink({
    authority,
    replica: podName,
    leaderAddress() {
      if (election.isLeader || election.leader === undefined) return undefined;
      const [ip] = views.mesh().workloads.get(`${election.leader}.${rootNamespace}`)?.ips ?? [];
      return ip === undefined ? undefined : formatHostPort({ host: ip, port: xds.port });
    },
    states: () => localStates(ads, reports),
    onChange: (listener) => joinSubscriptions(ads.onAnswer(listener), reports.onReport(listener)),
    clock,
    log: log.child({ component: 'replicas' }),
  });
}
