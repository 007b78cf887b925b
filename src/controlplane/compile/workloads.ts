// Makes workloads of Pods: whether they are in the mesh, which ports they have, and what they let in.
import { isDnsLabel, isDnsSubdomain, spiffeIdOf, type SpiffeId } from '@weft/model/identity';
import type { InboundPort, Mesh, MeshSettings, Workload } from '@weft/model/mesh/mesh';
import type { NamespaceObject, PodObject } from '@weft/model/mesh/objects';
import { detectProtocol, type PortProtocol } from '@weft/model/mesh/protocol';
import { composePeerAuthentication, modeOfPort, type MtlsModes } from '@weft/model/policy/select';
import type { FetchedKeys } from '@weft/model/policy/token-rules';
import type { Problem } from '@weft/model/problem';
import { ANNOTATIONS } from '../inject/annotations.ts';
import { authorizersOf, findAuthorizers } from './authorizers.ts';
import { explainedAt, readExplanations } from './explained-denials.ts';
import { createInboundSpecs } from './inbound-specs.ts';
import type { Membership } from './mesh-settings.ts';
import type { OrderedObjects } from './ordered-objects.ts';
import { createScopes } from './policy-scopes.ts';
import { readPathOptions } from './path-options.ts';
import type { PodIndex } from './pod-index.ts';
import { healthOf, type ServiceMembers } from './service-members.ts';
import { keep } from './structural-sharing.ts';
import { createTokenComposer } from './workload-tokens.ts';

/** Label or annotation of a Pod, label of a Namespace: `"false"` keeps out of the mesh. The Pod's own word holds. */
const INJECT = 'weft.dev/inject';
/** Annotation by which the injector says that a Pod has its sidecar. */
export const INJECTED = 'weft.dev/injected';

export interface WorkloadInput {
  readonly objects: OrderedObjects;
  readonly index: PodIndex;
  readonly services: readonly ServiceMembers[];
  readonly settings: MeshSettings;
  readonly membership: Membership;
  readonly keys: FetchedKeys;
  readonly previous: Mesh | undefined;
}

export interface CompiledWorkloads {
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly problems: readonly Problem[];
}

/** What a Service in the Pod's own namespace says its port is for; others have no say over it. */
type PortDeclarations = ReadonlyMap<PodObject, ReadonlyMap<number, ReadonlySet<PortProtocol>>>;

export function compileWorkloads(input: WorkloadInput): CompiledWorkloads {
  const { objects, index, settings, previous } = input;
  const problems: Problem[] = [];
  const declared = declarePorts(input.services);
  const scopes = createScopes(objects.policies, settings.rootNamespace);
  const intern = createInboundSpecs(previous);
  const tokenRules = createTokenComposer(input.keys);
  const { services } = input;
  const known = findAuthorizers({ policies: objects.policies.authorization, services, settings });
  const explanations = readExplanations(objects.namespaces);
  problems.push(...known.problems, ...explanations.problems);
  const workloads = new Map<string, Workload>();
  for (const pod of index.pods) {
    const { namespace, name, labels } = pod.meta;
    const identity = identityOf(pod, settings);
    if (identity === undefined) problems.push(badIdentity(pod));
    const scope = scopes(namespace);
    const tokens = tokenRules.compose(scope.tokensFor(labels));
    const modes = composePeerAuthentication(
      scope.peerAuthentication,
      { namespace, labels },
      settings.rootNamespace,
    );
    const { ports, clashes } = portsOf(pod, declared.get(pod), modes);
    const options = readPathOptions(pod, settings);
    const policies = scope.policiesFor(labels);
    const authorizers = authorizersOf(policies, known);
    const explained = explainedAt(explanations.explained, [namespace, settings.rootNamespace]);
    problems.push(...clashes, ...options.problems);
    const id = `${name}.${namespace}`;
    const before = previous?.workloads.get(id);
    const directPorts = directPortsOf(pod);
    const workload: Workload = {
      id,
      namespace,
      name,
      serviceAccount: pod.serviceAccount,
      identity,
      ips: pod.ips,
      labels,
      isInMesh:
        identity !== undefined &&
        isMember(pod, objects.namespaces.get(namespace), input.membership),
      ...(directPorts.length > 0 && { directPorts }),
      health: healthOf(pod),
      inbound: intern({
        namespace,
        serviceAccount: pod.serviceAccount,
        mode: modes.mode,
        ports: keep(before?.inbound.ports, ports),
        policies,
        broken: [...scope.brokenFor(labels), ...tokens.broken],
        ...tokens.spec,
        settings,
        ...(options.paths && { paths: options.paths }),
        ...(authorizers.length > 0 && { authorizers }),
        ...(explained.size > 0 && { explained }),
      }),
    };
    workloads.set(id, keep(before, workload));
  }
  return { workloads, problems: [...problems, ...tokenRules.problems] };
}

