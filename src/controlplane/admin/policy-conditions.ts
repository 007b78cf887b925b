// Says of each policy in which condition it is: accepted or not, enforced, waited for, ignored or shadowed, and why.
import type { Mesh } from '@weft/model/mesh/mesh';
import { policyDigest } from '@weft/model/policy/digest';
import { findShadowed } from '@weft/model/policy/lint';
import { POLICY_KINDS } from '@weft/model/policy/policy-kinds';
import { firstOf, formatProblem, type Problem } from '@weft/model/problem';
import type { MeshViews } from '../compile/mesh-views.ts';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import type { ShortfallCode } from '../status/grpc-shortfalls.ts';
import {
  missingAt,
  type PolicyReport,
  waitingText,
  type WorkloadEnforcement,
} from '../status/policy-status.ts';

/**
 * `Refused`: it cannot be read; its last good version or its closure holds. `Ignored`: it holds for no sidecar.
 * `Shadowed`: others make every rule of it idle. `Pending`: not every proxy has it yet. `Unsupported`: all others have it,
 * and some workload has nothing that could do what it says.
 */
export type PolicyState =
  | 'Enforced'
  | 'Pending'
  | 'Unsupported'
  | 'Ignored'
  | 'Shadowed'
  | 'Refused';

export interface PolicyCondition {
  readonly state: PolicyState;
  readonly isAccepted: boolean;
  /** Absent where `Enforced` says all. */
  readonly why?: string;
  /** Of what is in force; absent where nothing readable is. */
  readonly digest?: string;
  readonly problems: readonly string[];
}

/** What makes a policy hold for nobody. */
const IGNORING: ReadonlySet<string> = new Set([
  'conflicting-peer-authentication',
  'selector-in-root',
  'selects-nothing',
  'unknown-namespace',
]);

/** What gRPC servers do otherwise than a policy says: it is in force, and not as people read it. */
const SHORTFALLS: ReadonlySet<string> = new Set<ShortfallCode>([
  'closed-at-grpc',
  'unenforced-at-grpc',
]);

const withField = ({ field, message }: Problem): string =>
  field === undefined ? message : `${field}: ${message}`;

interface Named {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

const keyOf = ({ kind, namespace, name }: Named): string => `${kind}/${namespace}/${name}`;

/** Rules that are compared with each other while nothing else can be served; `weft policy lint` compares more. */
const MAX_PAIRS = 50_000;

/** What is said of each mesh is found once: comparing rules with each other takes time. */
const shadows = new WeakMap<Mesh, ReadonlyMap<string, readonly Problem[]>>();

export function describePolicies(
  reports: readonly PolicyReport[],
  views: Pick<MeshViews, 'mesh' | 'problems'>,
): readonly (PolicyReport & PolicyCondition)[] {
  const mesh = views.mesh();
  const problems = groupByObject(views.problems());
  const shadowed = shadowsOf(mesh);
  const digests = digestsOf(mesh);
  const rules = new Map(
    mesh.policies.authorization.map((policy) => [
      keyOf({ kind: 'AuthorizationPolicy', ...policy }),
      policy,
    ]),
  );
  const described = reports.map((report) => {
    const key = keyOf(report);
    const own = problems.get(key) ?? [];
    const idle = shadowed.get(key) ?? [];
    const policy = rules.get(key);
    const digest = digests.get(key);
    const count = policy?.rules?.length ?? 0;
    const isIdle = count > 0 && idle.length === count;
    return {
      ...report,
      ...conditionOf(report, {
        problems: own,
        idle: isIdle ? idle : [],
        isDryRun: policy?.isDryRun === true,
      }),
      ...(digest !== undefined && { digest }),
      problems: [...own, ...idle].map(formatProblem),
    };
  });
  return [...described, ...unlisted(problems, new Set(reports.map(keyOf)))];
}

const LISTED_KINDS: ReadonlySet<string> = new Set([...POLICY_KINDS, 'ExternalService']);

/** Refused ones of which nothing holds, and so no placement tells. */
function unlisted(
  problems: ReadonlyMap<string, readonly Problem[]>,
  listed: ReadonlySet<string>,
): readonly (PolicyReport & PolicyCondition)[] {
  return [...problems].flatMap(([key, own]) => {
    const object = own[0]?.object;
    if (listed.has(key) || object === undefined || !LISTED_KINDS.has(object.kind)) return [];
    if (!own.some(({ severity }) => severity === 'error')) return [];
    const { kind, namespace = '', name } = object;
    const named = { kind, namespace, name, enforced: '0/0', isEnforced: false, since: '' };
    const why = own.find(({ severity }) => severity === 'error')?.message ?? '';
    const texts = own.map(formatProblem);
    return [{ ...named, workloads: [], state: 'Refused', isAccepted: false, why, problems: texts }];
  });
}

function conditionOf(
  report: PolicyReport,
  of: {
    readonly problems: readonly Problem[];
    readonly idle: readonly Problem[];
    readonly isDryRun: boolean;
  },
): Pick<PolicyCondition, 'state' | 'isAccepted'> & { readonly why?: string } {
  const { problems, idle, isDryRun } = of;
  const error = problems.find(({ severity }) => severity === 'error');
  const isAccepted = error === undefined;
  if (error !== undefined) return { state: 'Refused', isAccepted, why: error.message };
  const ignoring = problems.find(({ code }) => IGNORING.has(code));
  if (ignoring !== undefined) return { state: 'Ignored', isAccepted, why: ignoring.message };
  const short = problems.filter(({ code }) => SHORTFALLS.has(code)).map(withField);
  const atGrpc = short.length === 0 ? undefined : firstOf(short, 1);
  if (isDryRun) {
    const trial = 'is on trial (dry run): it decides nothing';
    const why = atGrpc === undefined ? trial : `${trial}; ${atGrpc}`;
    return { state: 'Ignored', isAccepted, why };
  }
  const { destinations } = report;
  if (report.workloads.length === 0 && destinations !== undefined && destinations.length > 0) {
    const why = `is for callers of ${destinations.length} destinations, and nobody calls yet`;
    return { state: 'Enforced', isAccepted, why };
  }
  if (report.workloads.length === 0) {
    const why =
      destinations === undefined
        ? 'selects no workload that has a sidecar'
        : 'is for no destination that there is';
    return { state: 'Ignored', isAccepted, why };
  }
  const [first] = idle;
  if (first !== undefined) return { state: 'Shadowed', isAccepted, why: first.message };
  if (report.isEnforced)
    return { state: 'Enforced', isAccepted, ...(atGrpc !== undefined && { why: atGrpc }) };
  const { waiting, unsupported } = missingAt(report.workloads);
  const never = `is not enforced by ${someText(unsupported)}`;
  if (waiting.length === 0) return { state: 'Unsupported', isAccepted, why: never };
  const waits = `waits for ${someText(waiting)}`;
  return {
    state: 'Pending',
    isAccepted,
    why: unsupported.length === 0 ? waits : `${waits}; ${never}`,
  };
}

function someText(workloads: readonly WorkloadEnforcement[]): string {
  const shown = workloads.slice(0, 3).map(waitingText);
  const more = workloads.length > 3 ? ` and ${workloads.length - 3} more` : '';
  return `${shown.join(', ')}${more}`;
}

function groupByObject(problems: readonly Problem[]): ReadonlyMap<string, readonly Problem[]> {
  const groups = new Map<string, Problem[]>();
  for (const problem of problems) {
    if (problem.object === undefined) continue;
    const key = keyOf({ namespace: '', ...problem.object });
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [problem]);
    else group.push(problem);
  }
  return groups;
}

