// The rules of a gRPC server without a proxy, and what of the policies behind them it closes or does not enforce: one truth for both.
import type { InboundSpec, MeshSettings } from '@weft/model/mesh/mesh';
import { ambiguousPathRules } from '@weft/model/policy/ambiguous-path';
import { compileCustom, compilePolicies } from '@weft/model/policy/compile';
import type {
  Permission,
  Principal,
  RbacPolicy,
  RbacRules,
  StringMatcher,
} from '@weft/model/policy/rbac';
import { type Named, ruleName } from '@weft/model/policy/rule-name';
import type { TokenRule } from '@weft/model/policy/token-rules';
import type { PolicyPlacement } from '../../compile/policy-placements.ts';
import type { GrpcLibrary } from '../../serve/view-source.ts';
import { type ClosedRule, grpcRules } from './grpc-rules.ts';

/** What the names of rules begin with that stand for what a gRPC server cannot do. */
const UNSUPPORTED_RULES = 'weft-unsupported';

/** What a gRPC server does otherwise than a policy that holds for it says. */
export interface Shortfall {
  readonly kind: Exclude<PolicyPlacement['kind'], 'ExternalService'>;
  /** Absent: every one of the kind that selects the workload. */
  readonly policy?: Named;
  /** `spec.rules[0]`; absent: all of it. */
  readonly field?: string;
  /** `closed`: fewer calls pass than it says. `unenforced`: what it says is not done. */
  readonly effect: 'closed' | 'unenforced';
  /** `denies more than it says`. */
  readonly what: string;
  readonly why: string;
}

export interface ServerRules {
  /** Every one must let a call pass. */
  readonly sets: readonly RbacRules[];
  readonly shortfalls: readonly Shortfall[];
}

/** A set as it is written, before it is said in what gRPC knows. */
interface Written {
  readonly rules: RbacRules;
  /** What it closes, being there at all. */
  readonly closes?: readonly Shortfall[];
}

export function serverRules(spec: InboundSpec, library: GrpcLibrary): ServerRules {
  const { trustDomain, trustDomainAliases, trustedHops } = spec.settings;
  const providers = new Set(spec.authorizers?.map(({ name }) => name));
  const options = { trustDomain, trustDomainAliases, protocol: 'http', providers } as const;
  const custom = compileCustom(spec.policies, options).map(({ rules }) => rules);
  const refused = spec.paths?.refused ?? [];
  const ruleOf = rulesByName(spec);
  const written: readonly Written[] = [
    ...(refused.length === 0 ? [] : [{ rules: ambiguousPathRules(refused) }]),
    ...withoutLogin(spec),
    // Nobody is asked: what somebody else was to decide is denied.
    ...custom.map((rules) => ({ rules, closes: rules.policies.flatMap(unasked(ruleOf)) })),
    ...withoutTokens(spec.tokens ?? []),
    ...compilePolicies(spec.policies, spec.broken, options).map((rules) => ({ rules })),
  ];
  const isJudged = ({ rules }: Written): boolean => rules.action !== 'LOG';
  const read = written.filter(isJudged).map(({ rules, closes = [] }) => {
    const said = grpcRules(rules, { seesContentType: library === 'go', trustedHops });
    const closed = said.closed.flatMap(closedRule(rules.action, ruleOf));
    const shortfalls = [...closes, ...closed, ...strangers(rules, spec.settings, ruleOf)];
    return { rules: said.rules, shortfalls };
  });
  const audits = written.filter((one) => !isJudged(one)).flatMap(({ rules }) => rules.policies);
  const sets = read.map(({ rules }) => rules);
  return {
    sets: sets.length === 0 ? [] : [ODD_PATHS, ...sets],
    shortfalls: [
      ...read.flatMap(({ shortfalls }) => shortfalls),
      ...audits.flatMap(unmarked(ruleOf)),
      ...withoutProxy(spec),
    ],
  };
}

interface WrittenRule {
  readonly policy: Named;
  readonly field: string;
}
type RuleOf = (name: string) => readonly WrittenRule[];

/** Several objects may have one name (of two groups): their rules are told apart by what is behind it. */
const COPY = '-copy[';

