// Short ways to write policies and requests in tests.
import { parseIp } from '@weft/model/ip';
import { compilePolicies, type BrokenPolicy } from '@weft/model/policy/compile';
import {
  compileRbac,
  pathOnly,
  type DecisionInput,
  type Verdict,
} from '@weft/model/policy/evaluate';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import type { AuthorizationPolicy } from '@weft/model/policy/types';

/** A valid AuthorizationPolicy of namespace `shop`. @throws with the problems when it is not. */
export function policyOf(spec: object, name = 'p', namespace = 'shop'): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.weft.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec: { ...spec },
  });
  if (!parsed.ok) throw new TypeError(JSON.stringify(parsed.problems));
  return parsed.value;
}

export interface RequestSpec {
  readonly peer?: string;
  readonly method?: string;
  readonly target?: string;
  readonly authority?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  readonly port?: number;
  readonly sourceIp?: string;
  readonly serverName?: string;
}

export function httpRequest(spec: RequestSpec): DecisionInput {
  const target = spec.target ?? '/';
  const ip = parseIp(spec.sourceIp ?? '10.0.0.9');
  return {
    peerUri: spec.peer === undefined ? undefined : `spiffe://${spec.peer}`,
    sourceIp: ip,
    remoteIp: ip,
    destinationIp: parseIp('10.0.0.1'),
    destinationPort: spec.port ?? 8080,
    serverName: spec.serverName ?? '',
    method: spec.method ?? 'GET',
    path: pathOnly(target),
    target,
    authority: spec.authority ?? 'web.shop',
    header: (name) => spec.headers?.[name],
    metadata: () => undefined,
  };
}

export function tcpConnection(spec: RequestSpec): DecisionInput {
  const http = httpRequest(spec);
  return {
    ...http,
    method: undefined,
    path: undefined,
    target: undefined,
    authority: undefined,
    header: () => undefined,
  };
}

export function decide(
  policies: readonly AuthorizationPolicy[],
  input: DecisionInput,
  broken: readonly BrokenPolicy[] = [],
): Verdict {
  const protocol = input.method === undefined ? 'tcp' : 'http';
  const options = { trustDomain: 'cluster.local', trustDomainAliases: [], protocol } as const;
  return compileRbac(compilePolicies(policies, broken, options)).decide(input);
}
