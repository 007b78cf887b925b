// ConfigMaps of a cluster that objects name: each watched by its name, so that no right to list others is needed.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { resourceVersionOf } from '@weft/kube/https-client';
import { startListWatch } from '@weft/kube/list-watch';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { CONFIG_MAPS } from '@weft/kube/resource';
import type { Clock } from '@weft/model/clock';
import type { CredentialSource, SourceReading } from '../../credentials/sources/source.ts';
import { onlyChanges } from '../../credentials/sources/source.ts';

export interface ConfigMapSourceOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  readonly clock: Clock;
  readonly random?: () => number;
}

const MISSING: SourceReading = { kind: 'gone', reason: 'there is no such ConfigMap' };
/** Kubernetes' own bound of one object. */
const MAX_KEYS = 256;

/** Places are `NAMESPACE/NAME`. What cannot be read for a while stays as it was. */
export function createConfigMapSource(options: ConfigMapSourceOptions): CredentialSource {
  const { client, clock, random } = options;
  const followed = new Set<AsyncDisposable>();
  return {
    description: 'ConfigMaps of the cluster',
    follow(place, onReading) {
      const [namespace = '', name = ''] = place.split('/');
      const tell = onlyChanges(onReading);
      const watch = startListWatch<SourceReading>({
        client,
        resources: [CONFIG_MAPS],
        namespace,
        fieldSelector: `metadata.name=${name}`,
        clock,
        ...(random !== undefined && { random }),
        read: readConfigMap,
        onListed: ([found]) => tell(found ?? MISSING),
        onChanged: tell,
        onDeleted: () => tell(MISSING),
        onStatus: (status) => {
          if (status.kind !== 'failing') return;
          const { kind, code, message: reason } = status.failure;
          // That it may not be read is no outage: whoever took the right away meant it.
          const isRefused = kind === 'status' && code === 403;
          tell({ kind: isRefused ? 'gone' : 'unavailable', reason });
        },
      });
      followed.add(watch);
      return {
        [Symbol.dispose]() {
          followed.delete(watch);
          void watch[Symbol.asyncDispose]();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...followed].map((one) => one[Symbol.asyncDispose]()));
    },
  };
}

function readConfigMap(object: KubeObject): SourceReading {
  if (textAt(object, 'metadata', 'deletionTimestamp') !== undefined) return MISSING;
  const values = new Map<string, Uint8Array>();
  for (const [key, text] of Object.entries(objectAt(object, 'data') ?? {}).slice(0, MAX_KEYS)) {
    if (typeof text === 'string') values.set(key, new Uint8Array(Buffer.from(text)));
  }
  return { kind: 'values', version: resourceVersionOf(object), values };
}
