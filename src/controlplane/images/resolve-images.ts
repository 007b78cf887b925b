// Gives the images of a Pod the digests that their tags stand for now, where WorkloadPolicies want that: asked of registries that they approve.
import { LRUCache } from 'lru-cache';
import { resolvesImages } from '@weft/model/admission/check-images';
import {
  type CheckContext,
  holds,
  type WorkloadRequest,
} from '@weft/model/admission/check-workload';
import {
  fitsPattern,
  type ImageReference,
  parseImageReference,
} from '@weft/model/admission/image-reference';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Registry } from './registry.ts';

export type ResolveOutcome = 'resolved' | 'unavailable';

export interface ImageResolverOptions {
  readonly registry: Pick<Registry, 'manifest'>;
  readonly nowMs: () => number;
  /** Left as they are written: who puts them into Pods compares them with what it wants. */
  readonly ownImages?: readonly string[];
  /** Told of each time that a registry was asked. */
  readonly onLooked?: (outcome: ResolveOutcome) => void;
}

export interface ResolvedImages {
  /** Of the Pod; the same object where nothing was resolved. */
  readonly spec: PlainObject;
  /** `NAME@sha256:…`, each once. */
  readonly resolved: readonly string[];
  /** What was left, and why. */
  readonly problems: readonly string[];
}

type Answer =
  | { readonly ok: true; readonly digest: string }
  | { readonly ok: false; readonly reason: string };

/** Below what a webhook waits for a decision. */
const LOOK_MS = 3_000;
const MAX_KEPT = 10_000;
/** Long enough for the Pods of one workload; a tag that is moved is seen soon after. */
const RESOLVED_MS = 10_000;
const UNAVAILABLE_MS = 2_000;
/** Names that are asked about for one Pod; who has more names them by their digests. */
const MAX_ASKED = 64;
const LISTS = ['containers', 'initContainers', 'ephemeralContainers'] as const;

export class ImageResolver {
  readonly #options: ImageResolverOptions;
  readonly #known = new LRUCache<string, { readonly answer: Promise<Answer>; untilMs: number }>({
    max: MAX_KEPT,
  });

  constructor(options: ImageResolverOptions) {
    this.#options = options;
  }

  /** @param request about a Pod. What is running keeps its images: only what is made or changed is resolved. */
  async resolve(
    policies: readonly WorkloadPolicy[],
    request: WorkloadRequest,
    context: CheckContext,
  ): Promise<ResolvedImages> {
    const { spec } = request.workload;
    const asking = policies.filter((policy) => isAsking(policy, request, context));
    if (asking.length === 0) return { spec, resolved: [], problems: [] };
    const before = request.old === undefined ? new Map() : imagesByPlace(request.old.spec);
    const texts = new Map<string, ImageReference>();
    for (const [place, text] of imagesByPlace(spec)) {
      const reference = this.#toResolve(text, asking);
      const old = before.get(place);
      if (reference !== undefined && old !== text && !isResolved(old, text)) {
        texts.set(text, reference);
      }
    }
    const answers = await this.#askAll(texts);
    const resolved = new Set<string>();
    const next = mapImages(spec, (place, text) => {
      const old = before.get(place);
      if (old === text || this.#toResolve(text, asking) === undefined) return text;
      // Applied once more as it was written: what the tag stands for now is another matter.
      if (old !== undefined && isResolved(old, text)) return old;
      const answer = answers.get(text);
      if (answer?.ok !== true) return text;
      const whole = `${text}@${answer.digest}`;
      resolved.add(whole);
      return whole;
    });
    const problems = [...answers].flatMap(([text, answer]) =>
      answer.ok ? [] : [`image ${JSON.stringify(text)} gets no digest: ${answer.reason}`],
    );
    return { spec: next, resolved: [...resolved], problems };
  }

  /** @returns what it names; `undefined` when it is to be left. */
  #toResolve(text: string, asking: readonly WorkloadPolicy[]): ImageReference | undefined {
    const reference = parseImageReference(text);
    if (reference === undefined || reference.digest !== undefined) return undefined;
    if (this.#options.ownImages?.includes(text) === true) return undefined;
    const isApproved = asking.some(
      ({ images }) => images?.allow?.some((pattern) => fitsPattern(reference, pattern)) === true,
    );
    return isApproved ? reference : undefined;
  }

  async #askAll(texts: ReadonlyMap<string, ImageReference>): Promise<ReadonlyMap<string, Answer>> {
    const found = await Promise.all(
      [...texts].map(async ([text, reference], index) => {
        const answer: Answer =
          index < MAX_ASKED
            ? await this.#ask(reference)
            : { ok: false, reason: `more than ${MAX_ASKED} images are asked about` };
        return [text, answer] as const;
      }),
    );
    return new Map(found);
  }

  #ask({ registry, repository, tag = 'latest' }: ImageReference): Promise<Answer> {
    const { nowMs, onLooked } = this.#options;
    const key = `${registry}/${repository}:${tag}`;
    const known = this.#known.get(key);
    if (known !== undefined && nowMs() < known.untilMs) return known.answer;
    const answer = this.#look({ registry, repository }, tag);
    const entry = { answer, untilMs: Number.POSITIVE_INFINITY };
    this.#known.set(key, entry);
    void answer.then(({ ok }) => {
      entry.untilMs = nowMs() + (ok ? RESOLVED_MS : UNAVAILABLE_MS);
      onLooked?.(ok ? 'resolved' : 'unavailable');
    });
    return answer;
  }

  async #look(
    place: Pick<ImageReference, 'registry' | 'repository'>,
    tag: string,
  ): Promise<Answer> {
    try {
      const signal = AbortSignal.timeout(LOOK_MS);
      const found = await this.#options.registry.manifest(place, tag, signal);
      if (!found.ok) return { ok: false, reason: found.reason };
      if (!isManifest(found.value.bytes)) {
        return { ok: false, reason: `${place.registry} answers with no manifest` };
      }
      return { ok: true, digest: found.value.digest };
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : 'unknown' };
    }
  }
}

