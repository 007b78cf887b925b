// Finds Services that lead nowhere and Pods that cannot be reached as they are written.
import type { Workload } from '@weft/model/mesh/mesh';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { AGENT_PORTS } from '../../inject/grpc-parts.ts';
import { outboundPolicyOf } from '../egress/egress-table.ts';
import type { ServiceMembers } from '../service-members.ts';
import { someOf, warning } from './warning.ts';

/** Taken by the sidecar beside the workload: capture, probes, administration and metrics. */
const SIDECAR_PORTS: ReadonlySet<number> = new Set([15_000, 15_001, 15_006, 15_020, 15_021]);

const podRef = ({ namespace, name }: Workload): ObjectRef => ({ kind: 'Pod', namespace, name });

export function serviceProblems({ service, ports }: ServiceMembers): readonly Problem[] {
  const { namespace, name } = service.meta;
  const ref: ObjectRef = { kind: 'Service', namespace, name };
  return ports.flatMap(({ spec, members, unresolved }, index) => {
    const field = `spec.ports[${index}]`;
    if (unresolved.length > 0) {
      const pods = someOf(unresolved.map(({ meta }) => meta.name));
      const message = `asks for port ${JSON.stringify(spec.targetPort)}, which no container has in ${pods}`;
      const cure = 'name a port of the containers, or write its number';
      return [warning(ref, 'unknown-target-port', { field: `${field}.targetPort`, message, cure })];
    }
    if (members.some(({ health }) => health === 'healthy')) return [];
    if (members.length === 0) {
      const message = `has no endpoint behind port ${spec.port}`;
      const cure = 'compare the selector with the labels of the Pods';
      return [warning(ref, 'no-endpoints', { field, message, cure })];
    }
    const message = `has no endpoint that is ready behind port ${spec.port}`;
    return [warning(ref, 'no-ready-endpoints', { field, message })];
  });
}

export function podProblems(workload: Workload): readonly Problem[] {
  const problems: Problem[] = [];
  if (workload.ips.length === 0) {
    const message = 'has no address, and nobody can call it';
    problems.push(warning(podRef(workload), 'no-address', { message }));
  }
  const own = workload.isProxyless === true ? AGENT_PORTS : SIDECAR_PORTS;
  const taken = workload.inbound.ports.filter(({ port }) => own.has(port));
  if (workload.isInMesh && taken.length > 0) {
    const message = `has port ${taken.map(({ port }) => port).join(', ')}, which its sidecar takes`;
    const cure = `move the application off ${[...own].join(', ')}`;
    problems.push(warning(podRef(workload), 'reserved-port', { message, cure }));
  }
  return [...problems, ...openCalls(workload)];
}

/** Who may call what outside is held by proxies. */
function openCalls(workload: Workload): readonly Problem[] {
  const { isInMesh, isProxyless, namespace, inbound } = workload;
  if (!isInMesh || isProxyless !== true) return [];
  if (outboundPolicyOf(namespace, inbound.settings) !== 'REGISTRY_ONLY') return [];
  const message = 'calls hosts outside as it likes, under REGISTRY_ONLY too: it has no proxy';
  const cure = 'keep it in by a NetworkPolicy, or take weft.dev/proxy: none away';
  return [warning(podRef(workload), 'open-calls', { message, cure })];
}

/** Told apart by port only; who shares a port shares its callers. */
export function sharedAddress(ip: string, sharing: readonly Workload[]): readonly Problem[] {
  const [first, ...others] = sharing;
  return others.map((workload) =>
    warning(podRef(workload), 'address-clash', {
      message: `has address ${ip}, which is also that of Pod ${first?.namespace}/${first?.name}`,
      cure: 'give each Pod an address of its own',
    }),
  );
}
