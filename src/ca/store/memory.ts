// Keeps the CA's state for as long as the process lives: for tests and for trying things out.
import type { CaState, CaStore } from './store.ts';

export function createMemoryStore(): CaStore {
  let kept: CaState | undefined;
  return {
    load: async () => kept,
    save: async (state) => {
      kept = state;
      return { ok: true };
    },
    publishBundle: async () => ({ ok: true }),
    [Symbol.asyncDispose]: async () => {},
  };
}
