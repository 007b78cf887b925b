// Who may call what: every caller against every port of every kind of workload, judged on the requests that tell rules apart.
import { isHttp } from '../mesh/protocol.ts';
import type { InboundPort, InboundSpec, Mesh, Workload } from '../mesh/mesh.ts';
import { listCallers, type Caller } from './callers.ts';
import { createJudge, type Judge } from './judge.ts';
import { ANY_OTHER, representRequests, type Representative } from './representatives.ts';

export interface MatrixCell {
  readonly from: string;
  /** `some`: it depends on the request. */
  readonly may: 'all' | 'some' | 'none';
  /** With `some`: what is allowed, `GET /a`. */
  readonly allowed: readonly string[];
}

export interface MatrixRow {
  /** `POD.NAMESPACE` of all that let in the same. */
  readonly workloads: readonly string[];
  readonly port: number;
  readonly protocol: InboundPort['protocol'];
  readonly mode: InboundPort['mode'];
  readonly cells: readonly MatrixCell[];
}

export interface Matrix {
  readonly rows: readonly MatrixRow[];
  /** Not every combination of what rules name was tried. */
  readonly isCut: boolean;
}

/** About twenty seconds of judging. */
const MAX_DECISIONS = 4_000_000;

export function compileMatrix(mesh: Mesh): Matrix {
  const callers = listCallers([mesh], mesh.policies.authorization);
  let isCut = false;
  let decisions = 0;
  const rows = [...groupBySpec(mesh)].flatMap(([spec, workloads]) => {
    const judge = createJudge(spec);
    const represented = representRequests(spec.policies);
    isCut ||= represented.isCut;
    return spec.ports.flatMap((port): readonly MatrixRow[] => {
      const requests = requestsFor(port, represented.requests);
      decisions += requests.length * callers.length;
      if (decisions > MAX_DECISIONS) {
        isCut = true;
        return [];
      }
      const row: MatrixRow = {
        workloads: workloads.map(({ id }) => id),
        port: port.port,
        protocol: port.protocol,
        mode: port.mode,
        cells: callers.map((caller) => cellOf(judge, { port, caller, requests })),
      };
      return [row];
    });
  });
  return { rows, isCut };
}

/** Workloads without a sidecar enforce nothing and have no row. */
export function groupBySpec(
  mesh: Pick<Mesh, 'workloads'>,
): ReadonlyMap<InboundSpec, readonly Workload[]> {
  const groups = new Map<InboundSpec, Workload[]>();
  for (const workload of mesh.workloads.values()) {
    if (!workload.isInMesh) continue;
    const group = groups.get(workload.inbound);
    if (group === undefined) groups.set(workload.inbound, [workload]);
    else group.push(workload);
  }
  return groups;
}

/** On TCP one connection is as any other. */
export function requestsFor(
  { protocol }: Pick<InboundPort, 'protocol'>,
  requests: readonly Representative[],
): readonly Representative[] {
  if (isHttp(protocol) || protocol === 'auto') return requests;
  const byExtra = new Map(requests.map((request) => [request.extra, request]));
  return [...byExtra.values()].filter(
    ({ extra }) => extra.shown === '' || extra.srcIP !== undefined || extra.sni !== undefined,
  );
}

export interface Asked {
  readonly port: Pick<InboundPort, 'port'>;
  readonly caller: Caller;
  readonly request: Representative;
}

export function mayCall(judge: Judge, { port, caller, request }: Asked): boolean {
  const { extra, method, path } = request;
  const { shown: _, ...attributes } = extra;
  const call = { protocol: 'http', srcPrincipal: caller.principal, port: port.port } as const;
  const host = { host: ANY_OTHER };
  return judge.judge({ ...call, method, path, ...host, ...attributes }).judgement.isAllowed;
}

function cellOf(
  judge: Judge,
  of: {
    readonly port: InboundPort;
    readonly caller: Caller;
    readonly requests: readonly Representative[];
  },
): MatrixCell {
  const { port, caller, requests } = of;
  const allowed = requests.filter((request) => mayCall(judge, { port, caller, request }));
  const may = allowed.length === 0 ? 'none' : allowed.length === requests.length ? 'all' : 'some';
  return {
    from: caller.shown,
    may,
    allowed: may === 'some' ? summarize(allowed, requests) : [],
  };
}

/** `GET, POST /a`, and `/a` where every method of it is meant; what an extra changes nothing about is said without it. */
export function summarize(
  chosen: readonly Representative[],
  all: readonly Representative[],
): readonly string[] {
  const extras = new Set(all.map(({ extra }) => extra));
  const methods = new Set(all.map(({ shown }) => shown.method));
  const plain = textsOf(
    chosen.filter(({ extra }) => extra.shown === ''),
    methods,
  );
  const known = new Set(plain);
  const more = [...extras].flatMap((extra) => {
    if (extra.shown === '') return [];
    const own = textsOf(
      chosen.filter((request) => request.extra === extra),
      methods,
    );
    return own.filter((text) => !known.has(text)).map((text) => `${text} ${extra.shown}`);
  });
  return [...plain, ...new Set(more)];
}

function textsOf(
  chosen: readonly Representative[],
  methods: ReadonlySet<string>,
): readonly string[] {
  const byPath = new Map<string, Set<string>>();
  for (const { shown } of chosen) {
    byPath.set(shown.path, (byPath.get(shown.path) ?? new Set()).add(shown.method));
  }
  return [...byPath].map(([path, own]) =>
    own.size === methods.size ? path : `${[...own].join(', ')} ${path}`,
  );
}
