// Computes what a Pod's volumes and environment hold: pure, from the Pod and the ConfigMaps and Secrets it names.
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import type { Container, DownwardItem, NamedSource, Pod } from './pod.ts';

/** What the node knows of the Pod beyond its object. */
export interface PodPlace {
  readonly podIp: string;
  readonly nodeName: string;
  readonly nodeIp: string;
}

export interface Sources {
  configMap(name: string): KubeObject | undefined;
  secret(name: string): KubeObject | undefined;
}

export type Found<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

const found = <T>(value: T): Found<T> => ({ ok: true, value });

const UNITS: Readonly<Record<string, number>> = {
  Ki: 1_024,
  Mi: 1_048_576,
  Gi: 1_073_741_824,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  m: 1e-3,
};

/** Rounded up to whole cores or bytes, as the downward API does without a divisor. */
function wholeQuantity(text: string): string {
  const unit = Object.keys(UNITS).find((end) => text.endsWith(end));
  const number = Number(unit === undefined ? text : text.slice(0, -unit.length));
  return String(Math.ceil(number * (unit === undefined ? 1 : (UNITS[unit] ?? 1))));
}

const keyInBrackets = (path: string): string => path.slice(path.indexOf("['") + 2, -2);

export function podField(pod: Pod, place: PodPlace, path: string): Found<string> {
  const { metadata, spec } = pod;
  if (path.startsWith("metadata.labels['"))
    return found(metadata.labels?.[keyInBrackets(path)] ?? '');
  if (path.startsWith("metadata.annotations['")) {
    return found(metadata.annotations?.[keyInBrackets(path)] ?? '');
  }
  switch (path) {
    case 'metadata.name':
      return found(metadata.name);
    case 'metadata.namespace':
      return found(metadata.namespace);
    case 'metadata.uid':
      return found(metadata.uid);
    case 'metadata.labels':
      return found(quotedLines(metadata.labels));
    case 'metadata.annotations':
      return found(quotedLines(metadata.annotations));
    case 'spec.nodeName':
      return found(place.nodeName);
    case 'spec.serviceAccountName':
      return found(spec.serviceAccountName ?? 'default');
    case 'status.hostIP':
    case 'status.hostIPs':
      return found(place.nodeIp);
    case 'status.podIP':
    case 'status.podIPs':
      return found(place.podIp);
    default:
      return { ok: false, reason: `this node does not know the field ${path}` };
  }
}

const quotedLines = (map: Readonly<Record<string, string>> = {}): string =>
  Object.entries(map)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');

/** `limits.memory` of a container; empty when there is none. */
function resourceField(pod: Pod, containerName: string | undefined, path: string): string {
  const all = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  const { resources } = all.find(({ name }) => name === containerName) ?? {};
  const [kind = '', resource = ''] = path.split('.');
  const { limits = {}, requests = {} } = resources ?? {};
  const text = kind === 'limits' ? limits[resource] : (requests[resource] ?? limits[resource]);
  return text === undefined ? '' : wholeQuantity(text);
}

export function downwardFiles(
  pod: Pod,
  place: PodPlace,
  items: readonly DownwardItem[],
): Found<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const { path, fieldRef, resourceFieldRef } of items) {
    const field =
      fieldRef === undefined
        ? found(
            resourceField(pod, resourceFieldRef?.containerName, resourceFieldRef?.resource ?? ''),
          )
        : podField(pod, place, fieldRef.fieldPath);
    if (!field.ok) return field;
    files.set(path, Buffer.from(field.value));
  }
  return found(files);
}

/** Of a ConfigMap or Secret, by key. */
export function dataOf(object: KubeObject, kind: 'configMap' | 'secret'): Map<string, Buffer> {
  const values = new Map<string, Buffer>();
  const put = (field: string, encoding: 'utf8' | 'base64'): void => {
    const data = objectAt(object, field);
    for (const key of Object.keys(data ?? {})) {
      values.set(key, Buffer.from(textAt(data, key) ?? '', encoding));
    }
  };
  if (kind === 'secret') {
    put('data', 'base64');
    return values;
  }
  put('data', 'utf8');
  put('binaryData', 'base64');
  return values;
}

