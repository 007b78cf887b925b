// What speaks against a sidecar in a Pod, before one is put in: what would break it, go past it, or be no valid Pod.
import { isDnsLabel } from '@weft/model/identity';
import type { PlainObject, Reader } from '@weft/model/policy/reader';
import { parseQuantity, type Quantity, SIDECAR_PORTS } from './annotation-values.ts';
import { ANNOTATIONS, type PodAnnotations } from './annotations.ts';
import { defaultResources, RESERVED_CONTAINERS, RESERVED_VOLUMES } from './containers.ts';
import { checkCredentials } from './credentials-volume.ts';
import { checkEnvoy } from './envoy-parts.ts';
import { AGENT_PORTS, checkGrpc, hasNoProxy } from './grpc-parts.ts';
import { containersOf, listAt, objectAt, type PlacedContainer, textAt } from './pod-shape.ts';
import { type InjectionSettings, SIDECAR_UID } from './settings.ts';
import { checkWorkloadApi } from './workload-api-volume.ts';

export interface PodCheck {
  /** Without anything of Weft's. */
  readonly pod: PlainObject;
  readonly asked: PodAnnotations;
  readonly settings: InjectionSettings;
  readonly reader: Reader;
  readonly warn: (message: string) => void;
}

export function checkPod(check: PodCheck): void {
  const spec = objectAt(check.pod, 'spec');
  const containers = containersOf(spec);
  checkNames(check, spec, containers);
  for (const placed of containers) {
    checkOtherMesh(check, placed);
    checkPorts(check, placed);
    // Nothing is taken past a proxy that is not there.
    if (hasNoProxy(check.asked)) continue;
    checkUser(check, spec, placed);
    warnOfRights(check, placed);
  }
  checkMode(check, spec);
  if (!hasNoProxy(check.asked)) {
    checkCredentials(check);
    checkWorkloadApi(check);
  }
  checkEnvoy(check);
  checkGrpc(check);
  checkResources(check);
  warnOfDrain(check, spec);
}

function checkNames(
  { reader }: PodCheck,
  spec: PlainObject,
  containers: readonly PlacedContainer[],
): void {
  for (const { name, field } of containers) {
    if (!isDnsLabel(name)) {
      const cure = 'use lower-case letters, digits and "-"';
      reader.error(`${field}.name`, 'bad-name', `${JSON.stringify(name)} is no valid name`, cure);
    }
    if (RESERVED_CONTAINERS.includes(name)) reserved(reader, `${field}.name`, name);
  }
  listAt(spec, 'volumes').forEach((volume, index) => {
    const name = textAt(volume, 'name') ?? '';
    if (RESERVED_VOLUMES.includes(name)) reserved(reader, `spec.volumes[${index}].name`, name);
  });
}

/** Containers of meshes that redirect a Pod's traffic as Weft does. */
const OTHER_MESHES: ReadonlyMap<string, string> = new Map([
  ['istio-proxy', 'Istio'],
  ['istio-init', 'Istio'],
  ['istio-validation', 'Istio'],
  ['linkerd-proxy', 'Linkerd'],
  ['linkerd-init', 'Linkerd'],
  ['kuma-sidecar', 'Kuma'],
  ['kuma-init', 'Kuma'],
  ['consul-dataplane', 'Consul'],
]);

/** Each of both would redirect what the other sends. */
function checkOtherMesh({ reader }: PodCheck, { name, field }: PlacedContainer): void {
  const mesh = OTHER_MESHES.get(name);
  if (mesh === undefined) return;
  const message = `container ${name} is that of ${mesh}: two meshes would redirect each other's traffic`;
  const cure = `keep one of them out of this Pod: ${ANNOTATIONS.inject.name}: "false", or what ${mesh} goes by`;
  reader.error(`${field}.name`, 'other-mesh', message, cure);
}

function reserved(reader: Reader, field: string, name: string): void {
  const cure = 'give it another name, or take it away when an injection left it there';
  reader.error(field, 'reserved-name', `${name} is a name that only injection may use`, cure);
}

function checkUser(
  { reader }: PodCheck,
  spec: PlainObject,
  { container, field, name }: PlacedContainer,
): void {
  const own = objectAt(container, 'securityContext')['runAsUser'];
  const uid = own ?? objectAt(spec, 'securityContext')['runAsUser'];
  if (uid !== SIDECAR_UID) return;
  const at = own === undefined ? 'spec.securityContext' : `${field}.securityContext`;
  const message = `container ${name} runs as user ${SIDECAR_UID}, the sidecar's: its traffic would go past the sidecar`;
  reader.error(`${at}.runAsUser`, 'sidecar-user', message, 'run it as another user');
}

