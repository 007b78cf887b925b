// Rules that are asked and decide nothing by themselves: what they are asked for stands in their prefix, as in Envoy.
import type { RbacRules } from '@weft/model/policy/rbac';
import { providerOf } from './ext-authz.ts';

/** `shadow_rules` of Envoy's RBAC filters, with `shadow_rules_stat_prefix`. */
export interface ShadowRules {
  /** One of `DRY_RUN_PREFIXES`, or `extAuthzPrefix` of a provider. */
  readonly statPrefix: string;
  readonly rules: RbacRules;
}

/** Policies on trial; Envoy counts each set for itself, a sidecar judges them together with what is in force. */
export const DRY_RUN_PREFIXES: { readonly [action in 'ALLOW' | 'DENY']: string } = {
  ALLOW: 'weft_dry_run_allow_',
  DENY: 'weft_dry_run_deny_',
};

/** Whether an external authorizer is asked about what these match. */
export const isForExtAuthz = ({ statPrefix, rules }: ShadowRules): boolean =>
  rules.action === 'DENY' && providerOf(statPrefix) !== undefined;

export const isDryRun = ({ statPrefix, rules }: ShadowRules): boolean =>
  rules.action !== 'LOG' && DRY_RUN_PREFIXES[rules.action] === statPrefix;
