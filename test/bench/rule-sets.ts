// Makes policies in numbers, one rule each, as teams write them: for the evaluator alone and for the pairs.
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import type { PlainObject } from '@weft/model/policy/reader';
import { NAMESPACE } from '../support/lab-manifests.ts';
import { CALLED, POLICY } from './policies.ts';

/** One policy in so many is a DENY. */
const DENY_EVERY = 10;

/**
 * Rules as teams write them: a policy a caller, by principal or namespace, for a method and an exact path or a prefix;
 * one in ten a DENY.
 */
export function specOf(at: number): PlainObject {
  const source =
    at % 3 === 0
      ? { namespaces: [`team${at}`] }
      : { principals: [`cluster.local/ns/team${at % 200}/sa/app${at}`] };
  const operation =
    at % 2 === 0
      ? { methods: ['GET'], paths: [`/status/${at}`] }
      : { methods: ['GET', 'POST'], paths: [`/api/v1/thing${at}/*`] };
  return ruleOf(at % DENY_EVERY === 0 ? 'DENY' : 'ALLOW', source, operation);
}

const ruleOf = (
  action: 'ALLOW' | 'DENY',
  source: PlainObject,
  operation: PlainObject,
): PlainObject => ({
  action,
  rules: [{ from: [{ source }], to: [{ operation }] }],
});

/**
 * Policies for the called workload. The caller's own two stand last, one in each set, so that a proxy that tries rule
 * after rule tries them all: its DENY for the denied path, its ALLOW for the measured one.
 * @param rules a multiple of ten @param app of the called workload
 */
export function calledManifests(
  rules: number,
  allowedPath: string,
  app = CALLED,
): readonly PlainObject[] {
  const source = { principals: [POLICY.callerId.slice('spiffe://'.length)] };
  const lastDeny = rules - DENY_EVERY;
  return Array.from({ length: rules }, (_, at) => {
    let spec = specOf(at);
    if (at === lastDeny) {
      spec = ruleOf('DENY', source, { methods: POLICY.methods, paths: [POLICY.deniedPath] });
    }
    if (at === rules - 1) {
      spec = ruleOf('ALLOW', source, { methods: POLICY.methods, paths: [allowedPath] });
    }
    // Proxies try rules in the order of their names: all names are of one length.
    const name = `p${String(at).padStart(5, '0')}-${app}`;
    return manifestOf(name, { selector: { matchLabels: { app } }, ...spec });
  });
}

export const manifestOf = (name: string, spec: PlainObject): PlainObject => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'AuthorizationPolicy',
  metadata: { namespace: NAMESPACE, name },
  spec,
});

/** @throws Error when it is no policy: nothing is measured then. */
export function parsePolicy(manifest: PlainObject): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy(manifest);
  if (!parsed.ok) throw new Error(`Cannot measure: ${JSON.stringify(parsed.problems)}`);
  return parsed.value;
}
