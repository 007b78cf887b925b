// What a Pod gets whose gRPC programs need no proxy: an agent as their own user, a volume in memory with what it writes for them, and the variable that names it.
import type { PlainObject } from '@weft/model/policy/reader';
import { SIDECAR_PORTS } from './annotation-values.ts';
import { ANNOTATIONS, type PodAnnotations } from './annotations.ts';
import type { PodCheck } from './check-pod.ts';
import {
  containersOf,
  listAt,
  objectAt,
  type PlacedContainer,
  statedUsers,
  textAt,
  withPart,
} from './pod-shape.ts';
import { probedPort, probeKey, PROBE_KINDS } from './probes.ts';

export const GRPC_VOLUME = 'weft-grpc';
const FOLDER = '/var/run/weft/grpc';
const BOOTSTRAP = `${FOLDER}/bootstrap.json`;
/** Two generations of certificate, key and roots, and a socket. */
const SIZE_LIMIT = '4Mi';

/** Where gRPC's libraries look the bootstrap up. */
const BOOTSTRAP_VARIABLE = 'GRPC_XDS_BOOTSTRAP';
/** Without it servers of grpc-js refuse rules; set to something else, older libraries serve without them. */
const RULES_VARIABLE = 'GRPC_XDS_EXPERIMENTAL_RBAC';
const RULES_ON = 'true';
/** Without it clients of grpc-go and C-core say no server name, by which PERMISSIVE ports know the mesh (gRFC A101). */
const NAMES_VARIABLE = 'GRPC_EXPERIMENTAL_XDS_SNI';
const SWITCHES: readonly (readonly [string, string])[] = [
  [RULES_VARIABLE, RULES_ON],
  [NAMES_VARIABLE, 'true'],
];

/** The agent carries no requests: idle, it takes 22 MB of its own, and 70 with what it shares. */
export const AGENT_RESOURCES = { cpu: '10m', memory: '64Mi', memoryLimit: '128Mi' } as const;

/** Ports of the agent: nothing is redirected, so those of interception are the application's. */
export const AGENT_PORTS: ReadonlySet<number> = new Set([
  SIDECAR_PORTS.admin,
  SIDECAR_PORTS.metrics,
  SIDECAR_PORTS.probes,
]);

export const hasNoProxy = ({ proxy }: PodAnnotations): boolean => proxy === 'none';

/**
 * Whose the key is. The agent runs as that user itself: so it needs no right to give files away, and they are readable to
 * nobody else. `undefined` where the Pod does not say, or says several.
 */
export function grpcUser(asked: PodAnnotations, spec: PlainObject): number | undefined {
  if (asked.grpcUser !== undefined) return asked.grpcUser;
  const users = statedUsers(spec);
  return users?.length === 1 ? users[0] : undefined;
}

export const grpcFlags = (asked: PodAnnotations): readonly (readonly [string, string])[] =>
  hasNoProxy(asked)
    ? [
        ['--proxy', 'none'],
        ['--grpc-bootstrap', BOOTSTRAP],
      ]
    : [];

export const grpcVolumes = (asked: PodAnnotations): readonly PlainObject[] =>
  hasNoProxy(asked)
    ? [{ name: GRPC_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: SIZE_LIMIT } }]
    : [];

/** The agent alone may write to it. */
export const grpcMounts = (asked: PodAnnotations): readonly PlainObject[] =>
  hasNoProxy(asked) ? [{ name: GRPC_VOLUME, mountPath: FOLDER }] : [];

/** What programs need who go by xDS; who has thrown a switch already goes on saying so in its own place. */
export function withGrpc(container: PlainObject, asked: PodAnnotations): PlainObject {
  if (!hasNoProxy(asked)) return container;
  const env = listAt(container, 'env');
  const said = new Set(env.map((entry) => textAt(entry, 'name')));
  const switches = SWITCHES.filter(([name]) => !said.has(name));
  return {
    ...container,
    env: [
      ...env,
      { name: BOOTSTRAP_VARIABLE, value: BOOTSTRAP },
      ...switches.map(([name, value]) => ({ name, value })),
    ],
    volumeMounts: [
      ...listAt(container, 'volumeMounts'),
      { name: GRPC_VOLUME, mountPath: FOLDER, readOnly: true },
    ],
  };
}

const isOwnMount = (mount: PlainObject): boolean => textAt(mount, 'name') === GRPC_VOLUME;
const isSet = (entry: PlainObject | undefined, name: string, value: string): boolean =>
  entry !== undefined && textAt(entry, 'name') === name && textAt(entry, 'value') === value;

/** Switches are ours where they stand right after the bootstrap's variable: the author's own stand before. */
export function withoutGrpc(container: PlainObject): PlainObject {
  const mounts = listAt(container, 'volumeMounts');
  if (!mounts.some(isOwnMount)) return container;
  const env = listAt(container, 'env');
  const at = env.findLastIndex((entry) => isSet(entry, BOOTSTRAP_VARIABLE, BOOTSTRAP));
  const isSwitch = (entry: PlainObject): boolean =>
    SWITCHES.some(([name, value]) => isSet(entry, name, value));
  const after = at === -1 ? [] : env.slice(at + 1);
  const others = after.findIndex((entry) => !isSwitch(entry));
  const end = at + 1 + (others === -1 ? after.length : others);
  return withPart(
    withPart(container, 'env', at === -1 ? env : [...env.slice(0, at), ...env.slice(end)]),
    'volumeMounts',
    mounts.filter((mount) => !isOwnMount(mount)),
  );
}

