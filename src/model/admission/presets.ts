// The Pod Security Standards as checks, each as it was in the minor version that is asked for.
import {
  absentOr,
  absentOrOneOf,
  all,
  type Finder,
  type Guard,
  mustBe,
  notZero,
  onAppArmorAnnotations,
  onContainers,
  onPod,
  onSysctls,
  oneOf,
  type Test,
  unless,
} from './finders.ts';
import {
  addedAtMost,
  dropped,
  hostPathsAtMost,
  hostPortsAtMost,
  hostsOfProbes,
  volumesOf,
} from './pod-looks.ts';
import type { PodCheckId, Preset } from './types.ts';

/** One demand of a level: what it is part of, and how it looks. */
export interface Demand {
  readonly id: PodCheckId;
  readonly finder: Finder;
}

const DEFAULT_CAPABILITIES = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];
const PROFILES = ['RuntimeDefault', 'Localhost'];
const RESTRICTED_VOLUMES = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'image',
  'persistentVolumeClaim',
  'projected',
  'secret',
];
const SE_LINUX_TYPES = ['', 'container_t', 'container_init_t', 'container_kvm_t'];
/** By the minor version that brought them. */
const SYSCTLS: readonly (readonly [number, readonly string[]])[] = [
  [
    0,
    [
      'kernel.shm_rmid_forced',
      'net.ipv4.ip_local_port_range',
      'net.ipv4.tcp_syncookies',
      'net.ipv4.ping_group_range',
      'net.ipv4.ip_unprivileged_port_start',
    ],
  ],
  [27, ['net.ipv4.ip_local_reserved_ports']],
  [
    29,
    [
      'net.ipv4.tcp_keepalive_time',
      'net.ipv4.tcp_fin_timeout',
      'net.ipv4.tcp_keepalive_intvl',
      'net.ipv4.tcp_keepalive_probes',
    ],
  ],
  [32, ['net.ipv4.tcp_rmem', 'net.ipv4.tcp_wmem']],
];
/** From then on the type that container engines run under is one of the usual. */
const SE_LINUX_ENGINE = 31;
const HOST_PROBES = 34;
/** From then on root within a user namespace of the Pod's own counts as nobody. */
const USER_NAMESPACES = 35;

const context = (...path: readonly string[]): readonly string[] => ['securityContext', ...path];

/** The Pod's own field, and that of every container. */
const everywhere = (path: readonly string[], test: Test): Finder =>
  all(onPod(path, test), onContainers(path, test));

const SE_LINUX_EMPTY = absentOrOneOf(['']);

export const seLinuxOf = (types: readonly string[]): Finder =>
  all(
    everywhere(context('seLinuxOptions', 'type'), absentOrOneOf(types)),
    everywhere(context('seLinuxOptions', 'user'), SE_LINUX_EMPTY),
    everywhere(context('seLinuxOptions', 'role'), SE_LINUX_EMPTY),
  );

export const appArmorOf = (types: readonly string[]): Finder =>
  all(
    everywhere(context('appArmorProfile', 'type'), absentOrOneOf(types)),
    onAppArmorAnnotations(),
  );

export const hostNamespaces = (names: readonly string[]): Finder =>
  all(...names.map((name) => onPod([name], absentOr(false))));

const SECCOMP = context('seccompProfile', 'type');

/** What counts for each container, be it said by itself or by the Pod. */
export const seccompSet = (types: readonly string[]): Finder =>
  onContainers(SECCOMP, oneOf(types), { inherits: true });

function baseline(minor: number): readonly Demand[] {
  const sysctls = SYSCTLS.flatMap(([since, names]) => (minor >= since ? names : []));
  const types =
    minor >= SE_LINUX_ENGINE ? [...SE_LINUX_TYPES, 'container_engine_t'] : SE_LINUX_TYPES;
  const procMount = onContainers(context('procMount'), absentOrOneOf(['Default']));
  return [
    { id: 'hostNamespaces', finder: hostNamespaces(['hostNetwork', 'hostPID', 'hostIPC']) },
    { id: 'privileged', finder: onContainers(context('privileged'), absentOr(false)) },
    { id: 'capabilities', finder: addedAtMost(DEFAULT_CAPABILITIES) },
    { id: 'hostPaths', finder: hostPathsAtMost([]) },
    { id: 'hostPorts', finder: hostPortsAtMost([]) },
    { id: 'appArmor', finder: appArmorOf(PROFILES) },
    { id: 'seLinux', finder: seLinuxOf(types) },
    {
      id: 'procMount',
      finder: unless(minor >= USER_NAMESPACES ? ['user-namespace'] : [], procMount),
    },
    { id: 'seccomp', finder: everywhere(SECCOMP, absentOrOneOf(PROFILES)) },
    { id: 'sysctls', finder: onSysctls(sysctls) },
    {
      id: 'windowsHostProcess',
      finder: everywhere(context('windowsOptions', 'hostProcess'), absentOr(false)),
    },
    ...(minor >= HOST_PROBES ? [{ id: 'hostProbes' as const, finder: hostsOfProbes() }] : []),
  ];
}

function restricted(minor: number): readonly Demand[] {
  const namespaced: readonly Guard[] = minor >= USER_NAMESPACES ? ['user-namespace'] : [];
  const runAsNonRoot = context('runAsNonRoot');
  const runAsUser = context('runAsUser');
  return [
    { id: 'volumeTypes', finder: volumesOf(RESTRICTED_VOLUMES) },
    {
      id: 'allowPrivilegeEscalation',
      finder: unless(['windows'], onContainers(context('allowPrivilegeEscalation'), mustBe(false))),
    },
    {
      id: 'runAsNonRoot',
      finder: unless(
        namespaced,
        all(
          onPod(runAsNonRoot, absentOr(true)),
          onContainers(runAsNonRoot, mustBe(true), { which: 'own', inherits: true }),
        ),
      ),
    },
    {
      id: 'runAsUser',
      finder: unless(
        namespaced,
        all(onPod(runAsUser, notZero), onContainers(runAsUser, notZero, { which: 'own' })),
      ),
    },
    { id: 'seccomp', finder: unless(['windows'], seccompSet(PROFILES)) },
    {
      id: 'capabilities',
      finder: unless(['windows'], all(dropped(['ALL']), addedAtMost(['NET_BIND_SERVICE']))),
    },
    { id: 'procMount', finder: onContainers(context('procMount'), absentOrOneOf(['Default'])) },
  ];
}

/** Of `restricted` everything of `baseline` as well; what it asks more strictly is asked once. */
export function presetDemands({ level, minor }: Preset): readonly Demand[] {
  const base = baseline(minor);
  if (level === 'baseline') return base;
  const more = restricted(minor);
  const replaced = new Set<PodCheckId>(['procMount', 'capabilities']);
  return [...base.filter(({ id }) => !replaced.has(id)), ...more];
}
