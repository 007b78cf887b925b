// Makes the gates of a listener's filters, and keeps those whose filter stays the same when listeners change.
import type { RbacRules } from '@weft/model/policy/rbac';
import type { BasicAuth } from '@weft/xds/resources/basic-auth';
import type { ExtAuthz } from '@weft/xds/resources/ext-authz';
import type { JwtAuthentication } from '@weft/xds/resources/jwt-authn';
import type { FloodsConfig, LimitsConfig, TrafficControl } from '@weft/xds/resources/traffic';
import { LRUCache } from 'lru-cache';
import type { AuthorizerUpstream } from '../ext-authz/authorizer.ts';
import { createExtAuthzGate } from '../ext-authz/ext-authz-gate.ts';
import { createJwtGate } from '../jwt/jwt-gate.ts';
import { createLateLoginGate } from '../login/late-login-gate.ts';
import { createFaultGate } from '../traffic/fault-gate.ts';
import { FloodGuard } from '../traffic/flood-guard.ts';
import type { LateGate } from '../traffic/late-gate.ts';
import { createLimitsGate } from '../traffic/limits-gate.ts';
import { createThrottleGate } from '../traffic/throttle-gate.ts';
import type { RequestGate } from './request-gate.ts';

export interface Gates {
  extAuthz(authz: ExtAuthz, rules: RbacRules): RequestGate;
  jwt(config: JwtAuthentication): RequestGate;
  login(login: BasicAuth): RequestGate;
  limits(config: LimitsConfig): RequestGate;
  traffic(config: TrafficControl): readonly LateGate[];
  floods(config: FloodsConfig): FloodGuard;
}

/** A sidecar has one workload, whose ports have the same filters; some more while they change. */
const MAX_KEPT = 16;

/** Keys that were made ready and tokens that were verified stay so: only another configuration begins anew. */
export function createGates(
  upstream: (cluster: string) => AuthorizerUpstream | undefined = () => undefined,
): Gates {
  const kept = new LRUCache<string, RequestGate>({ max: MAX_KEPT });
  let guard: { readonly key: string; readonly floods: FloodGuard } | undefined;
  const keptLate = new LRUCache<string, LateGate>({ max: MAX_KEPT });
  const keepLate = <T>(
    config: readonly T[],
    make: (config: readonly T[]) => LateGate,
  ): LateGate => {
    const key = JSON.stringify(config);
    const gate = keptLate.get(key) ?? make(config);
    keptLate.set(key, gate);
    return gate;
  };
  return {
    extAuthz: (authz, rules) =>
      createExtAuthzGate({ authz, rules, upstream: () => upstream(authz.cluster) }),
    login: createLateLoginGate,
    limits: createLimitsGate,
    /** What clients have done is not forgotten with a new listener. */
    floods(config) {
      const key = JSON.stringify(config);
      if (guard?.key !== key) guard = { key, floods: new FloodGuard(config) };
      return guard.floods;
    },
    /** All ports share their buckets, and new listeners that say the same go on with them. */
    traffic: ({ throttles, faults }) => [
      ...(throttles.length === 0 ? [] : [keepLate(throttles, createThrottleGate)]),
      ...(faults.length === 0 ? [] : [keepLate(faults, createFaultGate)]),
    ],
    jwt(config) {
      const key = JSON.stringify(config);
      const gate = kept.get(key) ?? createJwtGate(config);
      kept.set(key, gate);
      return gate;
    },
  };
}
