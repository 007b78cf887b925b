// Makes a workload of a Pod: whether it is in the mesh, which ports it has, and what it lets in.
import { isDnsLabel, isDnsSubdomain, spiffeIdOf, type SpiffeId } from '@weft/model/identity';
import type { InboundPort, InboundSpec, MeshSettings, Workload } from '@weft/model/mesh/mesh';
import type { NamespaceObject, PodObject } from '@weft/model/mesh/objects';
import { detectProtocol, type PortProtocol } from '@weft/model/mesh/protocol';
import type { BrokenPolicy } from '@weft/model/policy/compile';
import type { DenialExplanation } from '@weft/model/policy/denials';
import type { WorkloadLogin } from '@weft/model/login/types';
import type { ExtAuthzProvider } from '@weft/model/policy/ext-authz';
import { composePeerAuthentication, modeOfPort, type MtlsModes } from '@weft/model/policy/select';
import type { AuthorizationPolicy, PeerAuthentication } from '@weft/model/policy/types';
import type { Problem } from '@weft/model/problem';
import type { TlsTermination } from '@weft/model/tls/types';
import type { WorkloadTraffic } from '@weft/model/traffic/compose';
import { ANNOTATIONS } from '../inject/annotations.ts';
import type { Membership } from './mesh-settings.ts';
import { readPathOptions } from './path-options.ts';
import { healthOf } from './service-members.ts';
import { keep } from './structural-sharing.ts';

/** Label or annotation of a Pod, label of a Namespace: `"false"` keeps out of the mesh. The Pod's own word holds. */
const INJECT = 'weft.dev/inject';
/** Annotation by which the injector says that a Pod has its sidecar. */
export const INJECTED = 'weft.dev/injected';

/** What policies and keys say of a workload; the same object for all Pods of a namespace with equal labels. */
export interface WorkloadRules {
  readonly policies: readonly AuthorizationPolicy[];
  /** Also those that close it in place of token rules that cannot be carried. */
  readonly broken: readonly BrokenPolicy[];
  readonly tokens: InboundSpec['tokens'];
  readonly authorizers: readonly ExtAuthzProvider[];
  readonly login: WorkloadLogin | undefined;
  readonly traffic: WorkloadTraffic | undefined;
  readonly terminations: readonly TlsTermination[];
  /** Of its token rules and its login. */
  readonly problems: readonly Problem[];
}

/** What a Service in the Pod's own namespace says one of its ports is for; others have no say over it. */
export interface PortDeclaration {
  readonly port: number;
  readonly protocol: PortProtocol;
}

export interface WorkloadInput {
  readonly settings: MeshSettings;
  readonly membership: Membership;
  readonly peerAuthentication: readonly PeerAuthentication[];
  readonly rules: WorkloadRules;
  /** That the Pod is in. */
  readonly namespace: NamespaceObject | undefined;
  /** By namespace, of those that have a say here. */
  readonly explained: ReadonlyMap<string, DenialExplanation>;
  readonly declared: readonly PortDeclaration[];
  readonly before: Workload | undefined;
}

export interface CompiledWorkload {
  /** Its inbound part is not shared yet. */
  readonly workload: Workload;
  readonly problems: readonly Problem[];
}

export function compileWorkload(pod: PodObject, input: WorkloadInput): CompiledWorkload {
  const { settings, before, rules, explained } = input;
  const { namespace, name, labels } = pod.meta;
  const identity = identityOf(pod, settings);
  const modes = composePeerAuthentication(
    input.peerAuthentication,
    { namespace, labels },
    settings.rootNamespace,
  );
  const { ports, clashes } = portsOf(pod, input.declared, modes, rules.terminations);
  const options = readPathOptions(pod, settings);
  const directPorts = directPortsOf(pod);
  const inbound: InboundSpec = {
    namespace,
    serviceAccount: pod.serviceAccount,
    mode: modes.mode,
    ports: keep(before?.inbound.ports, ports),
    ...partsOf(rules),
    settings,
    ...(options.paths && { paths: options.paths }),
    ...(explained.size > 0 && { explained }),
  };
  const workload: Workload = {
    id: `${name}.${namespace}`,
    namespace,
    name,
    serviceAccount: pod.serviceAccount,
    identity,
    ips: pod.ips,
    labels,
    isInMesh: identity !== undefined && isMember(pod, input.namespace, input.membership),
    ...(isProxyless(pod) && { isProxyless: true as const }),
    ...(directPorts.length > 0 && { directPorts }),
    health: healthOf(pod),
    inbound,
  };
  const unnamed = identity === undefined ? [badIdentity(pod)] : [];
  return { workload, problems: [...unnamed, ...clashes, ...options.problems] };
}

type RuleParts = Pick<
  InboundSpec,
  'policies' | 'broken' | 'tokens' | 'authorizers' | 'login' | 'traffic' | 'terminations'
>;

const partsOf = ({
  policies,
  broken,
  tokens,
  authorizers,
  login,
  traffic,
  terminations,
}: WorkloadRules): RuleParts => ({
  policies,
  broken,
  ...(tokens && { tokens }),
  ...(authorizers.length > 0 && { authorizers }),
  ...(login && { login }),
  ...(traffic && { traffic }),
  ...(terminations.length > 0 && { terminations }),
});

/** What is let in by other rules, all else being the same. */
export function withRules(spec: InboundSpec, rules: WorkloadRules): InboundSpec {
  const {
    tokens: _tokens,
    authorizers: _authorizers,
    login: _login,
    traffic: _traffic,
    terminations: _terminations,
    ...others
  } = spec;
  return { ...others, ...partsOf(rules) };
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

const isProxyless = ({ meta: { annotations } }: PodObject): boolean =>
  annotations.get(ANNOTATIONS.proxy.name) === 'none';

/** As the capture step was told when the Pod was made; a value that it did not take made no Pod. */
function directPortsOf({ meta: { annotations } }: PodObject): readonly number[] {
  const { name, parse } = ANNOTATIONS.excludeInboundPorts;
  return parse(annotations.get(name) ?? '') ?? [];
}

/** What Services say of a port holds before the container's own name for it; where they differ the bytes decide. */
function portsOf(
  pod: PodObject,
  declared: readonly PortDeclaration[],
  modes: MtlsModes,
  terminations: readonly TlsTermination[],
): { readonly ports: readonly InboundPort[]; readonly clashes: readonly Problem[] } {
  const protocols = new Map<number, PortProtocol>();
  const named = terminations.flatMap((one) => one.ports);
  for (const port of [...modes.portModes.keys(), ...named]) {
    protocols.set(port, detectProtocol({ name: '', port }));
  }
  for (const { name, port } of pod.ports) protocols.set(port, detectProtocol({ name, port }));
  const saidOf = new Map<number, Set<PortProtocol>>();
  for (const { port, protocol } of declared) {
    saidOf.set(port, (saidOf.get(port) ?? new Set()).add(protocol));
  }
  const clashes: Problem[] = [];
  for (const [port, said] of [...saidOf].sort(([a], [b]) => a - b)) {
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
