// Gives each workload its token rules: composed once for all that the same policies select, and closed when they are too many to be carried.
import type { InboundSpec } from '@weft/model/mesh/mesh';
import type { BrokenPolicy } from '@weft/model/policy/compile';
import {
  composeTokenRules,
  type FetchedKeys,
  type RequestAuthentication,
} from '@weft/model/policy/token-rules';
import type { Problem } from '@weft/model/problem';

export interface WorkloadTokens {
  readonly spec: Pick<InboundSpec, 'tokens'>;
  /** What closes the workload in their place. */
  readonly broken: readonly BrokenPolicy[];
  /** The same objects for all workloads that the same policies select. */
  readonly problems: readonly Problem[];
}

/**
 * 64 KiB as JSON: a dozen issuers with many keys each. Every HTTP chain of a listener carries them, and a listener that
 * is too large for one message would hold up every later policy of the workload.
 */
export const MAX_TOKEN_RULES_LENGTH = 65_536;

const NONE: WorkloadTokens = { spec: {}, broken: [], problems: [] };

export function createTokenComposer(keys: FetchedKeys) {
  const composed = new Map<string, WorkloadTokens>();
  const compose = (policies: readonly RequestAuthentication[]): WorkloadTokens => {
    const tokens = composeTokenRules(policies, keys);
    if (tokens.length === 0) return NONE;
    if (JSON.stringify(tokens).length <= MAX_TOKEN_RULES_LENGTH) {
      return { spec: { tokens }, broken: [], problems: [] };
    }
    const broken = policies.map(({ namespace, name }) => ({ namespace, name, action: undefined }));
    return { spec: {}, broken, problems: policies.map(tooLarge) };
  };
  return {
    compose(policies: readonly RequestAuthentication[]): WorkloadTokens {
      if (policies.length === 0) return NONE;
      const key = policies.map(({ namespace, name }) => `${namespace}/${name}`).join();
      const known = composed.get(key) ?? compose(policies);
      composed.set(key, known);
      return known;
    },
  };
}

const tooLarge = ({ namespace, name }: RequestAuthentication): Problem => ({
  severity: 'error',
  code: 'token-rules-too-large',
  message: `is one of those whose rules and keys together are longer than ${MAX_TOKEN_RULES_LENGTH} characters: what they select is closed`,
  cure: 'keep fewer issuers, audiences and keys for one workload',
  object: { kind: 'RequestAuthentication', namespace, name },
});
