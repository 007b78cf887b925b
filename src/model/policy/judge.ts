// Judges a call to a port of a workload as its sidecar would: mutual TLS first, then the path, then the rules.
import type { InboundPort, InboundSpec } from '../mesh/mesh.ts';
import { isHttp } from '../mesh/protocol.ts';
import { compilePolicies } from './compile.ts';
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
  | 'method-not-upper-case';

export interface Judgement {
  readonly isAllowed: boolean;
  readonly reason: JudgeReason;
  /** `ns[NS]-policy[NAME]-rule[I]`. */
  readonly decidedBy: string | undefined;
}

/** What was judged, besides the outcome: for explanations. */
export interface JudgedCall {
  readonly judgement: Judgement;
  readonly mode: MtlsMode;
  /** Nobody has declared the port: it is TCP, by the workload's own mode. */
  readonly isDeclared: boolean;
  readonly carries: 'http' | 'tcp';
  /** Absent when it was refused before any rule was asked. */
  readonly asked:
    | { readonly evaluator: Evaluator; readonly input: DecisionInput; readonly target: string }
    | undefined;
}

export interface Judge {
  readonly spec: InboundSpec;
  judge(call: Call): JudgedCall;
}

/** Compiles the workload's rules once. */
export function createJudge(spec: InboundSpec): Judge {
  const { trustDomain, trustDomainAliases } = spec.settings;
  const compile = (protocol: 'http' | 'tcp'): Evaluator =>
    compileRbac(
      compilePolicies(spec.policies, spec.broken, { trustDomain, trustDomainAliases, protocol }),
    );
  const evaluators = { http: compile('http'), tcp: compile('tcp') };
  return { spec, judge: (call) => judgeCall(call, spec, evaluators) };
}

function judgeCall(
  call: Call,
  spec: InboundSpec,
  evaluators: Readonly<Record<'http' | 'tcp', Evaluator>>,
): JudgedCall {
  const declared = spec.ports.find(({ port }) => port === call.port);
  const mode = declared?.mode ?? spec.mode;
  const carries = carriedBy(call, declared, mode);
  const refused = (reason: JudgeReason): JudgedCall => ({
    judgement: { isAllowed: false, reason, decidedBy: undefined },
    mode,
    isDeclared: declared !== undefined,
    carries: carries ?? 'http',
    asked: undefined,
  });
  /** On a DISABLE port there is no TLS of the mesh's: nobody shows an identity. */
  const srcPrincipal = mode === 'DISABLE' ? null : call.srcPrincipal;
  if (srcPrincipal === null && mode === 'STRICT') return refused('mtls-required');
  if (srcPrincipal !== null && !isOfMesh(srcPrincipal, spec))
    return refused('unknown-trust-domain');
  if (carries === undefined) return refused('not-http');
  const path = call.path ?? '/';
  const normalized = normalizeTarget(path, spec.paths?.normalization ?? spec.settings.pathNormalization);
  if (carries === 'http') {
    if (!isUpperCase(call.method ?? 'GET')) return refused('method-not-upper-case');
    if (!normalized.ok) return refused(normalized.reasonCode);
  }
  const target = normalized.ok ? normalized.target : path;
  const evaluator = evaluators[carries];
  const input = decisionInputOf({ ...call, srcPrincipal, protocol: carries }, target);
  const { isAllowed, reason, decidedBy } = evaluator.decide(input);
  return {
    judgement: { isAllowed, reason, decidedBy },
    mode,
    isDeclared: declared !== undefined,
    carries,
    asked: { evaluator, input, target },
  };
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
  [settings.trustDomain, ...settings.trustDomainAliases].some((domain) =>
    principal.startsWith(`${domain}/`),
  );

function isUpperCase(method: string): boolean {
  return method !== '' && method === method.toUpperCase();
}
