// Follows the Pods that run, as far as policies about their images look at them: who they are, and what was pulled for them.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { PODS } from '@weft/kube/resource';
import type { UsedImage } from '@weft/model/admission/check-images';
import { isSha256 } from '@weft/model/admission/image-reference';
import { listIn, readWorkload, type Workload } from '@weft/model/admission/workload';
import type { Clock } from '@weft/model/clock';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Logger } from 'pino';
import type { ImageInUse } from './source.ts';

/** What is kept of a Pod. */
export interface RunningPod {
  /** `NAMESPACE/NAME`. */
  readonly key: string;
  readonly uid: string;
  /** Its spec holds its account and its containers' images alone. */
  readonly workload: Workload;
  /** What was pulled, by container. */
  readonly pulled: ReadonlyMap<string, string>;
  /** `ReplicaSet/web-1`: by which names reports may know it. */
  readonly owners: readonly string[];
}

const ENDED: ReadonlySet<string | undefined> = new Set(['Succeeded', 'Failed']);
const STATUSES = ['containerStatuses', 'initContainerStatuses', 'ephemeralContainerStatuses'];

export const keyOfPod = (object: KubeObject): string =>
  `${textAt(object, 'metadata', 'namespace') ?? ''}/${textAt(object, 'metadata', 'name') ?? ''}`;

/** @returns `undefined` when it has run to its end. */
export function readRunningPod(object: KubeObject): RunningPod | undefined {
  if (ENDED.has(textAt(object, 'status', 'phase'))) return undefined;
  const workload = readWorkload({ ...object, apiVersion: 'v1', kind: 'Pod' });
  if (workload === undefined) return undefined;
  const { name } = workload;
  const owners = listIn(objectAt(object, 'metadata') ?? {}, 'ownerReferences').flatMap((owner) => {
    const [kind, of] = [textAt(owner, 'kind'), textAt(owner, 'name')];
    return kind === undefined || of === undefined ? [] : [`${kind}/${of}`];
  });
  return {
    key: keyOfPod(object),
    uid: textAt(object, 'metadata', 'uid') ?? '',
    workload: { ...workload, annotations: {}, spec: imagesAlone(workload.spec) },
    pulled: pulledFor(objectAt(object, 'status') ?? {}),
    owners: [`Pod/${name}`, ...owners],
  };
}

/** So much of a spec as says which images it uses, and as whom. */
function imagesAlone(spec: PlainObject): PlainObject {
  const lists = ['containers', 'initContainers', 'ephemeralContainers'].flatMap((list) => {
    const containers = listIn(spec, list).map(({ name, image }) => ({ name, image }));
    return containers.length === 0 ? [] : [[list, containers] as const];
  });
  const volumes = listIn(spec, 'volumes').flatMap(({ name, image }) =>
    image === undefined ? [] : [{ name, image }],
  );
  const { serviceAccountName } = spec;
  return { serviceAccountName, ...Object.fromEntries(lists), ...(volumes[0] && { volumes }) };
}

/** `docker.io/library/nginx@sha256:…`, or the digest alone. */
function pulledFor(status: PlainObject): ReadonlyMap<string, string> {
  const pulled = new Map<string, string>();
  for (const entry of STATUSES.flatMap((list) => listIn(status, list))) {
    const name = textAt(entry, 'name');
    const id = textAt(entry, 'imageID') ?? '';
    const digest = id.slice(id.lastIndexOf('@') + 1);
    if (name !== undefined && isSha256(digest)) pulled.set(name, digest);
  }
  return pulled;
}

export interface RunningPodsOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  /** Absent: the whole cluster. */
  readonly namespaces?: readonly string[];
  readonly clock: Clock;
  readonly random?: () => number;
  readonly log?: Logger;
  readonly onChange: () => void;
}

/** Runs until it is disposed of. */
export class RunningPods implements AsyncDisposable {
  readonly #options: RunningPodsOptions;
  readonly #pods = new Map<string, RunningPod>();
  readonly #listed = new Set<string>();
  readonly #watches: readonly ListWatch[];

  constructor(options: RunningPodsOptions) {
    this.#options = options;
    this.#watches = (options.namespaces ?? [undefined]).map((one) => this.#follow(one));
  }

  get isRead(): boolean {
    return this.#listed.size === this.#watches.length;
  }

  all(): Iterable<RunningPod> {
    return this.#pods.values();
  }

  #follow(namespace: string | undefined): ListWatch {
    const { client, clock, random, log, onChange } = this.#options;
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const take = (key: string, pod: RunningPod | undefined): void => {
      if (pod === undefined) this.#pods.delete(key);
      else this.#pods.set(key, pod);
    };
    return startListWatch<readonly [string, RunningPod | undefined]>({
      client,
      clock,
      ...(random && { random }),
      ...(log && { log }),
      resources: [PODS],
      namespace,
      read: (object) => [keyOfPod(object), readRunningPod(object)],
      onListed: (pods) => {
        const now = new Set(pods.map(([key]) => key));
        for (const key of this.#pods.keys()) {
          if (key.startsWith(prefix) && !now.has(key)) this.#pods.delete(key);
        }
        for (const [key, pod] of pods) take(key, pod);
        this.#listed.add(prefix);
        onChange();
      },
      onChanged: ([key, pod]) => {
        take(key, pod);
        onChange();
      },
      onDeleted: (object) => {
        this.#pods.delete(keyOfPod(object));
        onChange();
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch[Symbol.asyncDispose]()));
  }
}

/** By its own name, and by what was pulled for it. */
export const digestsOf = (
  { pulled }: Pick<RunningPod, 'pulled'>,
  image: UsedImage,
): readonly string[] => {
  const own = image.reference?.digest;
  const there = image.container === undefined ? undefined : pulled.get(image.container);
  return [own, there].filter((one) => one !== undefined);
};

/** As sources of reports are asked about it. */
export function imageInUse(pod: RunningPod, image: UsedImage): ImageInUse {
  const { container = '' } = image;
  return {
    namespace: pod.workload.namespace,
    digests: digestsOf(pod, image),
    reference: image.reference,
    ...(container !== '' && { runBy: { workloads: pod.owners, container } }),
  };
}