/** Files of one ConfigMap or Secret; none when it is optional and not there. */
export function sourceFiles(
  sources: Sources,
  kind: 'configMap' | 'secret',
  source: NamedSource,
): Found<ReadonlyMap<string, Buffer>> {
  const object = sources[kind](source.name);
  if (object === undefined) {
    if (source.optional === true) return found(new Map<string, Buffer>());
    return { ok: false, reason: `${kind.toLowerCase()} "${source.name}" not found` };
  }
  const data = dataOf(object, kind);
  if (source.items === undefined) return found(data);
  const files = new Map<string, Buffer>();
  for (const { key, path } of source.items) {
    const value = data.get(key);
    if (value !== undefined) files.set(path, value);
    else if (source.optional !== true) {
      return { ok: false, reason: `references non-existent key: ${key} of ${source.name}` };
    }
  }
  return found(files);
}

type FullEnv = Found<Record<string, string>>;

function keyed(
  sources: Sources,
  kind: 'configMap' | 'secret',
  ref: { readonly name: string; readonly key: string; readonly optional?: boolean },
): Found<string | undefined> {
  const object = sources[kind](ref.name);
  const value = object === undefined ? undefined : dataOf(object, kind).get(ref.key);
  if (value !== undefined) return found(value.toString());
  if (ref.optional === true) return found(undefined);
  const what =
    object === undefined
      ? `${kind.toLowerCase()} "${ref.name}" not found`
      : `couldn't find key ${ref.key} in ${ref.name}`;
  return { ok: false, reason: what };
}

/** `$(NAME)` becomes the variable's value when there is one, `$$` a dollar. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  let out = '';
  for (let at = 0; at < text.length; at++) {
    const next = text[at + 1];
    if (text[at] !== '$' || next === undefined) out += text[at];
    else if (next === '$') {
      out += '$';
      at++;
    } else if (next === '(') {
      const end = text.indexOf(')', at);
      const name = end === -1 ? '' : text.slice(at + 2, end);
      const value = end !== -1 && Object.hasOwn(env, name) ? env[name] : undefined;
      if (value === undefined) out += '$';
      else {
        out += value;
        at = end;
      }
    } else out += '$';
  }
  return out;
}

function addWholeSources(
  env: Record<string, string>,
  container: Container,
  sources: Sources,
): FullEnv {
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const kind = configMapRef === undefined ? 'secret' : 'configMap';
    const ref = configMapRef ?? secretRef;
    if (ref === undefined) continue;
    const files = sourceFiles(sources, kind, ref);
    if (!files.ok) return files;
    for (const [key, value] of files.value) env[`${prefix}${key}`] = value.toString();
  }
  return found(env);
}

/** The environment of a container, over what its image and the cluster give it. */
export function environment(
  pod: Pod,
  container: Container,
  {
    place,
    sources,
    base,
  }: {
    readonly place: PodPlace;
    readonly sources: Sources;
    readonly base: Readonly<Record<string, string>>;
  },
): FullEnv {
  const env: Record<string, string> = { ...base };
  const whole = addWholeSources(env, container, sources);
  if (!whole.ok) return whole;
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom === undefined) {
      env[name] = expand(value ?? '', env);
      continue;
    }
    const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = valueFrom;
    let text: Found<string | undefined> = found(undefined);
    if (fieldRef !== undefined) text = podField(pod, place, fieldRef.fieldPath);
    else if (configMapKeyRef !== undefined) text = keyed(sources, 'configMap', configMapKeyRef);
    else if (secretKeyRef !== undefined) text = keyed(sources, 'secret', secretKeyRef);
    else if (resourceFieldRef !== undefined) {
      const { containerName = container.name, resource } = resourceFieldRef;
      text = found(resourceField(pod, containerName, resource));
    }
    if (!text.ok) return text;
    if (text.value !== undefined) env[name] = text.value;
  }
  return found(env);
}
