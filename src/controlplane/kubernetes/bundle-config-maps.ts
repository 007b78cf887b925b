// Keeps the trust bundle as a ConfigMap in every namespace, where Pods mount it: the leader's task.
import { createHash } from 'node:crypto';
import { BUNDLE_CONFIG_MAP } from '@weft/ca/store/kubernetes-secret';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { textAt } from '@weft/kube/object-fields';
import { apiVersionOf, CONFIG_MAPS, NAMESPACES } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import type { Logger } from 'pino';

export interface BundleConfigMapsOptions {
  readonly client: KubeClient;
  readonly bundle: () => { readonly pem: string };
  readonly onBundleChange: (listener: () => void) => Disposable;
  /** Of the mesh; absent: every namespace of the cluster. */
  readonly namespaces?: readonly string[];
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export const BUNDLE_KEY = 'bundle.pem';
const FIELD_MANAGER = 'weft-control-plane';
const LABELS = {
  'app.kubernetes.io/part-of': 'weft',
  'app.kubernetes.io/name': 'weft-trust-bundle',
};
/** Writes at once: a thousand namespaces take some seconds, and the API server hardly notices. */
const WRITES_AT_ONCE = 8;
/** After a write that failed; doubled with each round that fails, up to the second. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Runs until it is disposed of: begin when leading, end when leading no more. */
export function startBundleConfigMaps(options: BundleConfigMapsOptions): BundleConfigMaps {
  return new BundleConfigMaps(options);
}

export class BundleConfigMaps implements AsyncDisposable {
  readonly #options: BundleConfigMapsOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #owned = new AsyncDisposableStack();
  /** Namespaces that are to have one; absent until they are listed. */
  #wanted: Set<string> | undefined;
  /** Digest of what a namespace has, as far as it is known. */
  readonly #digests = new Map<string, string>();
  readonly #knownIn = new Set<string>();
  readonly #due = new Set<string>();
  readonly #writing = new Map<string, Promise<void>>();
  readonly #failed = new Map<string, string>();
  #digest: string;
  #retryMs = FIRST_RETRY_MS;
  #retry: Disposable | undefined;

  constructor(options: BundleConfigMapsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#digest = digestOf(options.bundle().pem);
    this.#owned.use(
      options.onBundleChange(() => {
        this.#digest = digestOf(options.bundle().pem);
        this.#check();
      }),
    );
    const { namespaces } = options;
    if (namespaces === undefined) this.#owned.use(this.#watchNamespaces());
    else this.#wanted = new Set(namespaces);
    for (const namespace of namespaces ?? [undefined]) {
      this.#owned.use(this.#watchConfigMaps(namespace));
    }
  }

