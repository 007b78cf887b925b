// Which calls become allowed or denied between two versions of a mesh, judged on the requests that tell both apart.
import type { InboundPort, InboundSpec, Mesh, Workload } from '../mesh/mesh.ts';
import { listCallers, type Caller } from './callers.ts';
import { createJudge, type Judge } from './judge.ts';
import { mayCall, requestsFor, summarize } from './matrix.ts';
import { representRequests, type Representative } from './representatives.ts';

export interface CallChange {
  readonly from: string;
  /** `POD.NAMESPACE` of all of which it is true. */
  readonly workloads: readonly string[];
  readonly port: number;
  readonly becomes: 'allowed' | 'denied';
  /** `GET /a`; `everything` where all requests of this caller change. */
  readonly calls: readonly string[];
}

export interface PolicyDiff {
  readonly changes: readonly CallChange[];
  /** In one of the two alone; their calls are not compared. */
  readonly onlyOld: readonly string[];
  readonly onlyNew: readonly string[];
  /** Decisions that were compared. */
  readonly compared: number;
  /** Not every combination of what rules name was tried. */
  readonly isCut: boolean;
}

/** About ten seconds of judging. */
const MAX_DECISIONS = 2_000_000;

interface Pair {
  readonly before: InboundSpec;
  readonly after: InboundSpec;
  readonly workloads: readonly string[];
}

interface Found {
  readonly changes: CallChange[];
  compared: number;
  isCut: boolean;
}

export function diffMeshes(before: Mesh, after: Mesh): PolicyDiff {
  const named = [...before.policies.authorization, ...after.policies.authorization];
  const callers = listCallers([before, after], named);
  const found: Found = { changes: [], compared: 0, isCut: false };
  for (const pair of pairsOf(before, after)) comparePair(pair, callers, found);
  const missing = (one: Mesh, other: Mesh): readonly string[] =>
    [...one.workloads.values()]
      .filter(({ id, isInMesh }) => isInMesh && other.workloads.get(id)?.isInMesh !== true)
      .map(({ id }) => id);
  return {
    changes: found.changes,
    onlyOld: missing(before, after),
    onlyNew: missing(after, before),
    compared: found.compared,
    isCut: found.isCut,
  };
}

/** Workloads that were alike and still are, together. */
function pairsOf(before: Mesh, after: Mesh): readonly Pair[] {
  const pairs = new Map<InboundSpec, Map<InboundSpec, Workload[]>>();
  for (const workload of after.workloads.values()) {
    const old = before.workloads.get(workload.id);
    if (old === undefined || !old.isInMesh || !workload.isInMesh) continue;
    const byNew = pairs.get(old.inbound) ?? new Map<InboundSpec, Workload[]>();
    pairs.set(old.inbound, byNew);
    const group = byNew.get(workload.inbound);
    if (group === undefined) byNew.set(workload.inbound, [workload]);
    else group.push(workload);
  }
  return [...pairs].flatMap(([old, byNew]) =>
    [...byNew].map(([now, group]) => ({
      before: old,
      after: now,
      workloads: group.map(({ id }) => id),
    })),
  );
}

function comparePair(pair: Pair, callers: readonly Caller[], found: Found): void {
  const { before, after, workloads } = pair;
  const represented = representRequests([...before.policies, ...after.policies]);
  found.isCut ||= represented.isCut;
  const judges = { before: createJudge(before), after: createJudge(after) };
  for (const port of portsOf(before, after)) {
    const requests = requestsFor(port, represented.requests);
    for (const caller of callers) {
      if (found.compared + requests.length > MAX_DECISIONS) {
        found.isCut = true;
        return;
      }
      found.compared += requests.length;
      const changes = compareCaller(judges, { port, caller, requests });
      found.changes.push(...changes.map((change) => ({ ...change, workloads, port: port.port })));
    }
  }
}

/** Declared in either; one that speaks HTTP in either is asked with HTTP. */
function portsOf(before: InboundSpec, after: InboundSpec): readonly InboundPort[] {
  const ports = new Map(before.ports.map((port) => [port.port, port]));
  for (const port of after.ports) ports.set(port.port, port);
  return [...ports.values()].sort((a, b) => a.port - b.port);
}

function compareCaller(
  judges: { readonly before: Judge; readonly after: Judge },
  of: {
    readonly port: InboundPort;
    readonly caller: Caller;
    readonly requests: readonly Representative[];
  },
): readonly Omit<CallChange, 'workloads' | 'port'>[] {
  const { port, caller, requests } = of;
  const opened: Representative[] = [];
  const closed: Representative[] = [];
  for (const request of requests) {
    const was = mayCall(judges.before, { port, caller, request });
    const is = mayCall(judges.after, { port, caller, request });
    if (was !== is) (is ? opened : closed).push(request);
  }
  return (['allowed', 'denied'] as const).flatMap((becomes) => {
    const changed = becomes === 'allowed' ? opened : closed;
    if (changed.length === 0) return [];
    const calls =
      changed.length === requests.length ? ['everything'] : summarize(changed, requests);
    return [{ from: caller.shown, becomes, calls }];
  });
}
