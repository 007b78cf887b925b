// Runs groups of recorded decisions through parser, compiler and evaluator, and says where they differ.
import { parseIp } from '../ip.ts';
import type { Problem } from '../problem.ts';
import { compilePolicies } from './compile.ts';
import {
  compileRbac,
  pathOnly,
  type DecisionInput,
  type Evaluator,
  type Verdict,
} from './evaluate.ts';
import { parseAuthorizationPolicy } from './parse-authorization-policy.ts';
import { normalizeTarget, type PathNormalization } from './path.ts';
import type { PlainObject } from './reader.ts';
import { selectPolicies } from './select.ts';
import type { AuthorizationPolicy } from './types.ts';

/** One group: a workload, its mesh and its policies, and requests with what is expected of them. */
export interface CaseGroup {
  readonly name: string;
  readonly workload: {
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly trustDomainAliases?: readonly string[];
  readonly options?: {
    readonly pathNormalization?: PathNormalization;
    readonly spaceDelimitedClaims?: readonly string[];
  };
  readonly cases: readonly DecisionCase[];
}

export interface DecisionCase {
  readonly name: string;
  readonly request: CaseRequest;
  readonly expect: 'allow' | 'deny';
}

export interface CaseRequest {
  readonly protocol: 'http' | 'tcp';
  /** `TD/ns/NS/sa/SA`; null: a plaintext peer. */
  readonly srcPrincipal: string | null;
  readonly srcIP?: string;
  readonly dstIP?: string;
  readonly port: number;
  readonly sni?: string;
  readonly remoteIP?: string;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** The claims of a valid token. */
  readonly jwt?: PlainObject | null;
  readonly metadata?: Readonly<Record<string, PlainObject>>;
}

export interface CaseResult {
  readonly group: string;
  readonly case: string;
  readonly expect: 'allow' | 'deny';
  readonly actual: 'allow' | 'deny';
  readonly reason: string;
  readonly decidedBy: string | undefined;
}

export interface GroupResult {
  readonly results: readonly CaseResult[];
  /** Policies that were refused; the group's decisions are without them. */
  readonly problems: readonly Problem[];
}

/** Claims that are always lists of words, as Istio has them. */
const SPACE_DELIMITED: readonly string[] = ['scope', 'permission'];

/** @param objects the group's policies, already read from YAML. */
export function evaluateGroup(group: CaseGroup, objects: readonly PlainObject[]): GroupResult {
  const problems: Problem[] = [];
  const policies: AuthorizationPolicy[] = [];
  for (const object of objects) {
    if (object['kind'] !== 'AuthorizationPolicy') continue;
    const parsed = parseAuthorizationPolicy(object);
    if (parsed.ok) policies.push(parsed.value);
    else problems.push(...parsed.problems);
  }
  const { trustDomain, trustDomainAliases = [] } = group;
  const workload = {
    namespace: group.workload.namespace,
    labels: new Map(Object.entries(group.workload.labels)),
  };
  const selected = selectPolicies(policies, workload, group.rootNamespace);
  const evaluatorOf = (protocol: 'http' | 'tcp'): Evaluator =>
    compileRbac(compilePolicies(selected, [], { trustDomain, trustDomainAliases, protocol }));
  const evaluators = { http: evaluatorOf('http'), tcp: evaluatorOf('tcp') };
  const results = group.cases.map(({ name, request, expect }): CaseResult => {
    const verdict = decide(evaluators[request.protocol], request, group);
    const { reason, decidedBy, isAllowed } = verdict;
    return {
      group: group.name,
      case: name,
      expect,
      actual: isAllowed ? 'allow' : 'deny',
      reason,
      decidedBy,
    };
  });
  return { results, problems };
}

type CaseVerdict = Omit<Verdict, 'reason'> & { readonly reason: string };

function decide(evaluator: Evaluator, request: CaseRequest, group: CaseGroup): CaseVerdict {
  const normalized = normalizeTarget(
    request.path ?? '/',
    group.options?.pathNormalization ?? 'BASE',
  );
  if (!normalized.ok)
    return { isAllowed: false, reason: normalized.reasonCode, decidedBy: undefined };
  return evaluator.decide(inputOf(request, normalized.target, group));
}

function inputOf(request: CaseRequest, target: string, group: CaseGroup): DecisionInput {
  const isHttp = request.protocol === 'http';
  const headers = new Map(
    Object.entries(request.headers ?? {}).map(([name, value]) => [
      name.toLowerCase(),
      typeof value === 'string' ? [value] : value,
    ]),
  );
  const claims = splitClaims(
    request.jwt ?? {},
    group.options?.spaceDelimitedClaims ?? SPACE_DELIMITED,
  );
  const metadata: Readonly<Record<string, unknown>> = {
    ...request.metadata,
    'envoy.filters.http.jwt_authn': { payload: claims },
  };
  const ipOf = (text: string | undefined) => (text === undefined ? undefined : parseIp(text));
  return {
    peerUri: request.srcPrincipal === null ? undefined : `spiffe://${request.srcPrincipal}`,
    sourceIp: ipOf(request.srcIP),
    remoteIp: ipOf(request.remoteIP ?? request.srcIP),
    destinationIp: ipOf(request.dstIP),
    destinationPort: request.port,
    serverName: request.sni ?? '',
    method: isHttp ? request.method : undefined,
    path: isHttp ? pathOnly(target) : undefined,
    target: isHttp ? target : undefined,
    authority: isHttp ? request.host : undefined,
    header: (name) => (isHttp ? headers.get(name) : undefined),
    metadata: (filter, path) => valueAt(metadata[filter], path),
  };
}

/** A value by its path through mappings; own properties alone. */
export function valueAt(value: unknown, path: readonly string[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key))
      return undefined;
    current = (current as PlainObject)[key];
  }
  return current;
}

/** Claims that hold several words become lists of them. */
function splitClaims(claims: PlainObject, names: readonly string[]): PlainObject {
  const split: Record<string, unknown> = { ...claims };
  for (const name of [...SPACE_DELIMITED, ...names]) {
    const value = claims[name];
    if (typeof value === 'string') split[name] = value.split(' ').filter((word) => word.length > 0);
  }
  return split;
}
