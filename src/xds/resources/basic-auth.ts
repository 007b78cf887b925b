// Which users a proxy lets in by name and password: Weft's own filter, as it is emitted and read.
import { pathPermission } from '@weft/model/policy/compile-strings';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { WorkloadLogin } from '@weft/model/login/types';

/** `weft.login.v1.BasicAuth`. */
export type BasicAuth = WorkloadLogin;

/** Of the rule that lets exempt paths through. */
export const LOGIN_GUARD = 'weft-basic-auth';

/**
 * What a proxy enforces that knows no bcrypt, as Envoys do: nothing but the exempt paths is let through. A sidecar asks
 * for the login instead.
 */
export const guardRulesOf = ({ exemptPaths }: BasicAuth): RbacRules => ({
  action: 'ALLOW',
  policies:
    exemptPaths.length === 0
      ? []
      : [
          {
            name: LOGIN_GUARD,
            permissions: exemptPaths.map(pathPermission),
            principals: [{ kind: 'any' }],
          },
        ],
});