function isAsking(
  policy: WorkloadPolicy,
  request: WorkloadRequest,
  context: CheckContext,
): boolean {
  if (!resolvesImages(policy)) return false;
  const held = holds(policy, request, context);
  return held.kind === 'held' && !held.isLeftOut('imageDigest');
}

/** Of the first schema the digest is not that of the bytes, and no runtime of today pulls it. */
const isManifest = (bytes: Buffer): boolean =>
  parseJsonObject(bytes.toString('utf8'))?.['schemaVersion'] === 2;

/** Whether it is what `text` was resolved to once. */
const isResolved = (old: string | undefined, text: string): boolean =>
  old?.startsWith(`${text}@`) === true && parseImageReference(old) !== undefined;

function imagesByPlace(spec: PlainObject): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  mapImages(spec, (place, text) => {
    found.set(place, text);
    return text;
  });
  return found;
}

type Change = (place: string, text: string) => string;

/** Containers of every kind, and volumes that are images. What has another form is left as it is. */
function mapImages(spec: PlainObject, change: Change): PlainObject {
  const next: Record<string, unknown> = { ...spec };
  for (const list of LISTS) {
    next[list] = mapEntries(spec[list], (container) =>
      withText(container, 'image', (text) => change(placeOf(list, container), text)),
    );
  }
  next['volumes'] = mapEntries(spec['volumes'], (volume) => {
    const { image } = volume;
    if (!isPlainObject(image)) return volume;
    const place = placeOf('volumes', volume);
    return { ...volume, image: withText(image, 'reference', (text) => change(place, text)) };
  });
  return Object.fromEntries(Object.entries(next).filter(([key]) => Object.hasOwn(spec, key)));
}

const placeOf = (list: string, { name }: PlainObject): string => `${list}/${String(name)}`;

const mapEntries = (list: unknown, change: (entry: PlainObject) => PlainObject): unknown =>
  Array.isArray(list)
    ? list.map((entry: unknown) => (isPlainObject(entry) ? change(entry) : entry))
    : list;

function withText(object: PlainObject, key: string, change: (text: string) => string): PlainObject {
  const text = object[key];
  return typeof text === 'string' ? { ...object, [key]: change(text) } : object;
}
