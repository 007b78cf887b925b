// The recorded decisions, made ready for the wire: which cases can be carried there, in what mesh, and why others cannot.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isDnsLabel, isDnsSubdomain, parseSpiffeId, partsOf } from '@weft/model/identity';
import { compilePolicies } from '@weft/model/policy/compile';
import type { CaseGroup, CaseRequest, DecisionCase } from '@weft/model/policy/eval-cases';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { selectPolicies } from '@weft/model/policy/select';
import { parseAllDocuments } from 'yaml';
import { createTestKey, jwksOf, seconds, signToken } from './tokens.ts';

export type CorpusGroup = CaseGroup & { readonly policies: string };

const file = join(import.meta.dirname, '../../../shared/conformance/authz-decisions.json');

/** `false`, or why the recorded decisions cannot be run. */
export const corpusSkip: string | false = existsSync(file)
  ? false
  : 'the conformance corpus is not beside this checkout';

/** Empty where the corpus is not at hand. */
export function readCorpusGroups(): readonly CorpusGroup[] {
  if (corpusSkip !== false) return [];
  const groups: readonly CorpusGroup[] = JSON.parse(readFileSync(file, 'utf8'));
  return groups;
}

export function objectsOf(text: string): readonly PlainObject[] {
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter(isPlainObject);
}

export const EXCLUSIONS = {
  metadata: 'no filter of the mesh writes the metadata that the policy reads',
  foreign:
    'the caller is of a foreign trust domain: mutual TLS refuses it before any policy, and naming the domain an alias would change the rules',
} as const;
export type Exclusion = keyof typeof EXCLUSIONS;

/** One group as a mesh with one workload. */
export interface WireGroup {
  readonly group: CorpusGroup;
  /** The group's own, and domains that callers come from where that changes no rule. */
  readonly trustDomainAliases: readonly string[];
  readonly cases: readonly WireCase[];
}

export interface WireCase extends DecisionCase {
  /** Absent: it can be run. */
  readonly excluded: Exclusion | undefined;
}

export function wireGroupOf(group: CorpusGroup): WireGroup {
  const aliases = aliasesFor(group);
  const known = [group.trustDomain, ...aliases];
  return {
    group,
    trustDomainAliases: aliases,
    cases: group.cases.map((one) => ({ ...one, excluded: whyNot(one.request, known) })),
  };
}

function whyNot(request: CaseRequest, known: readonly string[]): Exclusion | undefined {
  if (request.metadata !== undefined && request.metadata !== null) return 'metadata';
  const domain = trustDomainOf(request);
  return domain !== undefined && !known.includes(domain) ? 'foreign' : undefined;
}

const trustDomainOf = ({ srcPrincipal }: CaseRequest): string | undefined =>
  srcPrincipal?.slice(0, srcPrincipal.indexOf('/'));

/** Each domain that callers come from is trusted as long as the rules stay what they are without. */
function aliasesFor(group: CorpusGroup): readonly string[] {
  const own = group.trustDomainAliases ?? [];
  const foreign = new Set(group.cases.flatMap(({ request }) => trustDomainOf(request) ?? []));
  const before = compiled(group, own);
  let aliases = own;
  for (const domain of foreign) {
    if (domain === group.trustDomain || aliases.includes(domain)) continue;
    const more = [...aliases, domain];
    if (isDeepStrictEqual(compiled(group, more), before)) aliases = more;
  }
  return aliases;
}

function compiled(group: CorpusGroup, trustDomainAliases: readonly string[]): unknown {
  const policies = objectsOf(group.policies)
    .map((object) => parseAuthorizationPolicy(object))
    .flatMap((parsed) => (parsed.ok ? [parsed.value] : []));
  const workload = {
    namespace: group.workload.namespace,
    labels: new Map(Object.entries(group.workload.labels)),
  };
  const selected = selectPolicies(policies, workload, group.rootNamespace);
  const { trustDomain } = group;
  return (['http', 'tcp'] as const).map((protocol) =>
    compilePolicies(selected, [], { trustDomain, trustDomainAliases, protocol }),
  );
}

/** A workload that calls, by its sidecar. */
export interface PairCaller {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: string;
}

/**
 * Who makes the call of a case by a sidecar of its own. `undefined`: it is made by hand, with the caller's certificate
 * where it has one, because no sidecar would send it like this: in plaintext, from an address or with a server name of
 * the case's choice, or by a caller that is no ServiceAccount of this mesh.
 */
