// Credentials in Secrets of a cluster: each that is followed is watched by its name, so that no right to list others is needed.
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';
import { type ListWatchStatus, startListWatch } from '@weft/kube/list-watch';
import { resourceVersionOf } from '@weft/kube/https-client';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { SECRETS } from '@weft/kube/resource';
import type { Clock } from '@weft/model/clock';
import { isCredentialKey } from '@weft/model/credentials/key-names';
import { MAX_KEYS } from '@weft/model/credentials/types';
import {
  type CredentialSource,
  type OnReading,
  onlyChanges,
  type SourceReading,
  whyTooLarge,
} from './source.ts';

export interface SecretSourceOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  readonly clock: Clock;
  readonly random?: () => number;
}

/** Secrets of these kinds are other identities, and no credentials of an application. */
const REFUSED_TYPES: ReadonlySet<string> = new Set([
  'kubernetes.io/service-account-token',
  'bootstrap.kubernetes.io/token',
]);

/** Places are `NAMESPACE/NAME`. */
export function createSecretSource(options: SecretSourceOptions): CredentialSource {
  const { client, clock, random } = options;
  const stack = new AsyncDisposableStack();
  const followed = new Set<AsyncDisposable>();
  stack.defer(async () => {
    await Promise.all([...followed].map((one) => one[Symbol.asyncDispose]()));
  });
  return {
    description: 'Secrets of the cluster',
    follow(place, onReading) {
      const [namespace = '', name = ''] = place.split('/');
      const tell = tellerOf(onReading);
      const watch = startListWatch<SourceReading>({
        client,
        resources: [SECRETS],
        namespace,
        fieldSelector: `metadata.name=${name}`,
        clock,
        ...(random !== undefined && { random }),
        read: readSecret,
        onListed: ([found]) => tell.read(found ?? MISSING),
        onChanged: tell.read,
        onDeleted: () => tell.read(MISSING),
        onStatus: tell.status,
      });
      followed.add(watch);
      return {
        [Symbol.dispose]() {
          followed.delete(watch);
          void watch[Symbol.asyncDispose]();
        },
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const MISSING: SourceReading = { kind: 'gone', reason: 'there is no such Secret' };

interface Teller {
  readonly read: OnReading;
  readonly status: (status: ListWatchStatus) => void;
}

function tellerOf(onReading: OnReading): Teller {
  const tell = onlyChanges(onReading);
  let last: SourceReading | undefined;
  let isAway = false;
  return {
    read(reading) {
      last = reading;
      isAway = false;
      tell(reading);
    },
    status(status) {
      if (status.kind === 'failing') {
        const { failure } = status;
        isAway = !isRefused(failure);
        // That it may not be read is no outage: whoever took the right away meant it.
        tell({ kind: isAway ? 'unavailable' : 'gone', reason: failure.message });
      } else if (status.kind === 'good' && isAway && last !== undefined) {
        // A watch goes on from where it was, and says nothing of what has not changed.
        isAway = false;
        tell(last);
      }
    },
  };
}

const isRefused = ({ kind, code }: KubeFailure): boolean => kind === 'status' && code === 403;

function readSecret(object: KubeObject): SourceReading {
  const gone = (reason: string): SourceReading => ({ kind: 'gone', reason });
  if (textAt(object, 'metadata', 'deletionTimestamp') !== undefined) {
    return gone('the Secret is being deleted');
  }
  const type = textAt(object, 'type') ?? 'Opaque';
  if (REFUSED_TYPES.has(type)) return gone(`a Secret of type ${type} is not handed over`);
  const entries = Object.entries(objectAt(object, 'data') ?? {});
  if (entries.length === 0) return gone('the Secret has no data');
  if (entries.length > MAX_KEYS) {
    return gone(`the Secret has ${entries.length} keys, of ${MAX_KEYS} at most`);
  }
  const values = new Map<string, Uint8Array>();
  for (const [key, text] of entries) {
    if (typeof text !== 'string' || !isCredentialKey(key)) {
      return gone(`the Secret has a key that cannot be handed over: ${JSON.stringify(key)}`);
    }
    values.set(key, new Uint8Array(Buffer.from(text, 'base64')));
  }
  const reason = whyTooLarge(values);
  if (reason !== undefined) return gone(reason);
  return { kind: 'values', version: resourceVersionOf(object), values };
}
