// Decides: rule sets compiled once into closures and an index, asked for every request and every connection.
import { compileCidr, type IpAddress } from '../ip.ts';
import { compileString, compileTemplate, compileValue, type StringTest } from './matchers.ts';
import { type IndexedRule, RuleIndex } from './rule-index.ts';
import type {
  CidrRange,
  HeaderMatcher,
  MetadataMatcher,
  Permission,
  Principal,
  RbacChain,
  RbacPolicy,
  RbacRules,
} from './rbac.ts';

/** What is decided on. On the hot path the proxy's own connection state implements it; nothing is built for it. */
export interface DecisionInput {
  /** The verified peer's `spiffe://…`; `undefined` for a plaintext peer. */
  readonly peerUri: string | undefined;
  readonly sourceIp: IpAddress | undefined;
  readonly remoteIp: IpAddress | undefined;
  readonly destinationIp: IpAddress | undefined;
  /** The workload's port. */
  readonly destinationPort: number;
  /** SNI, lower case; empty when there was none. */
  readonly serverName: string;
  /** `undefined` on TCP, as the next three. */
  readonly method: string | undefined;
  /** Normalised path without query and fragment: see `pathOnly`. */
  readonly path: string | undefined;
  /** Normalised path with its query: what a condition on the header `:path` sees. */
  readonly target: string | undefined;
  readonly authority: string | undefined;
  /** Every value of a header by its lower-case name; `undefined` when it is not there. */
  header(name: string): readonly string[] | undefined;
  /** Dynamic metadata that a filter wrote, by path. */
  metadata(filter: string, path: readonly string[]): unknown;
}

export type VerdictReason =
  | 'no-policy'
  | 'allow-rule'
  | 'deny-rule'
  | 'no-allow-match'
  /** By an external authorizer, or because it could not be asked: rules alone never give this. */
  | 'custom-denied';

export interface Verdict {
  readonly isAllowed: boolean;
  readonly reason: VerdictReason;
  /** The rule that decided, `ns[NS]-policy[NAME]-rule[I]`; absent when none matched. */
  readonly decidedBy: string | undefined;
}

export interface Evaluator {
  decide(input: DecisionInput): Verdict;
  /** The first AUDIT rule that matches, `ns[NS]-policy[NAME]-rule[I]`; it decides nothing. */
  audit(input: DecisionInput): string | undefined;
  /** The rule sets it was made of, for `explain` and the config dump. */
  readonly chain: RbacChain;
  /** What would decide if the policies on trial were in force; absent when there are none. */
  readonly trial: Trial | undefined;
}

export interface Trial extends Pick<Evaluator, 'decide' | 'chain'> {
  /** What the policies on trial add to the chain. */
  readonly candidates: RbacChain;
}

type Test = (input: DecisionInput) => boolean;

const NO_POLICY: Verdict = { isAllowed: true, reason: 'no-policy', decidedBy: undefined };
const NO_ALLOW_MATCH: Verdict = {
  isAllowed: false,
  reason: 'no-allow-match',
  decidedBy: undefined,
};

/** The path as policies see it: up to `?` or `#` (CVE-2020-8595, CVE-2021-39156). */
export function pathOnly(target: string): string {
  for (let at = 0; at < target.length; at++) {
    const code = target.charCodeAt(at);
    if (code === 0x3f || code === 0x23) return target.slice(0, at);
  }
  return target;
}

/**
 * Compiles rule sets. They are asked in order: a DENY that matches denies, an ALLOW set of which nothing matches
 * denies, LOG decides nothing. With no set at all everything is allowed.
 * @param candidates what policies on trial would add (`compileCandidates`).
 */
export function compileRbac(chain: RbacChain, candidates: RbacChain = []): Evaluator {
  const sets = chain.filter((rules) => rules.action !== 'LOG').map(compileRules);
  const logs = chain.filter((rules) => rules.action === 'LOG').map(compileRules);
  return {
    chain,
    trial:
      candidates.length === 0
        ? undefined
        : { ...compileRbac(withCandidates(chain, candidates)), candidates },
    audit(input) {
      for (const log of logs) {
        const found = log.find(input);
        if (found !== undefined) return found.decidedBy;
      }
      return undefined;
    },
    decide(input) {
      let verdict = NO_POLICY;
      for (const set of sets) {
        const found = set.find(input);
        if (set.isDeny) {
          if (found !== undefined) return found;
        } else if (found === undefined) {
          return NO_ALLOW_MATCH;
        } else {
          verdict = found;
        }
      }
      return verdict;
    },
  };
}

/** What would be in force if the candidates were: the rules of today first, so that they name what they already decide. */
function withCandidates(chain: RbacChain, candidates: RbacChain): RbacChain {
  return (['DENY', 'ALLOW'] as const).flatMap((action): RbacRules[] => {
    const sets = [...chain, ...candidates].filter((rules) => rules.action === action);
    return sets.length === 0 ? [] : [{ action, policies: sets.flatMap((set) => set.policies) }];
  });
}

interface CompiledPolicy extends IndexedRule {
  readonly verdict: Verdict;
}

interface CompiledRules {
  readonly isDeny: boolean;
  find(input: DecisionInput): Verdict | undefined;
}