function shadowsOf(mesh: Mesh): ReadonlyMap<string, readonly Problem[]> {
  const known = shadows.get(mesh);
  if (known !== undefined) return known;
  const { policies, settings } = mesh;
  const judged = policies.authorization.filter(({ targetRefs }) => targetRefs.length === 0);
  const found = groupByObject(findShadowed(judged, settings.rootNamespace, MAX_PAIRS));
  shadows.set(mesh, found);
  return found;
}

function digestsOf({ policies }: Mesh): ReadonlyMap<string, string> {
  const digests = new Map<string, string>();
  for (const policy of policies.authorization) {
    digests.set(keyOf({ kind: 'AuthorizationPolicy', ...policy }), policyDigest(policy));
  }
  for (const policy of policies.peerAuthentication) {
    digests.set(keyOf({ kind: 'PeerAuthentication', ...policy }), policyDigest(policy));
  }
  for (const policy of policies.requestAuthentication) {
    digests.set(keyOf({ kind: 'RequestAuthentication', ...policy }), policyDigest(policy));
  }
  for (const policy of policies.basicAuthentication) {
    digests.set(keyOf({ kind: 'BasicAuthentication', ...policy }), policyDigest(policy));
  }
  for (const policy of policies.terminations ?? []) {
    digests.set(keyOf({ kind: 'TlsTermination', ...policy }), policyDigest(policy));
  }
  for (const policy of policies.traffic) {
    digests.set(keyOf({ kind: 'TrafficPolicy', ...policy }), policyDigest(policy));
  }
  return digests;
}

/** Of the proxies that are connected: how many have acknowledged the rules of now. What is deleted is in none of these. */
export function countCurrent(
  views: Pick<MeshViews, 'mesh' | 'viewFor'>,
  ads: Pick<AdsServer, 'statusOf'>,
): { readonly connected: number; readonly current: number } {
  const { workloads } = views.mesh();
  const connected = new Map<string, boolean>();
  for (const { proxyId, identity, acked } of ads.statusOf('listener', INBOUND_LISTENER)) {
    const workload = workloads.get(proxyId);
    if (workload === undefined) continue;
    const { namespace, name } = workload;
    const view = views.viewFor({ id: proxyId, identity, namespace, workload: name });
    const isCurrent = view.get('listener', INBOUND_LISTENER)?.version === acked;
    connected.set(proxyId, isCurrent || connected.get(proxyId) === true);
  }
  const current = [...connected.values()].filter(Boolean).length;
  return { connected: connected.size, current };
}
