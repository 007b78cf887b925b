// What the versioned JSON endpoints say, made of what the parts report; no key and no token is in any of it.
import type { AuthorityStatus } from '@weft/ca/opened-state';
import type { Destination, Workload } from '@weft/model/mesh/mesh';
import { formatProblem } from '@weft/model/problem';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import { countCurrent, describePolicies } from './policy-conditions.ts';
import type { PolicyStatus } from '../status/policy-status.ts';

export interface DocumentSources {
  readonly version: string;
  readonly startedAtMs: number;
  readonly views: MeshViews;
  readonly ads: AdsServer;
  readonly policies: Pick<PolicyStatus, 'reports'>;
  readonly ca: () => AuthorityStatus;
}

export function createDocuments(sources: DocumentSources): ReadonlyMap<string, () => unknown> {
  const { views, ads, policies, ca } = sources;
  return new Map<string, () => unknown>([
    ['/v1/status', () => reportStatus(sources)],
    [
      '/v1/sessions',
      () => ({
        sessions: ads.sessions().map(({ connectedAtMs, ...session }) => ({
          ...session,
          connectedAt: new Date(connectedAtMs).toISOString(),
        })),
      }),
    ],
    [
      '/v1/problems',
      () => ({
        problems: views.problems().map((problem) => ({ ...problem, text: formatProblem(problem) })),
      }),
    ],
    [
      '/v1/policies',
      () => ({
        revision: views.revision,
        proxies: countCurrent(views, ads),
        policies: describePolicies(policies.reports(), views),
      }),
    ],
    [
      '/v1/workloads',
      () => ({ workloads: [...views.mesh().workloads.values()].map(describeWorkload) }),
    ],
    [
      '/v1/services',
      () => ({ services: [...views.mesh().destinations.values()].map(describeService) }),
    ],
    ['/v1/ca', ca],
  ]);
}

function reportStatus({ version, startedAtMs, views, ads, ca }: DocumentSources): object {
  const problems = views.problems();
  const { trustDomain, rotation } = ca();
  return {
    version,
    startedAt: new Date(startedAtMs).toISOString(),
    trustDomain,
    revision: views.revision,
    proxies: new Set(ads.sessions().map(({ proxyId }) => proxyId)).size,
    workloads: views.mesh().workloads.size,
    destinations: views.mesh().destinations.size,
    policies: views.policies().length,
    errors: problems.filter(({ severity }) => severity === 'error').length,
    warnings: problems.filter(({ severity }) => severity === 'warning').length,
    rotation: rotation.phase,
  };
}

function describeWorkload(workload: Workload): object {
  const { id, identity, serviceAccount, ips, isInMesh, health, inbound } = workload;
  return {
    id,
    identity,
    serviceAccount,
    ips,
    isInMesh,
    health,
    mtls: inbound.mode,
    ports: inbound.ports,
    policies: inbound.policies.map(({ namespace, name }) => `${namespace}/${name}`),
  };
}

function describeService({ target, upstream, endpoints }: Destination): object {
  const { name, host, port, protocol, vips } = target;
  return {
    name,
    host,
    port,
    protocol,
    vips,
    identities: upstream.identities,
    endpoints: endpoints.endpoints,
  };
}
