// Follows objects of a few known names by asking for each now and then: for who may not list all that there are.
import type { Clock } from '@weft/model/clock';
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';

/** Labels and annotations of a namespace, which change when somebody sets them. */
const POLL_MS = 15_000;

/** Lists and watches like the real one; its watch ends when it is time to list again. */
export function namedObjectsClient(
  client: Pick<KubeClient, 'get'>,
  names: readonly string[],
  clock: Clock,
): Pick<KubeClient, 'list' | 'watch'> {
  return {
    async list(resource, { signal } = {}) {
      const items: KubeObject[] = [];
      for (const name of names) {
        const found = await client.get(resource, { name }, signal);
        if (found.ok) items.push(found.value);
        else if (found.code !== 404) return found;
      }
      return { ok: true, value: { items, resourceVersion: '', continueToken: undefined } };
    },
    async watch(_resource, { onOpen, signal }) {
      onOpen?.();
      const { promise, resolve } = Promise.withResolvers<void>();
      const onAbort = (): void => resolve();
      signal.addEventListener('abort', onAbort, { once: true });
      using _ = clock.setTimeout(resolve, POLL_MS);
      await promise;
      signal.removeEventListener('abort', onAbort);
      return TIME_TO_LIST;
    },
  };
}

const TIME_TO_LIST: KubeFailure = {
  ok: false,
  kind: 'status',
  code: 410,
  reason: 'Expired',
  message: 'time to ask again',
};
