// Finds rules whose fields have no meaning on the ports they hold for: HTTP on TCP, identities on plaintext, hosts without ports.
import type { InboundPort, Workload } from '@weft/model/mesh/mesh';
import type {
  AuthorizationPolicy,
  ConditionKey,
  OperationField,
  Rule,
  SourceField,
} from '@weft/model/policy/types';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { someOf, warning } from './warning.ts';

const IDENTITY_FIELDS: ReadonlySet<SourceField> = new Set([
  'principals',
  'namespaces',
  'serviceAccounts',
  'trustDomains',
]);
const HTTP_SOURCES: ReadonlySet<SourceField> = new Set(['requestPrincipals', 'remoteIpBlocks']);
const HTTP_OPERATIONS: ReadonlySet<OperationField> = new Set(['hosts', 'methods', 'paths']);
const IDENTITY_KEYS: ReadonlySet<ConditionKey['kind']> = new Set<ConditionKey['kind']>([
  'source.namespace',
  'source.serviceAccount',
  'source.trustDomain',
  'source.principal',
]);
const HTTP_KEYS: ReadonlySet<ConditionKey['kind']> = new Set<ConditionKey['kind']>([
  'header',
  'remote.ip',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.basic.user',
  'claim',
]);

const TOKEN_KEYS: ReadonlySet<ConditionKey['kind']> = new Set<ConditionKey['kind']>([
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'claim',
]);

/** Each kind of finding once for a rule: the first port that shows it. */
export function findRuleProblems(
  policy: AuthorizationPolicy,
  selected: readonly Workload[],
): readonly Problem[] {
  const rules = policy.rules ?? [];
  const uses = rules.map(usesOf);
  if (!uses.some(({ identity, http }) => identity !== undefined || http !== undefined))
    return rules.flatMap((rule, index) => hostProblems(policy, rule, index));
  const ports = distinctPorts(selected);
  return rules.flatMap((rule, index) => [
    ...portProblems(policy, index, { uses: usesOf(rule), ports: ports.filter(portsOfRule(rule)) }),
    ...hostProblems(policy, rule, index),
  ]);
}

interface Uses {
  readonly identity: string | undefined;
  readonly http: string | undefined;
}

function usesOf(rule: Rule): Uses {
  const sources = (rule.from ?? []).flat();
  const operations = (rule.to ?? []).flat();
  const when = (keys: ReadonlySet<ConditionKey['kind']>): string | undefined =>
    rule.when.find(({ key }) => keys.has(key.kind))?.text;
  return {
    identity: sources.find(({ field }) => IDENTITY_FIELDS.has(field))?.field ?? when(IDENTITY_KEYS),
    http:
      sources.find(({ field }) => HTTP_SOURCES.has(field))?.field ??
      operations.find(({ field }) => HTTP_OPERATIONS.has(field))?.field ??
      when(HTTP_KEYS),
  };
}

/** Without a RequestAuthentication nobody is anybody there: an ALLOW lets nobody in, a DENY keeps nobody out. */
export function tokenProblems(
  policy: AuthorizationPolicy,
  selected: readonly Workload[],
): readonly Problem[] {
  const without = selected.filter(({ isInMesh, inbound }) => isInMesh && !inbound.tokens);
  if (without.length === 0) return [];
  return (policy.rules ?? []).flatMap((rule, index) => {
    const source = (rule.from ?? []).flat().find(({ field }) => field === 'requestPrincipals');
    const used = source?.field ?? rule.when.find(({ key }) => TOKEN_KEYS.has(key.kind))?.text;
    if (used === undefined) return [];
    const pods = someOf(without.map(({ name }) => name));
    const message = `names ${used}, and no RequestAuthentication selects ${pods}: no request has one there`;
    const cure = 'write a RequestAuthentication that selects the same workloads';
    const field = `spec.rules[${index}]`;
    return [warning(refOf(policy), 'identity-without-tokens', { field, message, cure })];
  });
}