export function pairCallerOf(group: CorpusGroup, request: CaseRequest): PairCaller | undefined {
  const { srcPrincipal, srcIP, sni, dstIP } = request;
  if (srcPrincipal === null || sni !== undefined || dstIP !== undefined) return undefined;
  if (group.policies.includes('connection.sni')) return undefined;
  if (srcIP !== undefined && srcIP !== '127.0.0.1') return undefined;
  const id = parseSpiffeId(`spiffe://${srcPrincipal}`);
  const parts = id === undefined ? undefined : partsOf(id);
  if (parts === undefined || parts.trustDomain !== group.trustDomain) return undefined;
  const { namespace, serviceAccount } = parts;
  if (!isDnsLabel(namespace) || !isDnsSubdomain(serviceAccount)) return undefined;
  return { namespace, serviceAccount, pod: `caller-${serviceAccount}` };
}

/** Every caller of a group once. */
export function pairCallersOf(wire: WireGroup): readonly PairCaller[] {
  const callers = new Map<string, PairCaller>();
  for (const { request, excluded } of wire.cases) {
    const caller = excluded === undefined ? pairCallerOf(wire.group, request) : undefined;
    if (caller !== undefined) callers.set(`${caller.namespace}/${caller.pod}`, caller);
  }
  return [...callers.values()];
}

/** Where the workload of a case answers, unless the case says. */
export const destinationOf = (request: CaseRequest, otherwise: string): string =>
  request.dstIP ?? otherwise;

export const WORKLOAD_ACCOUNT = 'app';
export const WORKLOAD_SERVICE = 'workload';

const TOKEN_TTL_S = 3_600;
const tokenKey = createTestKey('ES256', 'conformance');

/** A token with the claims of a case, as its issuer would sign it. */
export function tokenOf(request: CaseRequest): string | undefined {
  const { jwt } = request;
  if (jwt === undefined || jwt === null) return undefined;
  return signToken(tokenKey, { ...jwt, exp: seconds(TOKEN_TTL_S) });
}

/** Trusts every issuer that a group's tokens are of, because the cases have valid ones alone. */
function requestAuthenticationOf(group: CorpusGroup): readonly object[] {
  const issuers = new Set(group.cases.flatMap(({ request }) => request.jwt?.['iss'] ?? []));
  if (issuers.size === 0) return [];
  const { spaceDelimitedClaims } = group.options ?? {};
  const rest = { jwks: jwksOf(tokenKey), ...(spaceDelimitedClaims && { spaceDelimitedClaims }) };
  return [
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'RequestAuthentication',
      metadata: { name: 'tokens', namespace: group.workload.namespace },
      spec: { jwtRules: [...issuers].map((issuer) => ({ issuer, ...rest })) },
    },
  ];
}

/** Pod, Service, settings and policies of one group. */
export function manifestOf(
  wire: WireGroup,
  pod: { readonly name: string; readonly ips: readonly string[] },
  callers: readonly (PairCaller & { readonly ip: string })[] = [],
): string {
  const { group, trustDomainAliases } = wire;
  const { namespace, labels } = group.workload;
  const ports = portsOf(group);
  const documents = [
    {
      apiVersion: 'mesh.weft.dev/v1',
      kind: 'MeshConfig',
      metadata: { name: 'mesh' },
      spec: {
        trustDomainAliases,
        trustedHops: 1,
        pathNormalization: group.options?.pathNormalization ?? 'BASE',
      },
    },
    podOf({
      metadata: { name: pod.name, namespace, labels },
      serviceAccount: WORKLOAD_ACCOUNT,
      ports: [...ports.keys()],
      ips: pod.ips,
    }),
    ...callers.map(({ pod: name, namespace: home, serviceAccount, ip }) =>
      podOf({ metadata: { name, namespace: home }, serviceAccount, ports: [], ips: [ip] }),
    ),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: WORKLOAD_SERVICE, namespace },
      spec: {
        selector: labels,
        ports: [...ports].map(([port, name]) => ({ name, port, targetPort: port })),
      },
    },
    ...requestAuthenticationOf(group),
  ];
  return [...documents.map((document) => JSON.stringify(document)), group.policies].join('\n---\n');
}

const podOf = (pod: {
  readonly metadata: object;
  readonly serviceAccount: string;
  readonly ports: readonly number[];
  readonly ips: readonly string[];
}): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: pod.metadata,
  spec: {
    serviceAccountName: pod.serviceAccount,
    containers: [{ name: 'app', ports: pod.ports.map((port) => ({ containerPort: port })) }],
  },
  status: { phase: 'Running', podIP: pod.ips[0], podIPs: pod.ips.map((ip) => ({ ip })) },
});

/** The Service port's name by the workload's port: one that carries both is told by its first bytes. */
export function portsOf(group: CorpusGroup): ReadonlyMap<number, string> {
  const protocols = new Map<number, Set<string>>();
  for (const { request } of group.cases) {
    const known = protocols.get(request.port) ?? new Set();
    protocols.set(request.port, known.add(request.protocol));
  }
  return new Map(
    [...protocols].map(([port, names]) => [
      port,
      names.size > 1 ? `auto-${port}` : `${[...names].join('')}-${port}`,
    ]),
  );
}