  /** What could not be written, as sentences. */
  get problems(): readonly string[] {
    return [...new Set(this.#failed.values())];
  }

  /** Namespaces that do not have the bundle of now. */
  get missing(): readonly string[] {
    return [...(this.#wanted ?? [])].filter((name) => this.#digests.get(name) !== this.#digest);
  }

  get #base(): Pick<BundleConfigMapsOptions, 'client' | 'log' | 'random'> & { clock: Clock } {
    const { client, log, random } = this.#options;
    return { client, clock: this.#clock, ...(log && { log }), ...(random && { random }) };
  }

  #watchNamespaces(): ListWatch {
    return startListWatch<{ readonly name: string; readonly isEnding: boolean }>({
      ...this.#base,
      resources: [NAMESPACES],
      isMetadataOnly: true,
      read: (object) => ({ name: nameOf(object), isEnding: isEnding(object) }),
      onListed: (items) => {
        this.#wanted = new Set(items.filter((item) => !item.isEnding).map(({ name }) => name));
        this.#check();
      },
      onChanged: ({ name, isEnding: ends }) => {
        if (ends) this.#forget(name);
        else this.#wanted?.add(name);
        this.#checkOne(name);
      },
      onDeleted: (object) => this.#forget(nameOf(object)),
    });
  }

  #forget(name: string): void {
    this.#wanted?.delete(name);
    this.#due.delete(name);
    this.#failed.delete(name);
  }

  #watchConfigMaps(only: string | undefined): ListWatch {
    const isHere = (namespace: string): boolean => only === undefined || namespace === only;
    return startListWatch<{ readonly namespace: string; readonly digest: string }>({
      ...this.#base,
      resources: [CONFIG_MAPS],
      namespace: only,
      fieldSelector: `metadata.name=${BUNDLE_CONFIG_MAP}`,
      read: (object) => ({
        namespace: namespaceOf(object),
        digest: digestOf(textAt(object, 'data', BUNDLE_KEY) ?? ''),
      }),
      onListed: (items) => {
        for (const namespace of this.#digests.keys()) {
          if (isHere(namespace)) this.#digests.delete(namespace);
        }
        for (const { namespace, digest } of items) this.#digests.set(namespace, digest);
        this.#knownIn.add(only ?? '');
        this.#check();
      },
      onChanged: ({ namespace, digest }) => {
        this.#digests.set(namespace, digest);
        this.#checkOne(namespace);
      },
      onDeleted: (object) => {
        this.#digests.delete(namespaceOf(object));
        this.#checkOne(namespaceOf(object));
      },
    });
  }

  #check(): void {
    for (const name of this.#wanted ?? []) this.#checkOne(name);
  }

  #checkOne(name: string): void {
    const { namespaces } = this.#options;
    // Before the ConfigMaps are listed every one of them would seem to be missing.
    if (!this.#knownIn.has(namespaces === undefined ? '' : name)) return;
    if (this.#wanted?.has(name) !== true || this.#digests.get(name) === this.#digest) {
      this.#due.delete(name);
      this.#failed.delete(name);
      return;
    }
    this.#due.add(name);
    this.#pump();
  }

  #pump(): void {
    for (const name of this.#due) {
      if (this.#writing.size >= WRITES_AT_ONCE || this.#stop.signal.aborted) return;
      if (this.#writing.has(name)) continue;
      this.#due.delete(name);
      const write = this.#write(name).then(() => {
        this.#writing.delete(name);
        this.#pump();
      });
      this.#writing.set(name, write);
    }
  }

  async #write(namespace: string): Promise<void> {
    const { client, bundle, log } = this.#options;
    const { pem } = bundle();
    try {
      const answer = await client.apply(
        CONFIG_MAPS,
        {
          apiVersion: apiVersionOf(CONFIG_MAPS),
          kind: CONFIG_MAPS.kind,
          metadata: { name: BUNDLE_CONFIG_MAP, namespace, labels: LABELS },
          data: { [BUNDLE_KEY]: pem },
        },
        { fieldManager: FIELD_MANAGER, isForced: true, signal: this.#stop.signal },
      );
      if (!answer.ok) {
        this.#notWritten(namespace, answer.message);
        return;
      }
      this.#digests.set(namespace, digestOf(textAt(answer.value, 'data', BUNDLE_KEY) ?? ''));
      if (this.#digests.get(namespace) !== digestOf(pem)) {
        this.#notWritten(namespace, `ConfigMap ${BUNDLE_CONFIG_MAP} is changed by who admits it`);
        return;
      }
      this.#retryMs = FIRST_RETRY_MS;
      this.#checkOne(namespace);
    } catch (error) {
      log?.error({ err: error, namespace }, 'trust bundle not written');
      this.#later(namespace);
    }
  }

  #notWritten(namespace: string, reason: string): void {
    if (this.#stop.signal.aborted || this.#wanted?.has(namespace) !== true) return;
    if (this.#failed.get(namespace) !== reason) {
      this.#options.log?.warn({ namespace, reason }, 'trust bundle not written');
    }
    this.#failed.set(namespace, reason);
    this.#later(namespace);
  }

  /** All that failed are tried again together. */
  #later(namespace: string): void {
    if (!this.#failed.has(namespace)) this.#failed.set(namespace, 'the write failed');
    this.#retry ??= this.#clock.setTimeout(() => {
      this.#retry = undefined;
      for (const name of this.#failed.keys()) this.#due.add(name);
      this.#pump();
    }, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#retry?.[Symbol.dispose]();
    await this.#owned.disposeAsync();
    await Promise.all(this.#writing.values());
    this.#retry?.[Symbol.dispose]();
  }
}

const nameOf = (object: KubeObject): string => textAt(object, 'metadata', 'name') ?? '';
const namespaceOf = (object: KubeObject): string => textAt(object, 'metadata', 'namespace') ?? '';
const isEnding = (object: KubeObject): boolean =>
  textAt(object, 'metadata', 'deletionTimestamp') !== undefined;
