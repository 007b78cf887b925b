// Turns what a policy asks of Pods into checks: how each looks, by which rule, and what cures what it finds.
import {
  absentOr,
  all,
  type Finder,
  mustBe,
  onContainers,
  onPod,
  onSysctls,
  absentOrOneOf,
} from './finders.ts';
import {
  addedAtMost,
  dropped,
  hostPathsAtMost,
  hostPortsAtMost,
  resourcesSet,
  volumesOf,
} from './pod-looks.ts';
import { appArmorOf, hostNamespaces, presetDemands, seccompSet, seLinuxOf } from './presets.ts';
import type { PodCheckId, PodSection } from './types.ts';

export interface PodCheck {
  readonly id: PodCheckId;
  /** Where it is asked for: `restricted (Pod Security Standards v1.34)`, `spec.pod.seccomp`. */
  readonly rule: string;
  readonly cure: string;
  readonly finder: Finder;
}

/** What to write or do instead, whoever asks for it. */
const CURES: Readonly<Record<PodCheckId, string>> = {
  runAsNonRoot: 'set securityContext.runAsNonRoot: true, and a user other than 0 in the image',
  runAsUser: 'set securityContext.runAsUser to a user other than 0, or remove it',
  readOnlyRootFilesystem:
    'set securityContext.readOnlyRootFilesystem: true, and mount an emptyDir where it writes',
  privileged: 'remove securityContext.privileged',
  allowPrivilegeEscalation: 'set securityContext.allowPrivilegeEscalation: false',
  capabilities: 'set securityContext.capabilities.drop: [ALL], and add only those that are allowed',
  hostNamespaces: 'remove hostNetwork, hostPID and hostIPC',
  hostPorts: 'remove hostPort, and publish the port by a Service',
  hostPaths: 'use a volume of another type, or a path that is allowed, mounted read-only',
  hostProbes: 'remove host: the kubelet then asks the Pod itself',
  volumeTypes: 'use a volume type that is allowed',
  seccomp: 'set securityContext.seccompProfile.type: RuntimeDefault',
  appArmor: 'remove the AppArmor profile, or set its type to RuntimeDefault',
  seLinux: 'remove seLinuxOptions, or use a type that is allowed without user and role',
  procMount: 'remove securityContext.procMount',
  sysctls: 'remove the sysctl, or use one that is allowed',
  windowsHostProcess: 'remove securityContext.windowsOptions.hostProcess',
  resources: 'set resources.requests and resources.limits of the container',
  automountServiceAccountToken: 'set automountServiceAccountToken: false in the Pod',
};

const context = (name: string): readonly string[] => ['securityContext', name];

/** Single demands by the name that the spec gives them, in the order in which they are told. */
function ownFinders(pod: PodSection): readonly (readonly [string, PodCheckId, Finder])[] {
  const { capabilities, resources } = pod;
  const found: (readonly [string, PodCheckId, Finder | undefined])[] = [
    [
      'runAsNonRoot',
      'runAsNonRoot',
      pod.runAsNonRoot &&
        onContainers(context('runAsNonRoot'), mustBe(true), { which: 'own', inherits: true }),
    ],
    [
      'readOnlyRootFilesystem',
      'readOnlyRootFilesystem',
      pod.readOnlyRootFilesystem && onContainers(context('readOnlyRootFilesystem'), mustBe(true)),
    ],
    [
      'privileged',
      'privileged',
      pod.privileged === false ? onContainers(context('privileged'), absentOr(false)) : undefined,
    ],
    [
      'allowPrivilegeEscalation',
      'allowPrivilegeEscalation',
      pod.allowPrivilegeEscalation === false
        ? onContainers(context('allowPrivilegeEscalation'), mustBe(false))
        : undefined,
    ],
    [
      'automountServiceAccountToken',
      'automountServiceAccountToken',
      pod.automountServiceAccountToken === false
        ? onPod(['automountServiceAccountToken'], mustBe(false))
        : undefined,
    ],
    ...(['hostNetwork', 'hostPID', 'hostIPC'] as const).map(
      (name) =>
        [name, 'hostNamespaces', pod[name] === false ? hostNamespaces([name]) : undefined] as const,
    ),
    [
      'capabilities',
      'capabilities',
      capabilities && all(dropped(capabilities.drop), addedAtMost(capabilities.allowAdd)),
    ],
    ['hostPorts', 'hostPorts', pod.hostPorts && hostPortsAtMost(pod.hostPorts.allow)],
    ['hostPaths', 'hostPaths', pod.hostPaths && hostPathsAtMost(pod.hostPaths.allow)],
    ['volumeTypes', 'volumeTypes', pod.volumeTypes && volumesOf(pod.volumeTypes)],
    ['seccomp', 'seccomp', pod.seccomp && seccompSet(pod.seccomp.allow)],
    ['appArmor', 'appArmor', pod.appArmor && appArmorOf(pod.appArmor.allow)],
    ['seLinux', 'seLinux', pod.seLinux && seLinuxOf(['', ...pod.seLinux.allowTypes])],
    [
      'procMount',
      'procMount',
      pod.procMount && onContainers(context('procMount'), absentOrOneOf(pod.procMount.allow)),
    ],
    ['sysctls', 'sysctls', pod.sysctls && onSysctls(pod.sysctls.allow)],
    [
      'resources',
      'resources',
      resources &&
        all(resourcesSet('requests', resources.requests), resourcesSet('limits', resources.limits)),
    ],
  ];
  return found.flatMap(([name, id, finder]) =>
    finder === undefined ? [] : [[name, id, finder] as const],
  );
}

/** In the order in which findings are told: the preset's first. */
export function podChecks(pod: PodSection | undefined): readonly PodCheck[] {
  if (pod === undefined) return [];
  const { preset } = pod;
  const rule = preset && `${preset.level} (Pod Security Standards ${preset.version})`;
  const standard = preset === undefined ? [] : presetDemands(preset);
  return [
    ...standard.map(({ id, finder }) => ({ id, rule: rule ?? '', cure: CURES[id], finder })),
    ...ownFinders(pod).map(([name, id, finder]) => ({
      id,
      rule: `spec.pod.${name}`,
      cure: CURES[id],
      finder,
    })),
  ];
}
