// The control plane in a cluster: its source is the API server, its CA a Secret, its proof of identity the tokens of Pods.
import { join } from 'node:path';
import { joinTokenAttestor } from '@weft/ca/attest/join-token';
import { serviceAccountTokenAttestor } from '@weft/ca/attest/service-account-token';
import { openJoinTokens } from '@weft/ca/join-tokens';
import { type BroughtSecret, createBroughtSecret } from '@weft/ca/store/brought-secret';
import { createKubernetesSecretStore } from '@weft/ca/store/kubernetes-secret';
import { type LeaderElection, startLeaderElection } from '@weft/kube/leader';
import { textAt } from '@weft/kube/object-fields';
import { PODS } from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { formatHostPort } from '@weft/model/host-port';
import { ADMIN_SOCKET, makeStateDir } from '../control-plane.ts';
import { joinSubscriptions } from '../core/join-subscriptions.ts';
import { type Core, openCore } from '../core/open-core.ts';
import { keepBundlesIn } from '../federation/kept-bundles.ts';
import { openKubernetesSource } from '../registry/kubernetes/kubernetes-source.ts';
import { withNamedSecrets } from '../registry/kubernetes/named-secrets.ts';
import { localStates } from '../replicas/proxy-state.ts';
import { ReplicaLink } from '../replicas/replica-link.ts';
import type { Source } from '../registry/source.ts';
import { heldBackBy, withRevocations } from '../vulnerabilities/identity-gates.ts';
import { SourceWithRevocations } from '../vulnerabilities/revoked-source.ts';
import { VulnerabilityWatch, vulnerableByPolicy } from '../vulnerabilities/vulnerability-watch.ts';
import { EventRecorder } from './events.ts';
import { type KubernetesControlPlaneOptions, MEMBERSHIP } from './kubernetes-options.ts';
import { AttestedReports } from '../images/attested-reports.ts';
import { openRegistry } from '../images/open-images.ts';
import { NO_REGISTRIES } from '../images/registries-config.ts';
import type { Registry } from '../images/registry.ts';
import { LeaderTasks } from './leader-tasks.ts';
import { leaderTasks } from './leader-work.ts';
import { recordNewlyRefused, recordWaiting, withRefusalEvents } from './mesh-events.ts';
import { openWebhooks } from './open-webhooks.ts';
import { connectedProxies } from '../rotation-gate.ts';
import { type ReplicaGates, startReplicaGates } from './replica-gates.ts';

/**
 * Waits for the API server, then starts everything; it serves when this returns.
 * @throws Error with the cure when the CA's Secret cannot be read, or an address cannot be bound.
 */
