// Attests by join token: whoever holds one is what it was made for, once.
import type { JoinTokens, TokenCheck } from '../join-tokens.ts';
import { type AttestationRefusal, type Attestor, notMine } from './attestor.ts';

export function joinTokenAttestor(tokens: JoinTokens): Attestor {
  return {
    name: 'join-token',
    kind: 'join-token',
    async attest(evidence) {
      if (evidence.kind !== 'join-token') return notMine(evidence);
      const { token } = evidence;
      const checked = await tokens.check(token);
      if (!checked.ok) return refusalOf(checked);
      return {
        ok: true,
        identity: checked.identity,
        async redeem() {
          const consumed = await tokens.consume(token);
          return consumed.ok ? { ok: true } : refusalOf(consumed);
        },
      };
    },
  };
}

const refusalOf = ({
  reasonCode,
  reason,
}: Extract<TokenCheck, { readonly ok: false }>): AttestationRefusal => ({
  ok: false,
  reasonCode,
  reason,
  isTemporary: reasonCode === 'token-store-failed',
});
