// Shadow rules on the wire: in the same filter as rules that decide, one kind of rules in each filter.
import type { PlainMessage } from '../registry.ts';
import { isDryRun, isForExtAuthz, type ShadowRules } from '../resources/shadow-rules.ts';
import { type Fields, isSet, report, requiredMessage, requiredText, shown } from './fields.ts';
import { encodeRbac, type RbacLayer, readRbac } from './rbac.ts';

/** @throws TypeError for a prefix that nobody would know what to do with. */
export function encodeShadowRules(shadow: ShadowRules): PlainMessage {
  if (!isKnown(shadow))
    throw new TypeError(`Cannot encode shadow rules: their prefix ${shadow.statPrefix} is unknown`);
  return {
    shadow_rules: encodeRbac(shadow.rules),
    shadow_rules_stat_prefix: shadow.statPrefix,
  };
}

/** What would only be counted, and never used, is refused: whoever sent it expects more. */
const isKnown = (shadow: ShadowRules): boolean => isDryRun(shadow) || isForExtAuthz(shadow);

export const hasShadowRules = (fields: Fields): boolean => isSet(fields, 'shadow_rules');

export function readShadowRules(fields: Fields, layer: RbacLayer): ShadowRules | undefined {
  const rules = requiredMessage(fields, 'shadow_rules', (rbac) => readRbac(rbac, layer));
  const statPrefix = requiredText(fields, 'shadow_rules_stat_prefix');
  if (rules === undefined || statPrefix === '') return undefined;
  const shadow = { statPrefix, rules };
  if (isKnown(shadow)) return shadow;
  const message = `is ${shown(statPrefix)} for ${rules.action} rules, which is not known here`;
  return report(fields, 'shadow_rules_stat_prefix', 'unknown-value', message);
}