export async function openKubernetesControlPlane(
  options: KubernetesControlPlaneOptions,
): Promise<Core> {
  await using stack = new AsyncDisposableStack();
  const { client, log, clock = systemClock, stateDir, rootNamespace, trustDomain } = options;
  const { namespaces, signal, podName, random = Math.random } = options;
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
  const events = stack.use(
    new EventRecorder({
      client,
      podName,
      clock,
      log: log.child({ component: 'events' }),
    }),
  );
  const objects = await openKubernetesSource({
    client,
    ...(namespaces && { namespaces }),
    rootNamespace,
    log: log.child({ component: 'registry' }),
    clock,
    random,
    ...(signal && { signal }),
    onWaiting: (reasons) => recordWaiting(events, reasons, { rootNamespace, podName }),
  });
  const named = await withNamedSecrets(objects, { client, clock, random });
  const registry = await openRegistry(options.registries ?? NO_REGISTRIES);
  const revocations = stack.use(openVulnerabilityWatch(named, options, registry));
  const source = stack.use(new SourceWithRevocations(named, { revocations, rootNamespace }));
  await revocations.firstReading();
  const election = stack.use(
    startLeaderElection({
      client,
      namespace: rootNamespace,
      identity: podName,
      log: log.child({ component: 'leader' }),
      clock,
      random,
    }),
  );
  const isPod = (id: string): boolean => {
    const dot = id.lastIndexOf('.');
    return source.state.snapshot.objects.has(`Pod/${id.slice(dot + 1)}/${id.slice(0, dot)}`);
  };
  const webhookState = { problems: [] as readonly string[] };
  let gates: ReplicaGates | undefined;
  // After the servers: a replica whose Lease is gone is taken for ended.
  stack.defer(() => gates?.[Symbol.asyncDispose]());
  const core = stack.use(
    await openCore(
      {
        source,
        store,
        // The Pod's own: it outlives a restart of the container.
        keptBundles: keepBundlesIn(stateDir),
        ...(brought && { brought }),
        membership: MEMBERSHIP,
        isLeader: () => election.isLeader,
        elsewhere: (gate) => [
          ...(gates?.elsewhere(gate) ?? ['the control plane is starting']),
          ...webhookState.problems,
        ],
        hasOthers: () => gates?.hasOthers() ?? true,
        unready: () =>
          gates?.isPublished === true ? [] : ['other control planes do not know of this one yet'],
        attestors: [
          withRefusalEvents(
            withRevocations(
              serviceAccountTokenAttestor({
                client,
                clock,
                ...(namespaces && { namespaces: new Set(namespaces) }),
              }),
              () => revocations.revoked,
            ),
            { sink: events, clock, isPod },
          ),
          joinTokenAttestor(await openJoinTokens({ stateDir, clock })),
        ],
        heldBack: heldBackBy(
          () => revocations.revoked,
          () => source.state.snapshot,
        ),
        adminSocketPath: join(stateDir, ADMIN_SOCKET),
        secrets: async () => {
          const { createSecretSource } = await import('../credentials/sources/secret-source.ts');
          return createSecretSource({ client, clock, random });
        },
      },
      options,
    ),
  );
  core.metrics.vulnerablePods(() => vulnerableByPolicy(revocations));
  gates = await openGates(core, options);
  stack.use(core.replay.onRefused((seen) => recordNewlyRefused(events, seen.newlyRefused)));
  stack.use(shareWithLeader(core, election, options));
  stack.use(
    new LeaderTasks({
      election,
      tasks: leaderTasks(
        { core, source, store, brought, events, webhookState, revocations },
        options,
      ),
      log: log.child({ component: 'leader' }),
    }),
  );
  if (options.webhook !== undefined) {
    stack.use(
      await openWebhooks({ core, source, revocations, registry }, options.webhook, options),
    );
  }
  const owned = stack.move();
  return { ...core, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function openVulnerabilityWatch(
  source: Source,
  {
    client,
    rootNamespace,
    namespaces,
    clock = systemClock,
    random,
    log,
  }: KubernetesControlPlaneOptions,
  registry: Registry,
): VulnerabilityWatch {
  return new VulnerabilityWatch({
    client,
    source,
    rootNamespace,
    ...(namespaces && { namespaces }),
    attested: new AttestedReports({ registry, nowMs: () => clock.now() }),
    clock,
    ...(random && { random }),
    log: log.child({ component: 'vulnerabilities' }),
  });
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
  { authority, renewal, ads, federation }: Core,
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
      connectedProxies({ renewal, ads, bundle: federation.bundle(), hasOthers: true }),
    clock,
    log: log.child({ component: 'replicas' }),
  });
}

/** Tells the leader what the proxies connected here enforce, while another leads. */
function shareWithLeader(
  core: Core,
  election: LeaderElection,
  options: KubernetesControlPlaneOptions,
): Disposable {
  const { rootNamespace, xds, podName, log, clock = systemClock } = options;
  const { authority, ads, reports, views, credentials } = core;
  return new ReplicaLink({
    authority,
    replica: podName,
    leaderAddress() {
      if (election.isLeader || election.leader === undefined) return undefined;
      const [ip] = views.mesh().workloads.get(`${election.leader}.${rootNamespace}`)?.ips ?? [];
      return ip === undefined ? undefined : formatHostPort({ host: ip, port: xds.port });
    },
    states: () => localStates(ads, reports, credentials),
    onChange: (listener) =>
      joinSubscriptions(
        ads.onAnswer(listener),
        reports.onReport(listener),
        credentials.subscribe(listener),
      ),
    clock,
    log: log.child({ component: 'replicas' }),
  });
}