/** Likewise without a BasicAuthentication. */
export function loginProblems(
  policy: AuthorizationPolicy,
  selected: readonly Workload[],
): readonly Problem[] {
  const without = selected.filter(({ isInMesh, inbound }) => isInMesh && !inbound.login);
  if (without.length === 0) return [];
  return (policy.rules ?? []).flatMap((rule, index) => {
    if (!rule.when.some(({ key }) => key.kind === 'request.auth.basic.user')) return [];
    const pods = someOf(without.map(({ name }) => name));
    const message = `names request.auth.basic.user, and no BasicAuthentication selects ${pods}: no request has one there`;
    const cure = 'write a BasicAuthentication that selects the same workloads';
    const field = `spec.rules[${index}]`;
    return [warning(refOf(policy), 'user-without-login', { field, message, cure })];
  });
}

export const distinctPorts = (workloads: readonly Workload[]): readonly InboundPort[] =>
  [...new Set(workloads.filter(({ isInMesh }) => isInMesh).map(({ inbound }) => inbound))].flatMap(
    ({ ports }) => ports,
  );

/** A rule whose every operation names ports holds for those alone. */
export function portsOfRule(rule: Rule): (port: InboundPort) => boolean {
  const lists = (rule.to ?? []).map((operation) =>
    operation.find(({ field, values }) => field === 'ports' && values.length > 0),
  );
  if (lists.length === 0 || lists.includes(undefined)) return () => true;
  const named = new Set(lists.flatMap((list) => list?.values ?? []));
  return ({ port }) => named.has(String(port));
}

const refOf = ({ namespace, name }: AuthorizationPolicy): ObjectRef => ({
  kind: 'AuthorizationPolicy',
  namespace,
  name,
});

function portProblems(
  policy: AuthorizationPolicy,
  index: number,
  { uses, ports }: { readonly uses: Uses; readonly ports: readonly InboundPort[] },
): readonly Problem[] {
  const field = `spec.rules[${index}]`;
  const problems: Problem[] = [];
  const plain = ports.find(({ mode }) => mode !== 'STRICT');
  if (uses.identity !== undefined && plain !== undefined) {
    const message = `names ${uses.identity}, and port ${plain.port} takes plaintext (${plain.mode}), where no caller has an identity`;
    const cure = 'require mutual TLS there: a PeerAuthentication with mode STRICT';
    problems.push(warning(refOf(policy), 'identity-on-plaintext', { field, message, cure }));
  }
  const tcp = ports.find(({ protocol }) => protocol === 'tcp' || protocol === 'tls');
  if (uses.http !== undefined && tcp !== undefined) {
    const effect =
      policy.action === 'ALLOW' ? 'the rule allows nothing there' : 'it is left out of the rule';
    const message = `names ${uses.http}, which port ${tcp.port} (${tcp.protocol}) does not have: ${effect}`;
    const cure = 'name the ports it is meant for in `ports`, or declare the port as HTTP';
    problems.push(warning(refOf(policy), 'http-on-tcp', { field, message, cure }));
  }
  return problems;
}

/** `Host: web.shop:80` is the same host, and no match for `web.shop` alone. */
function hostProblems(policy: AuthorizationPolicy, rule: Rule, index: number): readonly Problem[] {
  return (rule.to ?? []).flatMap((operation, at) =>
    operation.flatMap(({ field, values, notValues }) => {
      if (field !== 'hosts') return [];
      const listed = policy.action === 'ALLOW' ? notValues : values;
      const bare = listed.find(
        (host) => !host.includes(':') && !host.endsWith('*') && !listed.includes(`${host}:*`),
      );
      if (bare === undefined) return [];
      const key = policy.action === 'ALLOW' ? 'notHosts' : 'hosts';
      return [
        warning(refOf(policy), 'host-without-port', {
          field: `spec.rules[${index}].to[${at}].operation.${key}`,
          message: `names ${bare}, and a caller may write it with a port`,
          cure: `add ${bare}:*`,
        }),
      ];
    }),
  );
}
