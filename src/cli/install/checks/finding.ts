// What a check of a cluster found: a claim that holds, or one that does not, with the cure.
import type { KubeClient, KubeFailure, KubeObject, KubeResult } from '@weft/kube/kube-api';

/**
 * - `failed`: something does not work, or will not.
 * - `warning`: it works, and the operator may not expect how.
 * - `skipped`: could not be looked at.
 */
export type FindingState = 'ok' | 'warning' | 'failed' | 'skipped';

export interface Finding {
  /** Stable, for scripts: `control-plane`, `webhooks`. */
  readonly check: string;
  readonly state: FindingState;
  readonly message: string;
  /** What to do; absent where all is well. */
  readonly cure?: string;
}

export interface CheckContext {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly now: () => number;
}

export type Check = (context: CheckContext) => Promise<readonly Finding[]>;

export const ok = (check: string, message: string): Finding => ({ check, state: 'ok', message });

export const bad = (check: string, message: string, cure: string): Finding => ({
  check,
  state: 'failed',
  message,
  cure,
});

export const warn = (check: string, message: string, cure: string): Finding => ({
  check,
  state: 'warning',
  message,
  cure,
});

/** Of something that could not be read: without the right for it nothing can be said; otherwise it is not as it should be. */
export function unread(check: string, failure: KubeFailure): Finding {
  if (failure.code === 403) return { check, state: 'skipped', message: failure.message };
  return bad(check, failure.message, 'see that the API server can be reached, and look again');
}

/** Of a name that is to be there. */
export const absent = (check: string, what: string, failure: KubeFailure, cure: string): Finding =>
  failure.code === 404 ? bad(check, `${what} is not there`, cure) : unread(check, failure);

const PAGE = 500;

/** Every page. */
export async function listAll(
  client: KubeClient,
  ...[resource, options]: Parameters<KubeClient['list']>
): Promise<KubeResult<readonly KubeObject[]>> {
  const items: KubeObject[] = [];
  let continueToken: string | undefined;
  do {
    const page = await client.list(resource, {
      ...options,
      limit: PAGE,
      ...(continueToken !== undefined && { continueToken }),
    });
    if (!page.ok) return page;
    items.push(...page.value.items);
    ({ continueToken } = page.value);
  } while (continueToken !== undefined);
  return { ok: true, value: items };
}
