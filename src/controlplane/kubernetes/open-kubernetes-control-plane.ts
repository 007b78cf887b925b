// The control plane in a cluster: its source is the API server, its CA a Secret, its proof of identity the tokens of Pods.
import { join } from 'node:path';
import { joinTokenAttestor } from '@weft/ca/attest/join-token';
import { serviceAccountTokenAttestor } from '@weft/ca/attest/service-account-token';
import { openJoinTokens } from '@weft/ca/join-tokens';
import {
  createKubernetesSecretStore,
  type KubernetesSecretStore,
} from '@weft/ca/store/kubernetes-secret';
import type { KubeClient } from '@weft/kube/kube-api';
import { type LeaderElection, startLeaderElection } from '@weft/kube/leader';
import { systemClock } from '@weft/model/clock';
import { formatHostPort } from '@weft/model/host-port';
import { ADMIN_SOCKET, makeStateDir } from '../control-plane.ts';
import { joinSubscriptions } from '../core/join-subscriptions.ts';
import { type Core, type CoreOptions, openCore } from '../core/open-core.ts';
import type { InjectionSettings } from '../inject/settings.ts';
import {
  type KubernetesSource,
  openKubernetesSource,
} from '../registry/kubernetes/kubernetes-source.ts';
import { localStates } from '../replicas/proxy-state.ts';
import { ReplicaLink } from '../replicas/replica-link.ts';
import { startBundleConfigMaps } from './bundle-config-maps.ts';
import { type LeaderTask, LeaderTasks } from './leader-tasks.ts';
import { StatusWriter } from './status-writer.ts';
import { startTrustBundleStatus } from './trust-bundle-status.ts';

export interface KubernetesControlPlaneOptions extends CoreOptions {
  readonly client: KubeClient;
  /** Of the mesh; absent: the whole cluster. */
  readonly namespaces?: readonly string[];
  /** The admin socket and join tokens; nothing in it outlives the Pod. */
  readonly stateDir: string;
  /** Its name among the replicas. */
  readonly podName: string;
  readonly injection: InjectionSettings;
  readonly random?: () => number;
  /** Ends the wait for the API server at the start. */
  readonly signal?: AbortSignal;
}

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
  const core = stack.use(
    await openCore(
      {
        source,
        store,
        membership: 'injected',
        isLeader: () => election.isLeader,
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
  stack.use(shareWithLeader(core, election, options));
  stack.use(
    new LeaderTasks({
      election,
      tasks: leaderTasks({ core, source, store }, options),
      log: log.child({ component: 'leader' }),
    }),
  );
  const owned = stack.move();
  return { ...core, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

interface Opened {
  readonly core: Core;
  readonly source: KubernetesSource;
  readonly store: KubernetesSecretStore;
}

function leaderTasks(
  { core, source, store }: Opened,
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
        problem: () => store.problem,
        log: log.child({ component: 'trust-bundle' }),
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