function rulesByName({ policies }: InboundSpec): RuleOf {
  const rules = new Map<string, WrittenRule>();
  for (const policy of policies) {
    const { namespace, name } = policy;
    for (const index of (policy.rules ?? []).keys()) {
      const field = `spec.rules[${index}]`;
      rules.set(ruleName(policy, index), { policy: { namespace, name }, field });
    }
  }
  return (name) => {
    const found = rules.get(name) ?? rules.get(name.split(COPY, 1)[0] ?? name);
    return found === undefined ? [] : [found];
  };
}

const ruleShortfall = (
  rule: WrittenRule,
  told: Pick<Shortfall, 'effect' | 'what' | 'why'>,
): Shortfall => ({ kind: 'AuthorizationPolicy', ...rule, ...told });

const unasked =
  (ruleOf: RuleOf) =>
  ({ name }: RbacPolicy): readonly Shortfall[] =>
    ruleOf(name).map((rule) =>
      ruleShortfall(rule, {
        effect: 'closed',
        what: 'denies all that it names',
        why: 'no authorizer is asked',
      }),
    );

const unmarked =
  (ruleOf: RuleOf) =>
  ({ name }: RbacPolicy): readonly Shortfall[] =>
    ruleOf(name).map((rule) =>
      ruleShortfall(rule, {
        effect: 'unenforced',
        what: 'marks nothing',
        why: 'there is no access log',
      }),
    );

const closedRule =
  (action: RbacRules['action'], ruleOf: RuleOf) =>
  ({ name, why }: ClosedRule): readonly Shortfall[] =>
    ruleOf(name).map((rule) =>
      ruleShortfall(rule, {
        effect: 'closed',
        what: action === 'ALLOW' ? 'allows less than it says' : 'denies more than it says',
        why: someReasons(why),
      }),
    );

/** Whoever is of another trust domain is refused before all rules; what a DENY says of them is true all the same. */
function strangers(
  { action, policies }: RbacRules,
  { federatedTrustDomains = [] }: MeshSettings,
  ruleOf: RuleOf,
): readonly Shortfall[] {
  if (action !== 'ALLOW' || federatedTrustDomains.length === 0) return [];
  const prefixes = federatedTrustDomains.map((name) => `spiffe://${name}/`);
  const told = { effect: 'closed', what: 'allows less than it says', why: STRANGERS } as const;
  return policies
    .filter(({ principals }) => principals.some((one) => namesAny(one, prefixes)))
    .flatMap(({ name }) => ruleOf(name).map((rule) => ruleShortfall(rule, told)));
}

const STRANGERS = 'callers of other trust domains are refused';

function namesAny(principal: Principal, prefixes: readonly string[]): boolean {
  switch (principal.kind) {
    case 'and':
    case 'or':
      return principal.ids.some((one) => namesAny(one, prefixes));
    case 'authenticated': {
      const beginning = beginningOf(principal.name);
      return prefixes.some((prefix) => beginning.startsWith(prefix));
    }
    default:
      return false;
  }
}

/** What all texts begin with that it matches. */
function beginningOf(name: StringMatcher | undefined): string {
  if (name?.kind === 'exact' || name?.kind === 'prefix') return name.value;
  const [first] = name?.kind === 'glob' ? name.parts : [];
  return first?.kind === 'literal' ? first.text : '';
}

/** A rule may name hundreds of headers. */
const MAX_REASONS = 3;

function someReasons(why: readonly string[]): string {
  const shown = why.slice(0, MAX_REASONS).join(', and ');
  return why.length > MAX_REASONS ? `${shown}, and ${why.length - MAX_REASONS} more` : shown;
}

