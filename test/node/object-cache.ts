// ConfigMaps, Secrets and Services of the whole cluster as this node last saw them; kept while the API server is away.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import type { KubeResource } from '@weft/kube/resource';
import { textAt } from '@weft/kube/object-fields';

export interface ObjectCache extends AsyncDisposable {
  get(namespace: string, name: string): KubeObject | undefined;
  all(): Iterable<KubeObject>;
  retryNow(): void;
}

export interface ObjectCacheOptions {
  readonly client: KubeClient;
  readonly resource: KubeResource;
  readonly namespace?: string;
  readonly fieldSelector?: string;
  /** After each change; many changes of one list are one call. */
  readonly onChanged: () => void;
}

export const objectKey = (object: KubeObject): string =>
  `${textAt(object, 'metadata', 'namespace') ?? ''}/${textAt(object, 'metadata', 'name') ?? ''}`;

/** The caller waits for what it needs: it begins empty. */
export function startObjectCache(options: ObjectCacheOptions): ObjectCache {
  const { client, resource, namespace, fieldSelector, onChanged } = options;
  let objects = new Map<string, KubeObject>();
  const listWatch: ListWatch = startListWatch<KubeObject>({
    client,
    resources: [resource],
    ...(namespace !== undefined && { namespace }),
    ...(fieldSelector !== undefined && { fieldSelector }),
    read: (object) => object,
    onListed(items) {
      objects = new Map(items.map((item) => [objectKey(item), item]));
      onChanged();
    },
    onChanged(item) {
      objects.set(objectKey(item), item);
      onChanged();
    },
    onDeleted(object) {
      objects.delete(objectKey(object));
      onChanged();
    },
  });
  return {
    get: (namespace, name) => objects.get(`${namespace}/${name}`),
    all: () => objects.values(),
    retryNow: () => listWatch.retryNow(),
    [Symbol.asyncDispose]: () => listWatch[Symbol.asyncDispose](),
  };
}
