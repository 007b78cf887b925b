// Reads what all policy kinds share: metadata and the workload selector.
import { isDnsLabel, isDnsSubdomain } from '../identity.ts';
import { isPlainObject, shown, type PlainObject, type Reader } from './reader.ts';

export interface PolicyMetadata {
  readonly namespace: string;
  readonly name: string;
  /** 0 when the manifest has none: files have no API server to stamp them. */
  readonly createdAtMs: number;
  readonly annotations: ReadonlyMap<string, string>;
}

const MAX_LABELS = 4_096;
const MAX_LABEL_VALUE = 63;
/** Weft's own and Istio's: one schema, so that existing manifests work as they are. */
export const POLICY_API_VERSIONS: readonly string[] = [
  'security.weft.dev/v1',
  'security.istio.io/v1',
  'security.istio.io/v1beta1',
];
/** Namespace of a manifest that names none, as with kubectl. */
export const DEFAULT_NAMESPACE = 'default';

/** Checks what stands around `spec`. A misspelt `spec` must not be read as an empty one. */
export function parseEnvelope(
  reader: Reader,
  object: PlainObject,
  kind: string,
  versions: readonly string[] = POLICY_API_VERSIONS,
): PolicyMetadata {
  reader.object(object, '', ['apiVersion', 'kind', 'metadata', 'spec', 'status']);
  const { apiVersion, kind: actual } = { apiVersion: object['apiVersion'], kind: object['kind'] };
  if (actual !== kind) {
    reader.error('kind', 'wrong-kind', `expected the kind ${kind}`, `write kind: ${kind}`);
  }
  if (typeof apiVersion !== 'string' || !versions.includes(apiVersion)) {
    reader.error(
      'apiVersion',
      'unknown-api-version',
      typeof apiVersion === 'string' ? `unknown version ${shown(apiVersion)}` : 'no version is set',
      `write one of ${versions.join(', ')}`,
    );
  }
  return parseMetadata(reader, object);
}

function parseMetadata(reader: Reader, object: PlainObject): PolicyMetadata {
  const value = object['metadata'];
  if (!isPlainObject(value)) {
    reader.error('metadata', 'no-metadata', 'expected a mapping', 'set metadata.name');
  }
  const metadata = isPlainObject(value) ? value : {};
  const name = reader.string(metadata['name'], 'metadata.name') ?? '';
  const namespace = reader.string(metadata['namespace'], 'metadata.namespace') ?? DEFAULT_NAMESPACE;
  if (!isDnsSubdomain(name)) {
    reader.error(
      'metadata.name',
      'bad-name',
      `${shown(name)} is no valid name`,
      'use lower-case letters, digits, "-" and "."',
    );
  }
  if (!isDnsLabel(namespace)) {
    reader.error(
      'metadata.namespace',
      'bad-namespace',
      `${shown(namespace)} is no valid namespace`,
      'use lower-case letters, digits and "-"',
    );
  }
  const annotations = reader.stringMap(
    metadata['annotations'] ?? undefined,
    'metadata.annotations',
    MAX_LABELS,
  );
  return {
    namespace,
    name,
    createdAtMs: parseTimestamp(metadata['creationTimestamp']),
    annotations: annotations ?? new Map(),
  };
}

export function parseTimestamp(value: unknown): number {
  if (value instanceof Date) return value.getTime();
  const at = typeof value === 'string' ? Date.parse(value) : 0;
  return Number.isNaN(at) ? 0 : at;
}

/** `spec.selector`: labels that must all be there, exactly. */
export function parseSelector(
  reader: Reader,
  value: unknown,
  field: string,
): ReadonlyMap<string, string> | undefined {
  const selector = reader.object(value, field, ['matchLabels']);
  if (selector === undefined) return undefined;
  const labels = reader.stringMap(selector['matchLabels'], `${field}.matchLabels`, MAX_LABELS);
  for (const [key, text] of labels ?? []) {
    const at = `${field}.matchLabels.${key.slice(0, 64)}`;
    if (key === '') reader.error(at, 'empty-key', 'a label needs a key');
    if (key.includes('*') || text.includes('*')) {
      reader.error(
        at,
        'no-wildcard',
        `${shown(`${key}=${text}`)}: wildcards are not supported in selectors`,
        'write the whole label',
      );
    }
    if (text.length > MAX_LABEL_VALUE) {
      reader.error(at, 'too-long', `a label's value has at most ${MAX_LABEL_VALUE} characters`);
    }
  }
  return labels === undefined || labels.size === 0 ? undefined : labels;
}
