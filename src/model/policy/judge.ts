// Judges a call to a port of a workload as its sidecar would: mutual TLS first, then the path, then the rules.
import { believedTrustDomains } from '../mesh/believed-trust-domains.ts';
import type { InboundPort, InboundSpec } from '../mesh/mesh.ts';
import { isHttp } from '../mesh/protocol.ts';
import { findAmbiguity } from './ambiguous-path.ts';
import { compileCandidates, compileCustom, compilePolicies } from './compile.ts';
import { decisionInputOf, type DecisionRequest } from './decision-request.ts';
import { compileRbac, type DecisionInput, type Evaluator, type VerdictReason } from './evaluate.ts';
import { normalizeTarget, type PathRefusal } from './path.ts';
import type { MtlsMode } from './types.ts';

/** One request or connection to a workload's port; `srcPrincipal` is null for a plaintext caller. */
export type Call = DecisionRequest;

export type JudgeReason =
  | VerdictReason
  | PathRefusal
  /** Plaintext at a STRICT port. */
  | 'mtls-required'
  /** A certificate of a trust domain that is not the mesh's. */
  | 'unknown-trust-domain'
  /** Bytes that are no HTTP at a port that is declared as HTTP. */
  | 'not-http'
  | 'method-not-upper-case'
  /** A spelling of a path that this workload refuses. */
  | 'path-ambiguous'
  /** A token of an issuer that no RequestAuthentication names. */
  | 'unknown-issuer';

export interface Judgement {
  readonly isAllowed: boolean;
  readonly reason: JudgeReason;
  /** `ns[NS]-policy[NAME]-rule[I]`. */
  readonly decidedBy: string | undefined;
}

/** An external authorizer that is asked about the call before rules decide, and has to agree. */
export interface AskedAuthorizer {
  readonly provider: string;
  /** The CUSTOM rule that sends it there. */
  readonly rule: string;
}

/** What was judged, besides the outcome: for explanations. */
export interface JudgedCall {
  readonly judgement: Judgement;
  readonly mode: MtlsMode;
  /** Nobody has declared the port: it is TCP, by the workload's own mode. */
  readonly isDeclared: boolean;
  readonly carries: 'http' | 'tcp';
  /** Absent when it was refused before any rule was asked. */
  readonly asked: AskedRules | undefined;
}

export interface AskedRules {
  readonly evaluator: Evaluator;
  readonly input: DecisionInput;
  readonly target: string;
  /** The outcome is theirs where rules allow the call. */
  readonly authorizers: readonly AskedAuthorizer[];
  /** Claims were given, and nothing at the workload reads tokens. */
  readonly isTokenIgnored: boolean;
}

export interface Judge {
  readonly spec: InboundSpec;
  judge(call: Call): JudgedCall;
}

interface Rules {
  readonly evaluator: Evaluator;
  readonly custom: readonly { readonly provider: string; readonly evaluator: Evaluator }[];
}

/** Compiles the workload's rules once. */
export function createJudge(spec: InboundSpec): Judge {
  const { trustDomain, trustDomainAliases, federatedTrustDomains: others } = spec.settings;
  const federated = others && { federatedTrustDomains: others };
  const providers = new Set(spec.authorizers?.map(({ name }) => name));
  const compile = (protocol: 'http' | 'tcp'): Rules => {
    const options = { trustDomain, trustDomainAliases, ...federated, protocol, providers };
    const chain = compilePolicies(spec.policies, spec.broken, options);
    const custom = protocol === 'http' ? compileCustom(spec.policies, options) : [];
    return {
      evaluator: compileRbac(chain, compileCandidates(spec.policies, options)),
      custom: custom.map(({ provider, rules }) => ({ provider, evaluator: compileRbac([rules]) })),
    };
  };
  const rules = { http: compile('http'), tcp: compile('tcp') };
  return { spec, judge: (call) => judgeCall(call, spec, rules) };
}

