// A Pod's parts as injection reads them: plain objects whose shape was checked once, so that the rest need not ask again.
import { isPlainObject, type PlainObject, type Reader } from '@weft/model/policy/reader';

/** A list of mappings; what is absent, or no list, is none. Ask `checkShape` first. */
export const listAt = (owner: PlainObject, key: string): readonly PlainObject[] => {
  const list = owner[key];
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};

/** A mapping; what is absent, or none, is empty. */
export const objectAt = (owner: PlainObject, key: string): PlainObject => {
  const value = owner[key];
  return isPlainObject(value) ? value : {};
};

export const textAt = (owner: PlainObject, key: string): string | undefined => {
  const value = owner[key];
  return typeof value === 'string' ? value : undefined;
};

/** Without the keys named. */
export function without(owner: PlainObject, ...keys: readonly string[]): PlainObject {
  return Object.fromEntries(Object.entries(owner).filter(([key]) => !keys.includes(key)));
}

/** `owner` with `key` set, in its place where it is known; an empty list or mapping takes the key away. */
export function withPart(
  owner: PlainObject,
  key: string,
  value: readonly unknown[] | PlainObject,
): PlainObject {
  const isEmpty = Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
  return isEmpty ? without(owner, key) : { ...owner, [key]: value };
}

export const annotationsOf = (pod: PlainObject): PlainObject =>
  objectAt(objectAt(pod, 'metadata'), 'annotations');

export const labelsOf = (pod: PlainObject): PlainObject =>
  objectAt(objectAt(pod, 'metadata'), 'labels');

/** One container, and where it stands. */
export interface PlacedContainer {
  readonly container: PlainObject;
  /** `spec.containers[0]`. */
  readonly field: string;
  readonly name: string;
  readonly isInit: boolean;
}

export function containersOf(spec: PlainObject): readonly PlacedContainer[] {
  const place = (key: 'initContainers' | 'containers'): readonly PlacedContainer[] =>
    listAt(spec, key).map((container, index) => ({
      container,
      field: `spec.${key}[${index}]`,
      name: textAt(container, 'name') ?? '',
      isInit: key === 'initContainers',
    }));
  return [...place('initContainers'), ...place('containers')];
}

/** Containers of one Pod; Kubernetes' objects cannot hold many more. */
const MAX_CONTAINERS = 512;
const PROBES = ['startupProbe', 'readinessProbe', 'livenessProbe', 'lifecycle', 'securityContext'];

/** An API server sends nothing else; a file may. What is found is told to `reader`. */
export function checkShape(reader: Reader, pod: PlainObject): void {
  const mapping = (owner: PlainObject, key: string, field: string): PlainObject => {
    const value = owner[key];
    if (value !== undefined && value !== null && !isPlainObject(value)) {
      reader.error(field, 'wrong-type', 'expected a mapping');
    }
    return objectAt(owner, key);
  };
  const list = (owner: PlainObject, key: string, field: string): readonly PlainObject[] => {
    const entries = reader.list(owner[key] ?? undefined, field, MAX_CONTAINERS) ?? [];
    entries.forEach((entry, index) => {
      if (!isPlainObject(entry)) {
        reader.error(`${field}[${index}]`, 'wrong-type', 'expected a mapping');
      }
    });
    return entries.filter(isPlainObject);
  };
  const metadata = mapping(pod, 'metadata', 'metadata');
  mapping(metadata, 'annotations', 'metadata.annotations');
  mapping(metadata, 'labels', 'metadata.labels');
  const spec = mapping(pod, 'spec', 'spec');
  mapping(spec, 'securityContext', 'spec.securityContext');
  list(spec, 'volumes', 'spec.volumes');
  for (const key of ['initContainers', 'containers']) {
    list(spec, key, `spec.${key}`).forEach((container, index) => {
      const field = `spec.${key}[${index}]`;
      if (typeof container['name'] !== 'string') {
        reader.error(`${field}.name`, 'missing-field', 'the container has no name', 'name it');
      }
      list(container, 'ports', `${field}.ports`);
      list(container, 'volumeMounts', `${field}.volumeMounts`);
      for (const part of PROBES) mapping(container, part, `${field}.${part}`);
    });
  }
  if (listAt(spec, 'containers').length === 0) {
    reader.error('spec.containers', 'missing-field', 'the Pod has no container');
  }
}

/** Users that the Pod says its containers run as; `undefined` where one does not say: its image does. */
export function statedUsers(spec: PlainObject): readonly number[] | undefined {
  const ofPod = objectAt(spec, 'securityContext')['runAsUser'];
  const users = containersOf(spec).map(
    ({ container }) => objectAt(container, 'securityContext')['runAsUser'] ?? ofPod,
  );
  const known = users.filter((user): user is number => typeof user === 'number');
  return known.length === users.length ? [...new Set(known)] : undefined;
}
