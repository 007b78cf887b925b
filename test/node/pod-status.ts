// Tells Kubernetes how a Pod is: pure, from the states of its containers, in the words of a kubelet.
import type { ContainerRunner, ContainerState } from './container-runner.ts';
import { type Condition, isSidecar, type Pod } from './pod.ts';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

type Seen = Pick<
  ContainerRunner,
  'container' | 'state' | 'lastState' | 'restartCount' | 'isStarted' | 'isReady'
>;

export interface PodView {
  readonly pod: Pod;
  readonly phase: Phase;
  readonly podIp: string | undefined;
  readonly nodeIp: string;
  readonly startedAt: Date;
  readonly isInitialized: boolean;
  readonly inits: readonly Seen[];
  readonly mains: readonly Seen[];
  /** Why its containers cannot be started yet. */
  readonly blocked: string | undefined;
  /** As last told. */
  readonly conditions: readonly Condition[];
}

function stateFields(state: ContainerState): object {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason, message: state.message } };
    case 'running':
      return { running: { startedAt: state.startedAt.toISOString() } };
    case 'terminated': {
      const { exitCode, signal, reason, message } = state;
      const startedAt = state.startedAt.toISOString();
      const finishedAt = state.finishedAt.toISOString();
      return { terminated: { exitCode, signal, reason, message, startedAt, finishedAt } };
    }
    default:
      return state satisfies never;
  }
}

function containerStatus(seen: Seen, isReady: boolean, blocked: string | undefined): object {
  const { container, state, lastState, restartCount, isStarted } = seen;
  const told: ContainerState =
    state.kind === 'waiting' && blocked !== undefined
      ? { kind: 'waiting', reason: 'ContainerCreating', message: blocked }
      : state;
  return {
    name: container.name,
    image: container.image,
    imageID: '',
    ready: isReady,
    started: isStarted,
    restartCount,
    state: stateFields(told),
    ...(lastState !== undefined && { lastState: stateFields(lastState) }),
  };
}

/** An init container is ready when it has done its work, a sidecar when its probe says so. */
const isInitReady = ({ container, state, isReady }: Seen): boolean =>
  isSidecar(container) ? isReady : state.kind === 'terminated' && state.exitCode === 0;

function newConditions(view: PodView): readonly Omit<Condition, 'lastTransitionTime'>[] {
  const { inits, mains, phase, podIp, isInitialized, pod, conditions } = view;
  const isCompleted = phase === 'Succeeded' || phase === 'Failed';
  const must = [...inits.filter(({ container }) => isSidecar(container)), ...mains];
  const unready = must.filter(({ isReady }) => !isReady).map(({ container }) => container.name);
  const areReady = isInitialized && unready.length === 0;
  const missingGates = (pod.spec.readinessGates ?? [])
    .map(({ conditionType }) => conditionType)
    .filter((type) => !conditions.some((one) => one.type === type && one.status === 'True'));
  const why = isCompleted
    ? { reason: 'PodCompleted', message: '' }
    : {
        reason: 'ContainersNotReady',
        message: `containers with unready status: [${unready.join(' ')}]`,
      };
  const gates = { reason: 'ReadinessGatesNotReady', message: missingGates.join(' ') };
  const isReady = areReady && missingGates.length === 0;
  const truth = (value: boolean): string => (value ? 'True' : 'False');
  return [
    { type: 'PodReadyToStartContainers', status: truth(podIp !== undefined && !isCompleted) },
    { type: 'Initialized', status: truth(isInitialized || phase === 'Succeeded') },
    { type: 'ContainersReady', status: truth(areReady), ...(!areReady && why) },
    { type: 'Ready', status: truth(isReady), ...(!isReady && (areReady ? gates : why)) },
  ];
}

function mergeConditions(view: PodView, now: Date): readonly Condition[] {
  const fresh = newConditions(view);
  const others = (view.pod.status?.conditions ?? []).filter(
    ({ type }) => !fresh.some((one) => one.type === type),
  );
  return [
    ...others,
    ...fresh.map((condition) => {
      const before = view.conditions.find(({ type }) => type === condition.type);
      const isSame = before?.status === condition.status;
      const lastTransitionTime =
        (isSame ? before.lastTransitionTime : undefined) ?? now.toISOString();
      return { ...condition, lastTransitionTime };
    }),
  ];
}

export interface PodStatus {
  readonly phase: Phase;
  readonly conditions: readonly Condition[];
  readonly hostIP: string;
  readonly hostIPs: readonly { readonly ip: string }[];
  readonly startTime: string;
  readonly podIP?: string;
  readonly podIPs?: readonly { readonly ip: string }[];
  readonly initContainerStatuses?: readonly object[];
  readonly containerStatuses: readonly object[];
}

/** For a merge patch of the status. */
export function podStatus(view: PodView, now: Date): PodStatus {
  const { phase, podIp, nodeIp, startedAt, inits, mains, blocked } = view;
  return {
    phase,
    conditions: mergeConditions(view, now),
    hostIP: nodeIp,
    hostIPs: [{ ip: nodeIp }],
    startTime: startedAt.toISOString(),
    ...(podIp !== undefined && { podIP: podIp, podIPs: [{ ip: podIp }] }),
    ...(inits.length > 0 && {
      initContainerStatuses: inits.map((seen) => containerStatus(seen, isInitReady(seen), blocked)),
    }),
    containerStatuses: mains.map((seen) => containerStatus(seen, seen.isReady, blocked)),
  };
}