function judgeCall(
  call: Call,
  spec: InboundSpec,
  rules: Readonly<Record<'http' | 'tcp', Rules>>,
): JudgedCall {
  const declared = spec.ports.find(({ port }) => port === call.port);
  const mode = declared?.mode ?? spec.mode;
  const carries = carriedBy(call, declared, mode);
  const base = { mode, isDeclared: declared !== undefined, carries: carries ?? 'http' } as const;
  const refused = (reason: JudgeReason): JudgedCall => ({
    ...base,
    judgement: { isAllowed: false, reason, decidedBy: undefined },
    asked: undefined,
  });
  /** On a DISABLE port there is no TLS of the mesh's: nobody shows an identity. */
  const srcPrincipal = mode === 'DISABLE' ? null : call.srcPrincipal;
  if (srcPrincipal === null && mode === 'STRICT') return refused('mtls-required');
  if (srcPrincipal !== null && !isOfMesh(srcPrincipal, spec))
    return refused('unknown-trust-domain');
  if (carries === undefined) return refused('not-http');
  const head = carries === 'http' ? readHead(call, spec) : { target: call.path ?? '/' };
  if (head.refusal !== undefined) return refused(head.refusal);
  const { target } = head;
  const { evaluator, custom } = rules[carries];
  const jwt = (spec.tokens?.length ?? 0) > 0 ? (call.jwt ?? null) : null;
  const input = decisionInputOf({ ...call, srcPrincipal, protocol: carries, jwt }, target);
  const { isAllowed, reason, decidedBy } = evaluator.decide(input);
  const authorizers = custom.flatMap(({ provider, evaluator: asks }) => {
    const rule = asks.decide(input).decidedBy;
    return rule === undefined ? [] : [{ provider, rule }];
  });
  const isTokenIgnored = jwt === null && Object.keys(call.jwt ?? {}).length > 0;
  return {
    ...base,
    judgement: { isAllowed, reason, decidedBy },
    asked: { evaluator, input, target, authorizers, isTokenIgnored },
  };
}

interface ReadHead {
  readonly target: string;
  readonly refusal?: JudgeReason;
}

/** What a request's head is answered 400 or 401 for, before rules are asked; else its target as rules see it. */
function readHead(call: Call, { paths, settings, tokens = [] }: InboundSpec): ReadHead {
  const target = call.path ?? '/';
  if (!isUpperCase(call.method ?? 'GET')) return { target, refusal: 'method-not-upper-case' };
  const ambiguity = findAmbiguity(target, paths?.refused ?? []);
  if (ambiguity !== undefined) return { target, refusal: 'path-ambiguous' };
  const normalized = normalizeTarget(target, paths?.normalization ?? settings.pathNormalization);
  if (!normalized.ok) return { target, refusal: normalized.reasonCode };
  const issuer = call.jwt?.['iss'];
  const isListed = tokens.some((rule) => rule.issuer === '' || rule.issuer === issuer);
  if (tokens.length > 0 && issuer !== undefined && !isListed) {
    return { target, refusal: 'unknown-issuer' };
  }
  return { target: normalized.target };
}

/**
 * As the inbound listener chooses its chain. @returns `undefined` when the port takes HTTP alone and this is none:
 * plaintext that is TLS of the application's own passes as TCP, the mesh's own connections do not.
 */
function carriedBy(
  { protocol, srcPrincipal }: Call,
  port: InboundPort | undefined,
  mode: MtlsMode,
): 'http' | 'tcp' | undefined {
  if (port === undefined || port.protocol === 'tcp' || port.protocol === 'tls') return 'tcp';
  if (protocol === 'http' || !isHttp(port.protocol)) return protocol;
  return srcPrincipal === null || mode === 'DISABLE' ? 'tcp' : undefined;
}

const isOfMesh = (principal: string, { settings }: InboundSpec): boolean =>
  believedTrustDomains(settings).some((domain) => principal.startsWith(`${domain}/`));

function isUpperCase(method: string): boolean {
  return method !== '' && method === method.toUpperCase();
}