/** Annotations that are about a proxy, and why they cannot hold where there is none. */
const OF_PROXIES = {
  capture: 'nothing is redirected in a Pod without a proxy',
  excludeOutboundPorts:
    'nothing is redirected in a Pod without a proxy, so its calls leave as they are made',
  excludeOutboundCidrs:
    'nothing is redirected in a Pod without a proxy, so its calls leave as they are made',
  accessLog: 'there is no proxy that would log requests: the programs do',
  credentials: "credentials are handed over by Weft's own sidecar, and this Pod has none",
  credentialsUsers: "credentials are handed over by Weft's own sidecar, and this Pod has none",
  workloadApi: "the Workload API is served by Weft's own sidecar, and this Pod has none",
  workloadApiUsers: "the Workload API is served by Weft's own sidecar, and this Pod has none",
} as const satisfies Partial<Record<keyof PodAnnotations, string>>;

export function checkGrpc(check: PodCheck): void {
  const { asked, warn } = check;
  if (hasNoProxy(asked)) {
    checkNotOfProxies(check);
    checkGrpcUser(check);
    for (const placed of containersOf(objectAt(check.pod, 'spec'))) {
      checkVariables(check, placed);
      checkFolder(check, placed);
      warnOfProbes(check, placed);
    }
  } else if (asked.grpcUser !== undefined) {
    warn(`${ANNOTATIONS.grpcUser.name} has no effect without ${ANNOTATIONS.proxy.name}: none`);
  }
}

const keysOf = Object.keys as (object: typeof OF_PROXIES) => readonly (keyof typeof OF_PROXIES)[];

function checkNotOfProxies({ asked, reader }: PodCheck): void {
  for (const key of keysOf(OF_PROXIES)) {
    if (asked[key] === undefined || asked[key] === false) continue;
    const cure = `take it away, or ${ANNOTATIONS.proxy.name}`;
    const field = `metadata.annotations.${ANNOTATIONS[key].name}`;
    reader.error(field, 'not-without-proxy', OF_PROXIES[key], cure);
  }
}

function checkGrpcUser({ pod, asked, reader }: PodCheck): void {
  const spec = objectAt(pod, 'spec');
  if (grpcUser(asked, spec) !== undefined) return;
  const users = statedUsers(spec);
  const { name } = ANNOTATIONS.grpcUser;
  const why =
    users === undefined
      ? 'a container does not say as which user it runs'
      : `containers run as different users (${users.join(', ')})`;
  reader.error(
    `metadata.annotations.${name}`,
    'no-user',
    `${why}, and the key of a Pod without a proxy is readable to one user alone`,
    users === undefined
      ? `set runAsUser, or name the user of the gRPC program in ${name}`
      : `run them as one, or name the user of the gRPC program in ${name}`,
  );
}

/** A program that took another's configuration, or none of the rules, would serve past every policy. */
function checkVariables({ reader }: PodCheck, { container, field }: PlacedContainer): void {
  listAt(container, 'env').forEach((entry, index) => {
    const name = textAt(entry, 'name');
    const isOther =
      name === BOOTSTRAP_VARIABLE ||
      (name === RULES_VARIABLE && !isSet(entry, RULES_VARIABLE, RULES_ON));
    if (!isOther) return;
    const message = `${name} is set already, and injection sets it: with another value policies would not hold`;
    const cure = `take it away, or ${ANNOTATIONS.proxy.name}`;
    reader.error(`${field}.env[${index}]`, 'grpc-variable', message, cure);
  });
}

function checkFolder({ reader }: PodCheck, { container, field }: PlacedContainer): void {
  listAt(container, 'volumeMounts').forEach((mount, index) => {
    const path = textAt(mount, 'mountPath') ?? '';
    if (path !== FOLDER && !path.startsWith(`${FOLDER}/`)) return;
    const message = `${path} is where the key of gRPC programs will be`;
    const at = `${field}.volumeMounts[${index}].mountPath`;
    reader.error(at, 'grpc-folder', message, 'mount it elsewhere');
  });
}

/** Nobody makes probes in the kubelet's stead, and the kubelet has no certificate. */
function warnOfProbes({ asked, warn }: PodCheck, { container, field }: PlacedContainer): void {
  for (const kind of PROBE_KINDS) {
    const port = probedPort(container, kind, 'grpc');
    if (port === undefined || asked.excludeInboundPorts?.includes(port) === true) continue;
    const { name } = ANNOTATIONS.excludeInboundPorts;
    warn(
      `${field}.${probeKey(kind)}.grpc: a server with the mesh's credentials refuses the kubelet: probe it by tcpSocket, or serve health at a port without them and name it in ${name}`,
    );
  }
}
