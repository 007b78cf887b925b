// Reads one object as the API server sent it; of all that came with it, only what the mesh needs is kept.
import { resourceVersionOf } from '@weft/kube/https-client';
import type { KubeObject } from '@weft/kube/kube-api';
import { numberAt, objectAt, textAt } from '@weft/kube/object-fields';
import { apiVersionOf, type KubeResource, resourceName } from '@weft/kube/resource';
import type { PodObject, RegistryObject } from '@weft/model/mesh/objects';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { identify } from '../identify.ts';
import type { Kind } from '../kinds.ts';
import type { ObjectOutcome } from '../read-objects.ts';
import type { Reading } from '../reading.ts';
import type { ObjectOrigin } from '../source.ts';

export interface ClusterObject {
  /** `KIND/NAMESPACE/NAME`. */
  readonly id: string;
  /** Objects of one key compete: `id`, or the kind of which there is one. */
  readonly key: string;
  /** The same for every version of it, and another for each object. */
  readonly place: string;
  readonly ref: ObjectRef;
  readonly outcome: ObjectOutcome;
  readonly problems: readonly Problem[];
  /** Of what restricts; absent for all else. */
  readonly restricting?: Restricting;
}

export interface Restricting extends Omit<ObjectOrigin, 'isGood' | 'problems'> {
  readonly createdAtMs: number;
}

export interface Reads {
  readonly kind: Kind;
  readonly share: (object: RegistryObject) => RegistryObject;
}

export type ClusterName = Pick<ClusterObject, 'id' | 'key' | 'place'>;

/** What else stands in annotations can be large and means nothing here. */
const OWN_ANNOTATIONS = 'weft.dev/';

export function nameClusterObject(
  kind: Kind,
  object: KubeObject,
  resource: KubeResource,
): ClusterName & { readonly ref: ObjectRef } {
  const { key, ref } = identify(kind, object);
  const namespace = textAt(object, 'metadata', 'namespace') ?? '';
  const id = kind.scope === 'singleton' ? `${kind.kind}/${namespace}/${ref.name}` : key;
  const place =
    kind.close === undefined ? key : `${resourceName(resource)} ${namespace}/${ref.name}`;
  return { id, key, place, ref };
}

/** Never throws, whatever the object is. */
export function readClusterObject(
  { kind, share }: Reads,
  object: KubeObject,
  resource: KubeResource,
): ClusterObject {
  // Items of lists leave out what the list is of.
  const whole = { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
  const names = nameClusterObject(kind, object, resource);
  const isRestricting = kind.close !== undefined;
  const reading = read(kind, isRestricting ? whole : trimmed(whole));
  const problems = reading.problems.map((problem) => ({ ...problem, object: names.ref }));
  const read_ = { ...names, outcome: outcomeOf(reading, object, share), problems };
  return isRestricting ? { ...read_, restricting: restrictingOf(object, resource) } : read_;
}

function read(kind: Kind, object: PlainObject): Reading {
  try {
    return kind.read(object);
  } catch (error) {
    // A flaw of ours, met by one object, is not to keep the others of its kind from being read.
    const message = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    const problems: readonly Problem[] = [{ severity: 'error', code: 'reader-failed', message }];
    return { kind: 'bad', closed: kind.close?.(object), problems };
  }
}

function trimmed(object: PlainObject): PlainObject {
  const { metadata } = object;
  if (!isPlainObject(metadata) || !isPlainObject(metadata['annotations'])) return object;
  const own = Object.entries(metadata['annotations']).filter(([key]) =>
    key.startsWith(OWN_ANNOTATIONS),
  );
  return { ...object, metadata: { ...metadata, annotations: Object.fromEntries(own) } };
}

function outcomeOf(reading: Reading, object: KubeObject, share: Reads['share']): ObjectOutcome {
  if (reading.kind === 'bad') return { kind: 'bad', closed: reading.closed };
  const [made] = reading.objects;
  if (made === undefined) return { kind: 'good', object: undefined };
  if (made.kind !== 'Pod') return { kind: 'good', object: share(made) };
  return { kind: 'good', object: made.isFinished ? undefined : share(podOf(made, object)) };
}

/** In a cluster somebody says of each Pod whether it is ready: as long as nobody has, it is not. */
function podOf(pod: PodObject, object: KubeObject): PodObject {
  const conditions = objectAt(object, 'status')?.['conditions'];
  const isSaid =
    Array.isArray(conditions) &&
    conditions.some((condition) => isPlainObject(condition) && condition['type'] === 'Ready');
  return isSaid ? pod : { ...pod, isReady: false };
}

function restrictingOf(object: KubeObject, resource: KubeResource): Restricting {
  const createdAtMs = Date.parse(textAt(object, 'metadata', 'creationTimestamp') ?? '');
  return {
    resource,
    uid: textAt(object, 'metadata', 'uid') ?? '',
    generation: numberAt(object, 'metadata', 'generation') ?? 0,
    resourceVersion: resourceVersionOf(object),
    createdAtMs: Number.isNaN(createdAtMs) ? 0 : createdAtMs,
    status: objectAt(object, 'status'),
  };
}