/** Indexed, so that a decision costs the same with ten rules and with ten thousand of which few can concern the request. */
function compileRules(rules: RbacRules): CompiledRules {
  const isDeny = rules.action === 'DENY';
  const index = new RuleIndex<CompiledPolicy>();
  rules.policies.forEach((policy, at) => {
    const compiled: CompiledPolicy = {
      index: at,
      test: compilePolicy(policy, isDeny),
      verdict: {
        isAllowed: !isDeny,
        reason: isDeny ? 'deny-rule' : 'allow-rule',
        decidedBy: policy.name,
      },
    };
    index.add(compiled, policy);
  });
  return { isDeny, find: (input) => index.find(input)?.verdict };
}

/** One permission and one principal must match (rbac.proto, Policy). */
function compilePolicy(policy: RbacPolicy, isDeny: boolean): Test {
  const permission = anyOf(policy.permissions.map((item) => compilePermission(item, isDeny)));
  const principal = anyOf(policy.principals.map((item) => compilePrincipal(item)));
  return (input) => permission(input) && principal(input);
}

function anyOf(tests: readonly Test[]): Test {
  const [only, ...more] = tests;
  if (only !== undefined && more.length === 0) return only;
  return (input) => {
    for (const test of tests) if (test(input)) return true;
    return false;
  };
}

function allOf(tests: readonly Test[]): Test {
  const [only, ...more] = tests;
  if (only !== undefined && more.length === 0) return only;
  return (input) => {
    for (const test of tests) if (!test(input)) return false;
    return true;
  };
}

/** @param isWide whether matching more is the safe side here: in a DENY, turned round by every `not`. */
export function compilePermission(permission: Permission, isWide: boolean): Test {
  switch (permission.kind) {
    case 'any':
      return () => true;
    case 'and':
      return allOf(permission.rules.map((rule) => compilePermission(rule, isWide)));
    case 'or':
      return anyOf(permission.rules.map((rule) => compilePermission(rule, isWide)));
    case 'not': {
      const test = compilePermission(permission.rule, !isWide);
      return (input) => !test(input);
    }
    case 'header':
      return compileHeader(permission.header);
    case 'urlPath':
      return pathTest(compileString(permission.path));
    case 'uriTemplate':
      return pathTest(compileTemplate(permission.template, { isWide }));
    case 'destinationIp':
      return ipTest(permission.cidr, (input) => input.destinationIp);
    case 'destinationPort': {
      const { port } = permission;
      return (input) => input.destinationPort === port;
    }
    case 'requestedServerName': {
      const test = compileString(permission.name);
      return (input) => test(input.serverName);
    }
    case 'metadata':
      return compileMetadata(permission.metadata);
    default:
      return permission satisfies never;
  }
}

export function compilePrincipal(principal: Principal): Test {
  switch (principal.kind) {
    case 'any':
      return () => true;
    case 'and':
      return allOf(principal.ids.map(compilePrincipal));
    case 'or':
      return anyOf(principal.ids.map(compilePrincipal));
    case 'not': {
      const test = compilePrincipal(principal.id);
      return (input) => !test(input);
    }
    case 'authenticated': {
      if (principal.name === undefined) return (input) => input.peerUri !== undefined;
      const test = compileString(principal.name);
      return (input) => input.peerUri !== undefined && test(input.peerUri);
    }
    case 'directRemoteIp':
      return ipTest(principal.cidr, (input) => input.sourceIp);
    case 'remoteIp':
      return ipTest(principal.cidr, (input) => input.remoteIp);
    case 'header':
      return compileHeader(principal.header);
    case 'urlPath':
      return pathTest(compileString(principal.path));
    case 'metadata':
      return compileMetadata(principal.metadata);
    default:
      return principal satisfies never;
  }
}

const pathTest =
  (test: StringTest): Test =>
  (input) =>
    input.path !== undefined && test(input.path);

function ipTest(range: CidrRange, of: (input: DecisionInput) => IpAddress | undefined): Test {
  const test = compileCidr(range);
  return (input) => {
    const ip = of(input);
    return ip !== undefined && test(ip);
  };
}

/**
 * Every value of a header is matched by itself and one that matches is enough, for ALLOW and DENY alike: a second
 * value neither hides a denied one nor is mixed with another into an allowed one (CVE-2020-25017, CVE-2026-26308).
 * Values are compared byte for byte as Latin-1 text, so that obs-text never makes a matcher fail (CVE-2026-73552).
 */
function compileHeader(header: HeaderMatcher): Test {
  const { invert } = header;
  const name = header.name.toLowerCase();
  const test = header.match.kind === 'present' ? () => true : compileString(header.match.string);
  if (name === ':method') return single((input) => input.method, test, invert);
  if (name === ':authority' || name === 'host')
    return single((input) => input.authority, test, invert);
  if (name === ':path') return single((input) => input.target, test, invert);
  return (input) => {
    const values = input.header(name);
    return (values !== undefined && values.some(test)) !== invert;
  };
}

const single =
  (of: (input: DecisionInput) => string | undefined, test: StringTest, invert: boolean): Test =>
  (input) => {
    const value = of(input);
    return (value !== undefined && test(value)) !== invert;
  };

function compileMetadata(metadata: MetadataMatcher): Test {
  const test = compileValue(metadata.value);
  const { filter, path, invert } = metadata;
  return (input) => test(input.metadata(filter, path)) !== invert;
}