const OWN_PORTS: ReadonlySet<unknown> = new Set(Object.values(SIDECAR_PORTS));

function checkPorts(
  { asked, reader }: PodCheck,
  { container, field, name }: PlacedContainer,
): void {
  const taken: ReadonlySet<unknown> = hasNoProxy(asked) ? AGENT_PORTS : OWN_PORTS;
  listAt(container, 'ports').forEach((entry, index) => {
    const port = entry['containerPort'];
    if (!taken.has(port) || (textAt(entry, 'protocol') ?? 'TCP') !== 'TCP') return;
    const message = `container ${name} uses port ${String(port)}, which the sidecar needs`;
    const cure = 'let the application listen on another port';
    reader.error(`${field}.ports[${index}].containerPort`, 'sidecar-port', message, cure);
  });
}

function warnOfRights({ warn }: PodCheck, { container, field, name }: PlacedContainer): void {
  const context = objectAt(container, 'securityContext');
  const added = objectAt(context, 'capabilities')['add'];
  const capabilities: readonly unknown[] = Array.isArray(added) ? added : [];
  const right = ['NET_ADMIN', 'CAP_NET_ADMIN', 'ALL'].find((one) => capabilities.includes(one));
  if (context['privileged'] !== true && right === undefined) return;
  const why = right === undefined ? 'privileged' : `capability ${right}`;
  warn(
    `${field}.securityContext: container ${name} (${why}) can take its traffic past the sidecar`,
  );
}

/** A classic sidecar does not end by itself. */
function checkMode({ asked, reader, pod }: PodCheck, spec: PlainObject): void {
  if (asked.sidecarMode !== 'classic') return;
  const policy = textAt(spec, 'restartPolicy') ?? 'Always';
  const isOfJob = listAt(objectAt(pod, 'metadata'), 'ownerReferences').some(
    (owner) => owner['kind'] === 'Job',
  );
  if (policy === 'Always' && !isOfJob) return;
  const name = ANNOTATIONS.sidecarMode.name;
  reader.error(
    `metadata.annotations.${name}`,
    'classic-in-job',
    'a classic sidecar never ends, so this Pod (restartPolicy ' + policy + ') would never complete',
    `take ${name} away: a native sidecar ends with the application`,
  );
}

function checkResources({ asked, settings, reader }: PodCheck): void {
  const resources = defaultResources(settings, asked);
  const compare = (
    what: string,
    request: Quantity | undefined,
    limit: Quantity | undefined,
    names: readonly [string, string],
  ): void => {
    if (request === undefined || limit === undefined || request.amount <= limit.amount) return;
    const message = `the sidecar's request of ${what} (${request.text}) is above its limit (${limit.text})`;
    const cure = `raise ${names[1]}, or lower ${names[0]}`;
    reader.error(`metadata.annotations.${names[0]}`, 'request-above-limit', message, cure);
  };
  const quantity = (text: string | undefined): Quantity | undefined =>
    text === undefined ? undefined : parseQuantity(text);
  const { sidecarCpu, sidecarCpuLimit, sidecarMemory, sidecarMemoryLimit } = ANNOTATIONS;
  compare(
    'CPU',
    asked.sidecarCpu ?? quantity(resources.cpu),
    asked.sidecarCpuLimit ?? quantity(resources.cpuLimit),
    [sidecarCpu.name, sidecarCpuLimit.name],
  );
  compare(
    'memory',
    asked.sidecarMemory ?? quantity(resources.memory),
    asked.sidecarMemoryLimit ?? quantity(resources.memoryLimit),
    [sidecarMemory.name, sidecarMemoryLimit.name],
  );
}

/** Kubernetes' default. */
const GRACE_SECONDS = 30;

function warnOfDrain({ asked, warn }: PodCheck, spec: PlainObject): void {
  const given = spec['terminationGracePeriodSeconds'];
  const graceSeconds = typeof given === 'number' ? given : GRACE_SECONDS;
  if (asked.drainTime === undefined || asked.drainTime.ms <= graceSeconds * 1_000) return;
  warn(
    `${ANNOTATIONS.drainTime.name} is ${asked.drainTime.text}, but the Pod is killed after its terminationGracePeriodSeconds (${graceSeconds})`,
  );
}