/** What is done by proxies alone, and no rule could say. */
function withoutProxy(spec: InboundSpec): readonly Shortfall[] {
  const { policies, traffic, terminations = [], mode, ports } = spec;
  const trials = policies.filter(({ isDryRun }) => isDryRun);
  const isTrafficRuled =
    traffic !== undefined &&
    (traffic.floods !== undefined ||
      traffic.limits !== undefined ||
      traffic.faults.length + traffic.throttling.length > 0);
  const isPermissive = [mode, ...ports.map((port) => port.mode)].includes('PERMISSIVE');
  return [
    ...trials.map(({ namespace, name }) => ({
      kind: 'AuthorizationPolicy' as const,
      policy: { namespace, name },
      effect: 'unenforced' as const,
      what: 'is on trial, and what it would decide is not counted',
      why: 'nobody tries rules there',
    })),
    ...(isTrafficRuled ? traffic.sources : []).map((source) => ({
      kind: 'TrafficPolicy' as const,
      policy: namedOf(source),
      effect: 'unenforced' as const,
      what: 'holds back, limits and disturbs nothing',
      why: 'faults, throttling, floods and limits are the work of a proxy',
    })),
    ...terminations.map(({ namespace, name }) => ({
      kind: 'TlsTermination' as const,
      policy: { namespace, name },
      effect: 'unenforced' as const,
      what: 'is not served',
      why: 'mutual TLS of the mesh is all that is spoken, and clients outside are refused',
    })),
    ...(isPermissive ? [PERMISSIVE] : []),
  ];
}

const PERMISSIVE: Shortfall = {
  kind: 'PeerAuthentication',
  effect: 'closed',
  what: 'refuses plaintext where it is PERMISSIVE',
  why: 'TLS and plaintext cannot be told apart',
};

/** Of `NAMESPACE/NAME`. */
function namedOf(source: string): Named {
  const [namespace = '', name = ''] = source.split('/');
  return { namespace, name };
}

/**
 * A call's path is `/SERVICE/METHOD`, and rules are asked about it as it came. What rules and whoever serves any method
 * could read differently (a query, other spellings of a path) is nobody's method, and denied where there are rules.
 */
const ODD_PATHS: RbacRules = {
  action: 'DENY',
  policies: [
    {
      name: `${UNSUPPORTED_RULES}-paths`,
      permissions: [
        ...['?', '#', '%', '\\', '//', '/./', '/../'].map(
          (value): Permission => ({
            kind: 'urlPath',
            path: { kind: 'contains', value, ignoreCase: false },
          }),
        ),
        // Some versions of grpc-go call the method all the same (CVE-2026-33186).
        {
          kind: 'not',
          rule: { kind: 'urlPath', path: { kind: 'prefix', value: '/', ignoreCase: false } },
        },
      ],
      principals: [{ kind: 'any' }],
    },
  ],
};

const NOBODY: RbacRules = { action: 'ALLOW', policies: [] };

/** Nobody asks for names and passwords there. */
function withoutLogin({ login }: InboundSpec): readonly Written[] {
  if (login === undefined) return [];
  const shortfall: Shortfall = {
    kind: 'BasicAuthentication',
    policy: namedOf(login.source),
    effect: 'closed',
    what: 'lets nobody in',
    why: 'nobody is asked for name and password',
  };
  return [{ rules: NOBODY, closes: [shortfall] }];
}

/** Tokens cannot be checked there: a call that brings one where one is looked for is denied, as if it were bad. */
function withoutTokens(tokens: readonly TokenRule[]): readonly Written[] {
  const permissions = tokens.flatMap(tokenPlaces);
  if (permissions.length === 0) return [];
  const policy = {
    name: `${UNSUPPORTED_RULES}-tokens`,
    permissions,
    principals: [{ kind: 'any' as const }],
  };
  return [{ rules: { action: 'DENY', policies: [policy] }, closes: [UNCHECKED] }];
}

const UNCHECKED: Shortfall = {
  kind: 'RequestAuthentication',
  effect: 'closed',
  what: 'denies every call with a token',
  why: 'nobody checks tokens',
};

function tokenPlaces({ fromHeaders, fromParams, fromCookies }: TokenRule): readonly Permission[] {
  const contains = (value: string) =>
    ({ kind: 'string', string: { kind: 'contains', value, ignoreCase: true } }) as const;
  const header = (name: string, value: string): Permission => ({
    kind: 'header',
    header: { name, match: value === '' ? { kind: 'present' } : contains(value), invert: false },
  });
  return [
    ...fromHeaders.map(({ name, prefix }) => header(name, prefix.trim())),
    ...fromCookies.map((name) => header('cookie', `${name}=`)),
    ...fromParams.map(
      (name): Permission => ({ kind: 'urlPath', path: contains(`${name}=`).string }),
    ),
  ];
}
