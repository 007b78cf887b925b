// The view of an Envoy with an agent beside it: listeners and clusters in that form, everything else as everybody has it.
import { isIP } from 'node:net';
import type { Mesh } from '@weft/model/mesh/mesh';
import {
  AGENT_METADATA,
  type AgentForm,
  clusterForAgent,
  isInbound,
  listenerForAgent,
} from '@weft/xds/agent-form';
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import type { EncodedResource, ResourceView } from '@weft/xds/resource';
import { endpointClusterName } from './cluster-names.ts';

/** What the node says of itself; `undefined` when there is no agent beside it. */
export function agentFormOf(metadata: ReadonlyMap<string, string>): AgentForm | undefined {
  if (metadata.get(AGENT_METADATA.secrets) !== 'agent') return undefined;
  const accessLog = metadata.get(AGENT_METADATA.accessLog);
  const podIp = metadata.get(AGENT_METADATA.podIp) ?? '';
  return {
    accessLog: accessLog === 'errors' || accessLog === 'all' ? accessLog : undefined,
    podIp: isIP(podIp) === 0 ? undefined : podIp,
  };
}

interface Members {
  readonly listener: ReadonlySet<string>;
  readonly cluster: ReadonlySet<string>;
}

const membersByMesh = new WeakMap<Mesh, Members>();

function membersOf(mesh: Mesh): Members {
  const known = membersByMesh.get(mesh);
  if (known !== undefined) return known;
  const listener = new Set<string>();
  const cluster = new Set<string>();
  for (const { target, endpoints } of mesh.destinations.values()) {
    if (target.vips.length > 0) continue;
    for (const { address, port } of endpoints.endpoints) {
      listener.add(`${address}_${port}`);
      cluster.add(endpointClusterName(port, address));
    }
  }
  const members = { listener, cluster };
  membersByMesh.set(mesh, members);
  return members;
}

/** Made once of each resource, for as long as that lives. */
type Made = WeakMap<EncodedResource, EncodedResource>;
const madeByLog = new Map<AgentForm['accessLog'], Made>([
  [undefined, new WeakMap()],
  ['errors', new WeakMap()],
  ['all', new WeakMap()],
]);

/**
 * Beside what it lists for everybody, the members of Services without a cluster IP: a sidecar asks for the address
 * that is called, an Envoy has to have it before.
 */
export function createAgentView(view: ResourceView, form: AgentForm, mesh: Mesh): ResourceView {
  return {
    ...view,
    get: (kind, name) => {
      const found = view.get(kind, name);
      return found && withForm(found, form);
    },
    list: function* (kind) {
      for (const one of view.list(kind)) yield withForm(one, form);
      if (kind !== 'listener' && kind !== 'cluster') return;
      for (const name of membersOf(mesh)[kind]) {
        const found = view.get(kind, name);
        if (found !== undefined) yield withForm(found, form);
      }
    },
  };
}

/**
 * The version stays that of the content, which is the same whatever the form: what is in force is known by it, and a
 * proxy has one form for its whole life.
 */
function withForm(resource: EncodedResource, form: AgentForm): EncodedResource {
  const { kind, version, name } = resource;
  if (kind !== 'listener' && kind !== 'cluster') return resource;
  if (isInbound(name)) return { ...clusterOf(resource, form), version };
  const made = madeByLog.get(form.accessLog);
  const known = made?.get(resource);
  if (known !== undefined) return known;
  const other = kind === 'listener' ? listenerOf(resource, form) : clusterOf(resource, form);
  const result = { ...other, version };
  made?.set(resource, result);
  return result;
}

function listenerOf({ name, version, bytes }: EncodedResource, form: AgentForm): EncodedResource {
  const read = decodeResource('listener', bytes);
  if (!read.ok) throw new TypeError(`Cannot read listener ${name}, which was written here`);
  return encodeResource('listener', listenerForAgent(read.value, version, form));
}

function clusterOf({ name, bytes }: EncodedResource, form: AgentForm): EncodedResource {
  const read = decodeResource('cluster', bytes);
  if (!read.ok) throw new TypeError(`Cannot read cluster ${name}, which was written here`);
  return encodeResource('cluster', clusterForAgent(read.value, form));
}
