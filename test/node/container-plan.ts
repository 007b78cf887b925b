// Decides how a container's program is started: command, environment, user, capabilities and mounts, from its Pod and image.
import type { ProcessPlan, Mount, Privileges } from './container-process.ts';
import type { Image } from './images.ts';
import { type Container, type Pod } from './pod.ts';
import type { PodVolumes } from './pod-volumes.ts';
import { environment, expand, type Found, type PodPlace, type Sources } from './projection.ts';
import { join } from 'node:path';
import { existsSync, statSync } from 'node:fs';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What container runtimes give to root when nothing is said. */
const DEFAULT_CAPABILITIES: readonly string[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
];

export interface PlanOptions {
  readonly pod: Pod;
  readonly container: Container;
  readonly image: Image;
  readonly place: PodPlace;
  readonly sources: Sources;
  readonly volumes: Pick<PodVolumes, 'path'>;
  readonly enter: readonly string[];
  readonly nameserver: string;
  readonly stage: string;
  readonly logFile: string;
  /** `KUBERNETES_SERVICE_HOST` and its like. */
  readonly clusterEnv: Readonly<Record<string, string>>;
}

function capabilitiesOf(container: Container): readonly string[] {
  const { add = [], drop = [] } = container.securityContext?.capabilities ?? {};
  const bare = (name: string): string => (name.startsWith('CAP_') ? name.slice(4) : name);
  const dropped = new Set(drop.map(bare));
  const kept = dropped.has('ALL') ? [] : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  return [...new Set([...kept, ...add.map(bare)])];
}

function privilegesOf(pod: Pod, container: Container, image: Image): Found<Privileges> {
  const own = container.securityContext ?? {};
  const shared = pod.spec.securityContext ?? {};
  const uid = own.runAsUser ?? shared.runAsUser ?? image.uid ?? 0;
  const gid = own.runAsGroup ?? shared.runAsGroup ?? image.gid ?? 0;
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) === true && uid === 0) {
    return { ok: false, reason: 'container has runAsNonRoot and image will run as root' };
  }
  const groups = [...(shared.supplementalGroups ?? [])];
  if (shared.fsGroup !== undefined) groups.push(shared.fsGroup);
  return {
    ok: true,
    value: {
      uid,
      gid,
      groups,
      capabilities: capabilitiesOf(container),
      mayGainPrivileges: own.allowPrivilegeEscalation !== false,
      isPrivileged: own.privileged === true,
    },
  };
}

/** Kubelets mount what they write themselves for reading only. */
const isWritable = ({ spec }: Pod, name: string): boolean => {
  const volume = spec.volumes?.find((volume) => volume.name === name);
  return volume?.emptyDir !== undefined || volume?.hostPath !== undefined;
};

function mountsOf({ pod, container, image, volumes }: PlanOptions): Found<readonly Mount[]> {
  const isFolder = (path: string): boolean => statSync(path).isDirectory();
  const mounts: Mount[] = Object.entries(image.files ?? {}).map(([target, source]) => ({
    source,
    target,
    isFolder: isFolder(source),
    isReadOnly: true,
  }));
  for (const { name, mountPath, subPath, readOnly } of container.volumeMounts ?? []) {
    const volume = volumes.path(name);
    if (volume === undefined) return { ok: false, reason: `volume "${name}" not found` };
    const source = subPath === undefined ? volume : join(volume, subPath);
    if (!existsSync(source)) return { ok: false, reason: `${subPath ?? ''} is not in ${name}` };
    mounts.push({
      source,
      target: mountPath,
      isFolder: isFolder(source),
      isReadOnly: readOnly === true || !isWritable(pod, name),
    });
  }
  return { ok: true, value: mounts };
}

function argvOf(
  { command, args }: Container,
  image: Image,
  env: Readonly<Record<string, string>>,
): Found<readonly string[]> {
  const own = command !== undefined && command.length > 0;
  const start = own ? command : (image.entrypoint ?? []);
  const rest = args !== undefined && args.length > 0 ? args : own ? [] : (image.command ?? []);
  const argv = [
    ...(own ? start.map((text) => expand(text, env)) : start),
    ...(args === undefined ? rest : rest.map((text) => expand(text, env))),
  ];
  return argv.length === 0
    ? { ok: false, reason: 'no command specified' }
    : { ok: true, value: argv };
}

function etcFiles({ pod, place, nameserver }: PlanOptions): Readonly<Record<string, string>> {
  const { namespace } = pod.metadata;
  const aliases = (pod.spec.hostAliases ?? []).map(
    ({ ip, hostnames = [] }) => `${ip} ${hostnames.join(' ')}`,
  );
  const hosts = [
    '127.0.0.1 localhost',
    '::1 localhost ip6-localhost',
    `${place.podIp} ${hostnameOf(pod)}`,
    ...aliases,
  ];
  return {
    'resolv.conf': [
      `search ${namespace}.svc.cluster.local svc.cluster.local cluster.local`,
      `nameserver ${nameserver}`,
      'options ndots:5',
      '',
    ].join('\n'),
    hosts: `${hosts.join('\n')}\n`,
    hostname: `${hostnameOf(pod)}\n`,
  };
}

/** 63: a DNS label. */
const hostnameOf = ({ metadata, spec }: Pod): string =>
  (spec.hostname ?? metadata.name).slice(0, 63);

/** Or why it cannot start as it is: Kubernetes' `CreateContainerConfigError`. */
export function planContainer(options: PlanOptions): Found<ProcessPlan> {
  const { pod, container, image, place, sources, clusterEnv, enter, stage, logFile } = options;
  const hostname = hostnameOf(pod);
  const base = { PATH, HOSTNAME: hostname, HOME: '/', ...image.env, ...clusterEnv };
  const env = environment(pod, container, { place, sources, base });
  if (!env.ok) return env;
  const privileges = privilegesOf(pod, container, image);
  if (!privileges.ok) return privileges;
  const mounts = mountsOf(options);
  if (!mounts.ok) return mounts;
  const argv = argvOf(container, image, env.value);
  if (!argv.ok) return argv;
  return {
    ok: true,
    value: {
      argv: argv.value,
      env: env.value,
      workingDir: container.workingDir ?? image.workingDir ?? '/',
      hostname,
      mounts: mounts.value,
      isRootReadOnly: container.securityContext?.readOnlyRootFilesystem === true,
      privileges: privileges.value,
      enter,
      etcFiles: etcFiles(options),
      stage,
      logFile,
    },
  };
}
