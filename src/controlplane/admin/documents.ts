// What the versioned JSON endpoints say, made of what the parts report; no key and no token is in any of it.
import type { AuthorityStatus } from '@weft/ca/opened-state';
import type { Destination, Workload } from '@weft/model/mesh/mesh';
import { ruleName } from '@weft/model/policy/rule-name';
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import { formatProblem } from '@weft/model/problem';
import type { CredentialPart } from '../credentials/credential-part.ts';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { FederationPart } from '../federation/federation-part.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import type { SourceState } from '../registry/source.ts';
import { countCurrent, describePolicies } from './policy-conditions.ts';
import { describeWorkloadPolicies } from './workload-policies.ts';
import type { EdgeLedger } from '../report/edge-ledger.ts';
import type { ReplayWatch } from '../status/replay-watch.ts';
import type { PolicyStatus } from '../status/policy-status.ts';

export interface DocumentSources {
  readonly version: string;
  readonly startedAtMs: number;
  readonly views: MeshViews;
  readonly ads: AdsServer;
  readonly policies: Pick<PolicyStatus, 'reports'>;
  readonly edges: EdgeLedger;
  readonly replay: Pick<ReplayWatch, 'reports'>;
  readonly credentials: Pick<CredentialPart, 'state' | 'audit' | 'reports'>;
  readonly federation: Pick<FederationPart, 'document' | 'bundleDocument'>;
  readonly source: () => SourceState;
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
        policies: [
          ...describePolicies(policies.reports(), views),
          ...describeWorkloadPolicies(sources.source()),
        ],
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
    ['/v1/edges', () => reportEdges(sources)],
    ['/v1/refused-egress', () => sources.edges.refusals.report()],
    [
      '/v1/credentials',
      () => {
        const bindings = describePolicies(sources.credentials.reports(), views);
        return {
          ...sources.credentials.state(),
          bindings: bindings.filter(({ kind }) => kind === 'CredentialBinding'),
        };
      },
    ],
    ['/v1/federation', () => sources.federation.document()],
    ['/v1/federation/bundle', () => sources.federation.bundleDocument()],
    ['/v1/credentials/audit', () => ({ lines: sources.credentials.audit() })],
    ['/v1/replay', () => ({ changes: sources.replay.reports() })],
    ['/v1/rules', () => ({ rules: rulesOf(views.mesh().policies.authorization) })],
    [
      '/v1/ca',
      () => {
        const status = ca();
        return { ...status, refusedByReason: Object.fromEntries(status.refusedByReason) };
      },
    ],
  ]);
}

/** By the names under which they are logged; those on trial decide nothing. */
const rulesOf = (policies: readonly AuthorizationPolicy[]): readonly string[] =>
  policies
    .filter(({ isDryRun }) => !isDryRun)
    .flatMap((policy) => (policy.rules ?? []).map((_rule, index) => ruleName(policy, index)))
    .sort();

/** Calls that proxies have seen; with the labels that select the called workload. */
function reportEdges({ edges, views }: DocumentSources): object {
  const { workloads } = views.mesh();
  return {
    since: new Date(edges.sinceMs).toISOString(),
    edges: edges.edges().map(({ firstSeenMs, lastSeenMs, ...edge }) => ({
      ...edge,
      selector: Object.fromEntries(selectingLabels(workloads.get(edge.proxy))),
      firstSeen: new Date(firstSeenMs).toISOString(),
      lastSeen: new Date(lastSeenMs).toISOString(),
    })),
  };
}

/** What people name a workload by; else all labels but those that tell one rollout or Pod from another. */
function selectingLabels(workload: Workload | undefined): readonly (readonly [string, string])[] {
  const labels = [...(workload?.labels ?? [])];
  for (const name of NAMING_LABELS) {
    const named = labels.find(([key]) => key === name);
    if (named !== undefined) return [named];
  }
  return labels.filter(([key]) => !PASSING_LABELS.has(key));
}

const NAMING_LABELS = ['app', 'app.kubernetes.io/name', 'k8s-app'];
const PASSING_LABELS: ReadonlySet<string> = new Set([
  'pod-template-hash',
  'controller-revision-hash',
  'statefulset.kubernetes.io/pod-name',
  'pod-template-generation',
]);

function reportStatus({ version, startedAtMs, views, ads, ca }: DocumentSources): object {
  const problems = views.problems();
  const { trustDomain, rotation } = ca();
  return {
    version,
    startedAt: new Date(startedAtMs).toISOString(),
    trustDomain,
    revision: views.revision,
    proxies: new Set(ads.proxies().map(({ proxyId }) => proxyId)).size,
    workloads: views.mesh().workloads.size,
    destinations: views.mesh().destinations.size,
    policies: views.policies().length,
    errors: problems.filter(({ severity }) => severity === 'error').length,
    warnings: problems.filter(({ severity }) => severity === 'warning').length,
    rotation: rotation.phase,
  };
}

function describeWorkload(workload: Workload): object {
  const { id, identity, serviceAccount, ips, isInMesh, health, inbound, isProxyless } = workload;
  return {
    id,
    identity,
    serviceAccount,
    ips,
    isInMesh,
    ...(isProxyless && { proxy: 'none' }),
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
