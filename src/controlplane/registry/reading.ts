// What reading one manifest gives, and the parts that all kinds of Kubernetes objects have.
import { isDnsLabel, isDnsSubdomain } from '@weft/model/identity';
import { formatIp, parseIp } from '@weft/model/ip';
import type { ObjectMeta, RegistryObject } from '@weft/model/mesh/objects';
import { DEFAULT_NAMESPACE } from '@weft/model/policy/parse-metadata';
import { isPlainObject, shown, type PlainObject, type Reader } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';

export type Reading =
  /** `objects` may be none: sound, and nothing that the mesh uses. The problems do not stand against it. */
  | {
      readonly kind: 'good';
      readonly objects: readonly RegistryObject[];
      readonly problems: readonly Problem[];
    }
  /** `closed` is what must hold when there is no good version: it lets through less than any the author can have meant. */
  | {
      readonly kind: 'bad';
      readonly closed: RegistryObject | undefined;
      readonly problems: readonly Problem[];
    };

/** The outcome of a reader: whatever it found wrong makes the object bad. */
export function outcome(
  reader: Reader,
  object: RegistryObject | undefined,
  warnings: readonly Problem[] = [],
): Reading {
  if (reader.problems.length > 0) {
    return { kind: 'bad', closed: undefined, problems: [...reader.problems, ...warnings] };
  }
  return { kind: 'good', objects: object === undefined ? [] : [object], problems: warnings };
}

/** Labels and annotations of one object; Kubernetes bounds their bytes, not their number. */
const MAX_LABELS = 4_096;
/** Entries of one list: above the endpoints of a slice (1000) and the ports of anything. */
export const MAX_LIST = 2_048;

/** A mapping of which only some keys matter here; an empty one when it is absent or `null`. */
export function mapping(reader: Reader, value: unknown, field: string): PlainObject {
  if (value === undefined || value === null) return {};
  if (isPlainObject(value)) return value;
  reader.error(field, 'wrong-type', 'expected a mapping');
  return {};
}

/** `null` is how YAML spells an empty value. */
export const given = (value: unknown): unknown => (value === null ? undefined : value);

export function items(
  reader: Reader,
  value: unknown,
  field: string,
): readonly (readonly [PlainObject, string])[] {
  const entries = reader.list(given(value), field, MAX_LIST) ?? [];
  return entries.map((entry, index) => {
    const at = `${field}[${index}]`;
    return [mapping(reader, entry, at), at] as const;
  });
}

export type Scope = 'namespaced' | 'cluster';

export function readMeta(reader: Reader, object: PlainObject, scope: Scope): ObjectMeta {
  const metadata = mapping(reader, object['metadata'], 'metadata');
  const name = reader.string(given(metadata['name']), 'metadata.name') ?? '';
  if (!isDnsSubdomain(name)) {
    const cure = 'use lower-case letters, digits, "-" and "."';
    reader.error('metadata.name', 'bad-name', `${shown(name)} is no valid name`, cure);
  }
  const namespace =
    scope === 'cluster'
      ? ''
      : (reader.string(given(metadata['namespace']), 'metadata.namespace') ?? DEFAULT_NAMESPACE);
  if (scope === 'namespaced' && !isDnsLabel(namespace)) {
    const message = `${shown(namespace)} is no valid namespace`;
    const cure = 'use lower-case letters, digits and "-"';
    reader.error('metadata.namespace', 'bad-namespace', message, cure);
  }
  const { labels, annotations } = readLabels(reader, metadata, 'metadata');
  return { namespace, name, labels, annotations };
}

type Labels = Pick<ObjectMeta, 'labels' | 'annotations'>;

export function readLabels(reader: Reader, metadata: PlainObject, field: string): Labels {
  const read = (key: string): ReadonlyMap<string, string> =>
    reader.stringMap(given(metadata[key]), `${field}.${key}`, MAX_LABELS) ?? new Map();
  return { labels: read('labels'), annotations: read('annotations') };
}

/** `matchLabels` without its wrapping: plain labels that must all be there. Empty is absent. */
export function readLabelMap(
  reader: Reader,
  value: unknown,
  field: string,
): ReadonlyMap<string, string> | undefined {
  const labels = reader.stringMap(given(value), field, MAX_LABELS);
  return labels === undefined || labels.size === 0 ? undefined : labels;
}

export const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;

/** A value for a message. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (typeof value === 'string') return shown(value);
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'this';
}

/** @returns 0 when it is no port, which is then among the problems. */
export function readPort(reader: Reader, value: unknown, field: string): number {
  if (isPort(value)) return value;
  reader.error(
    field,
    'bad-port',
    `${describe(value)} is no port`,
    'write a number from 1 to 65535',
  );
  return 0;
}

/** @returns the canonical text; `undefined` when it is no address, which is then among the problems. */
export function readIp(reader: Reader, value: unknown, field: string): string | undefined {
  const text = reader.string(value, field);
  const ip = text === undefined ? undefined : parseIp(text);
  if (ip !== undefined) return formatIp(ip);
  if (text !== undefined) reader.error(field, 'bad-ip', `${shown(text)} is no IP address`);
  return undefined;
}

/** The mesh carries TCP; ports of other protocols are no business of it. */
export const isTcp = (port: PlainObject): boolean =>
  port['protocol'] === undefined || port['protocol'] === null || port['protocol'] === 'TCP';

export function warning(code: string, field: string, message: string, cure?: string): Problem {
  const problem: Problem = { severity: 'warning', code, field, message };
  return cure === undefined ? problem : { ...problem, cure };
}