function identityOf(pod: PodObject, { trustDomain }: MeshSettings): SpiffeId | undefined {
  const { namespace } = pod.meta;
  const { serviceAccount } = pod;
  if (!isDnsLabel(namespace) || !isDnsSubdomain(serviceAccount)) return undefined;
  return spiffeIdOf({ trustDomain, namespace, serviceAccount });
}

const badIdentity = ({ meta, serviceAccount }: PodObject): Problem => ({
  severity: 'error',
  code: 'no-identity',
  message: `has no identity and is not in the mesh: ${meta.namespace}/${serviceAccount} is no valid ServiceAccount`,
  object: { kind: 'Pod', namespace: meta.namespace, name: meta.name },
});

function isMember(
  pod: PodObject,
  namespace: NamespaceObject | undefined,
  membership: Membership,
): boolean {
  const { annotations, labels } = pod.meta;
  if (membership === 'injected') return annotations.has(INJECTED);
  const said = annotations.get(INJECT) ?? labels.get(INJECT) ?? namespace?.meta.labels.get(INJECT);
  return said !== 'false';
}

/** As the capture step was told when the Pod was made; a value that it did not take made no Pod. */
function directPortsOf({ meta: { annotations } }: PodObject): readonly number[] {
  const { name, parse } = ANNOTATIONS.excludeInboundPorts;
  return parse(annotations.get(name) ?? '') ?? [];
}

function declarePorts(services: readonly ServiceMembers[]): PortDeclarations {
  const declared = new Map<PodObject, Map<number, Set<PortProtocol>>>();
  for (const { service, ports } of services) {
    for (const { protocol, members } of ports) {
      for (const { pod, port } of members) {
        if (pod === undefined || pod.meta.namespace !== service.meta.namespace) continue;
        const ofPod = declared.get(pod) ?? new Map<number, Set<PortProtocol>>();
        declared.set(pod, ofPod);
        ofPod.set(port, (ofPod.get(port) ?? new Set()).add(protocol));
      }
    }
  }
  return declared;
}

/** What Services say of a port holds before the container's own name for it; where they differ the bytes decide. */
function portsOf(
  pod: PodObject,
  declared: ReadonlyMap<number, ReadonlySet<PortProtocol>> | undefined,
  modes: MtlsModes,
): { readonly ports: readonly InboundPort[]; readonly clashes: readonly Problem[] } {
  const protocols = new Map<number, PortProtocol>();
  for (const port of modes.portModes.keys()) {
    protocols.set(port, detectProtocol({ name: '', port }));
  }
  for (const { name, port } of pod.ports) protocols.set(port, detectProtocol({ name, port }));
  const clashes: Problem[] = [];
  for (const [port, said] of declared ?? []) {
    const [only = 'auto'] = said;
    protocols.set(port, said.size > 1 ? 'auto' : only);
    if (said.size > 1) clashes.push(protocolClash(pod, port, said));
  }
  const ports = [...protocols]
    .sort(([a], [b]) => a - b)
    .map(([port, protocol]) => ({ port, protocol, mode: modeOfPort(modes, port) }));
  return { ports, clashes };
}

const protocolClash = (
  { meta }: PodObject,
  port: number,
  said: ReadonlySet<PortProtocol>,
): Problem => ({
  severity: 'warning',
  code: 'port-clash',
  message: `has port ${port} that Services declare as ${[...said].sort().join(' and ')}; its protocol is detected`,
  cure: 'give the port one name or appProtocol in every Service',
  object: { kind: 'Pod', namespace: meta.namespace, name: meta.name },
});
