// The filter that asks an external authorizer: at once passed is what its rules do not match, the rest waits for the answer.
import { compileRbac, type Evaluator } from '@weft/model/policy/evaluate';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { ExtAuthz } from '@weft/xds/resources/ext-authz';
import {
  PASSED,
  type AuthorizerMark,
  type GateOutcome,
  type GateRequest,
  type RequestGate,
} from '../filters/request-gate.ts';
import type { Authorizer, AuthorizerUpstream, Ruling } from './authorizer.ts';
import { createGrpcAuthorizer } from './grpc-authorizer.ts';
import { createHttpAuthorizer } from './http-authorizer.ts';

/** Where Envoy's filter puts what an authorizer says beside its answer. */
const METADATA = 'envoy.filters.http.ext_authz';

export interface ExtAuthzGateOptions {
  readonly authz: ExtAuthz;
  /** What they match is asked about. */
  readonly rules: RbacRules;
  /** The ways to the authorizer of now; `undefined` when there are none. */
  readonly upstream: () => AuthorizerUpstream | undefined;
}

export function createExtAuthzGate(options: ExtAuthzGateOptions): RequestGate {
  return new ExtAuthzGate(options);
}

class ExtAuthzGate implements RequestGate {
  readonly #authz: ExtAuthz;
  readonly #evaluator: Evaluator;
  readonly #authorizer: Authorizer;
  readonly #upstream: ExtAuthzGateOptions['upstream'];

  constructor({ authz, rules, upstream }: ExtAuthzGateOptions) {
    this.#authz = authz;
    this.#evaluator = compileRbac([rules]);
    this.#upstream = upstream;
    const { service } = authz;
    this.#authorizer =
      service.kind === 'grpc' ? createGrpcAuthorizer(authz) : createHttpAuthorizer(authz, service);
  }

  check(request: GateRequest): GateOutcome | 'later' {
    return this.#ruleFor(request) === undefined ? PASSED : 'later';
  }

  async checkLater(request: GateRequest): Promise<GateOutcome> {
    const rule = this.#ruleFor(request);
    if (rule === undefined) return PASSED;
    const startedAt = performance.now();
    const ruling = await this.#ask(request);
    const durationMs = performance.now() - startedAt;
    const { provider } = this.#authz;
    const mark = (answer: AuthorizerMark['answer'], reasonCode: string): AuthorizerMark => ({
      provider,
      rule,
      answer,
      reasonCode,
      durationMs,
    });
    switch (ruling.kind) {
      case 'allow':
        takeChanges(request, ruling);
        return { kind: 'pass', authorizer: mark('allow', '') };
      case 'deny':
        return refusal(ruling, mark('deny', ''));
      case 'error':
        return this.#authz.failOpen
          ? { kind: 'pass', authorizer: mark('failed-open', ruling.reasonCode) }
          : this.#failClosed(mark('failed-closed', ruling.reasonCode));
      default:
        return ruling satisfies never;
    }
  }

  #ruleFor({ facts }: GateRequest): string | undefined {
    return this.#evaluator.decide(facts).decidedBy;
  }

  async #ask(request: GateRequest): Promise<Ruling> {
    const upstream = this.#upstream();
    if (upstream === undefined) return { kind: 'error', reasonCode: 'no-cluster' };
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), this.#authz.timeoutMs);
    timer.unref();
    try {
      return await this.#authorizer.ask(upstream, request, limit.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  #failClosed(authorizer: AuthorizerMark): GateOutcome {
    return {
      kind: 'refuse',
      status: this.#authz.statusOnError,
      body: 'external authorization failed',
      reasonCode: 'ext-authz-error',
      headers: [],
      authorizer,
    };
  }
}

const refusal = (
  { status, headers, body }: Extract<Ruling, { kind: 'deny' }>,
  authorizer: AuthorizerMark,
): GateOutcome => ({
  kind: 'refuse',
  status,
  body: body === '' ? 'access denied' : body,
  isBodyWhole: body !== '',
  reasonCode: 'ext-authz-denied',
  headers: headers.flat(),
  authorizer,
});

function takeChanges(request: GateRequest, ruling: Extract<Ruling, { kind: 'allow' }>): void {
  const { changes, removed, metadata } = ruling;
  if (metadata !== undefined) request.facts.setMetadata(METADATA, metadata);
  if (changes.length + removed.length === 0) return;
  const edits = request.edits();
  for (const name of removed) edits.remove(name);
  const set = new Set<string>();
  for (const { name, value, isAppended } of changes) {
    /** The first value of a name stands in place of what was there, the next beside it. */
    if (isAppended || set.has(name)) edits.add(name, value);
    else edits.set(name, value);
    set.add(name);
  }
}
