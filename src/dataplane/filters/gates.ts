// Makes the gates of a listener's filters, and keeps those whose filter stays the same when listeners change.
import type { RbacRules } from '@weft/model/policy/rbac';
import type { ExtAuthz } from '@weft/xds/resources/ext-authz';
import type { JwtAuthentication } from '@weft/xds/resources/jwt-authn';
import { LRUCache } from 'lru-cache';
import type { AuthorizerUpstream } from '../ext-authz/authorizer.ts';
import { createExtAuthzGate } from '../ext-authz/ext-authz-gate.ts';
import { createJwtGate } from '../jwt/jwt-gate.ts';
import type { RequestGate } from './request-gate.ts';

export interface Gates {
  extAuthz(authz: ExtAuthz, rules: RbacRules): RequestGate;
  jwt(config: JwtAuthentication): RequestGate;
}

/** A sidecar has one workload, whose ports have the same filters; some more while they change. */
const MAX_KEPT = 16;

/** Keys that were made ready and tokens that were verified stay so: only another configuration begins anew. */
export function createGates(
  upstream: (cluster: string) => AuthorizerUpstream | undefined = () => undefined,
): Gates {
  const kept = new LRUCache<string, RequestGate>({ max: MAX_KEPT });
  return {
    extAuthz: (authz, rules) =>
      createExtAuthzGate({ authz, rules, upstream: () => upstream(authz.cluster) }),
    jwt(config) {
      const key = JSON.stringify(config);
      const gate = kept.get(key) ?? createJwtGate(config);
      kept.set(key, gate);
      return gate;
    },
  };
}
