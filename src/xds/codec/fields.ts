// Reads one message field by field; whatever was set and nobody asked for becomes a problem, so nothing is ever ignored.
import type { Problem } from '@weft/model/problem';
import { encodeMessage, findMessageType, messageType, type PlainMessage } from '../registry.ts';
import { type Occurrence, readPacked, type Shape, scanFields, shapeOf } from './wire.ts';

/** What reading one resource has found so far. */
export interface Reading {
  readonly problems: Problem[];
  /** Fields that may still be read; see {@link MAX_FIELDS}. */
  fieldsLeft: number;
}

/** The fields of one message, and where it stands in the resource. */
export interface Fields {
  readonly reading: Reading;
  readonly path: string;
  readonly depth: number;
  readonly byName: Map<string, Occurrence[]>;
}

/** @returns `undefined` only when it has reported a problem. */
export type Read<T> = (fields: Fields) => T | undefined;

/** Enough for 40,000 endpoints in one assignment; keeps the memory that 4 MiB of empty fields would take in bounds. */
export const MAX_FIELDS = 1_000_000;
/** More problems than anybody reads; later ones are dropped. */
export const MAX_PROBLEMS = 64;
/** Of any message in a resource: two levels for each of the 32 an RBAC tree may have, and those around it. */
export const MAX_MESSAGE_DEPTH = 96;
/** Of one field of packed integers. */
const MAX_INTEGERS = 1_024;
const DOUBLE_BYTES = 8;
const ANY_PREFIX = 'type.googleapis.com/';

export const createReading = (): Reading => ({ problems: [], fieldsLeft: MAX_FIELDS });

/** Records a problem at a field of the message, or at the message itself when `name` is empty. */
export function report(fields: Fields, name: string, code: string, message: string): undefined {
  const { problems } = fields.reading;
  if (problems.length >= MAX_PROBLEMS) return undefined;
  const field = join(fields.path, name);
  problems.push({ severity: 'error', code, ...(field === '' ? {} : { field }), message });
  return undefined;
}

/** Longer than any type URL of Envoy's; the rest of a peer's text tells nobody anything. */
const MAX_SHOWN = 128;

/** A peer's text for a message: quoted and cut. */
export const shown = (text: string): string =>
  JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);

function join(path: string, name: string): string {
  if (path === '' || name === '' || name.startsWith('[')) return path + name;
  return `${path}.${name}`;
}

/** Reads a whole message with `read`, then reports what `read` did not ask for. */
export function readMessage<T>(
  typeName: string,
  bytes: Uint8Array,
  at: { readonly reading: Reading; readonly path: string },
  read: Read<T>,
): T | undefined {
  return readAs(shapeOf(messageType(typeName)), bytes, { ...at, depth: 0 }, read);
}

function readAs<T>(
  shape: Shape,
  bytes: Uint8Array,
  at: { readonly reading: Reading; readonly path: string; readonly depth: number },
  read: Read<T>,
): T | undefined {
  const fields: Fields = { ...at, byName: new Map() };
  if (at.depth > MAX_MESSAGE_DEPTH) return report(fields, '', 'too-deep', 'is nested too deep');
  const before = at.reading.problems.length;
  scanFields(
    bytes,
    shape,
    (occurrence) => collect(fields, occurrence),
    ({ code, name = '', message }) => report(fields, name, code, message),
  );
  if (at.reading.problems.length > before) return undefined;
  const value = read(fields);
  for (const name of fields.byName.keys())
    report(fields, name, 'not-supported', 'is set, and has no meaning here');
  return value;
}

function collect(fields: Fields, occurrence: Occurrence): void {
  const { slot } = occurrence;
  if (fields.reading.fieldsLeft-- <= 0) {
    report(fields, '', 'too-large', `has more than ${MAX_FIELDS} fields`);
    return;
  }
  const earlier = fields.byName.get(slot.name);
  if (earlier === undefined) {
    fields.byName.set(slot.name, [occurrence]);
    if (slot.oneof === undefined) return;
    for (const [other] of fields.byName.values()) {
      if (other !== undefined && other !== occurrence && other.slot.oneof === slot.oneof)
        report(fields, slot.name, 'malformed', `is set beside ${other.slot.name}`);
    }
  } else if (slot.isRepeated) earlier.push(occurrence);
  else report(fields, slot.name, 'malformed', 'is set more than once');
}

/** All occurrences of a field, which count as read. */
function take(fields: Fields, name: string): readonly Occurrence[] {
  const found = fields.byName.get(name) ?? [];
  fields.byName.delete(name);
  return found;
}

/** The bytes of a message as they came, for what is compared as a whole. */
export const takeRaw = (fields: Fields, name: string): readonly Uint8Array[] =>
  take(fields, name).flatMap(({ value }) => (typeof value === 'number' ? [] : [value]));

export const missing = (fields: Fields, name: string): undefined =>
  report(fields, name, 'missing', 'is missing');

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeText(fields: Fields, name: string, value: Occurrence['value']): string {
  if (typeof value === 'number') return '';
  try {
    return utf8.decode(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    report(fields, name, 'malformed', 'is not UTF-8');
    return '';
  }
}

/** A string, empty when absent. */
export function text(fields: Fields, name: string): string {
  const [found] = take(fields, name);
  return found === undefined ? '' : decodeText(fields, name, found.value);
}

/** A string that may not be empty. */
export function requiredText(fields: Fields, name: string): string {
  const before = fields.reading.problems.length;
  const value = text(fields, name);
  if (value === '' && fields.reading.problems.length === before) missing(fields, name);
  return value;
}

export function texts(fields: Fields, name: string): readonly string[] {
  return take(fields, name).map(({ value }, index) =>
    decodeText(fields, `${name}[${index}]`, value),
  );
}

export function bytesOf(fields: Fields, name: string): Uint8Array {
  const [found] = take(fields, name);
  return found === undefined || typeof found.value === 'number' ? new Uint8Array() : found.value;
}

/** An integer, 0 when absent; beyond `max` (or its type's own bounds) a problem. */
export function integer(fields: Fields, name: string, max = Number.MAX_SAFE_INTEGER): number {
  const [found] = take(fields, name);
  if (found === undefined || typeof found.value !== 'number') return 0;
  const { slot, value } = found;
  if (value >= slot.min && value <= Math.min(slot.max, max)) return value;
  report(
    fields,
    name,
    'out-of-range',
    `is ${value}, not within ${slot.min} to ${Math.min(slot.max, max)}`,
  );
  return 0;
}

/** Repeated integers, each within its type's bounds and `max`; at most `MAX_INTEGERS`. */
export function integers(
  fields: Fields,
  name: string,
  max = Number.MAX_SAFE_INTEGER,
): readonly number[] {
  const values: number[] = [];
  for (const { slot, value } of take(fields, name)) {
    const found = typeof value === 'number' ? undefined : readPacked(value);
    const isGood = (one: number): boolean => one >= slot.min && one <= Math.min(slot.max, max);
    if (found === undefined) report(fields, name, 'malformed', 'is not a list of integers');
    else if (!found.every(isGood)) report(fields, name, 'out-of-range', `holds more than ${max}`);
    else values.push(...found.slice(0, MAX_INTEGERS + 1));
    if (values.length > MAX_INTEGERS) {
      report(fields, name, 'too-large', `has more than ${MAX_INTEGERS} values`);
      break;
    }
  }
  return values;
}

/** A double, 0 when absent; never NaN or infinite. */
export function double(fields: Fields, name: string): number {
  const bytes = bytesOf(fields, name);
  if (bytes.length !== DOUBLE_BYTES) return 0;
  const value = new DataView(bytes.buffer, bytes.byteOffset, DOUBLE_BYTES).getFloat64(0, true);
  if (Number.isFinite(value)) return value;
  report(fields, name, 'out-of-range', `is ${value}`);
  return 0;
}

/** A bool, false when absent. */
export function flag(fields: Fields, name: string): boolean {
  const [found] = take(fields, name);
  if (found === undefined || found.value === 0) return false;
  if (found.value !== 1) report(fields, name, 'malformed', 'is not a bool');
  return true;
}

/**
 * An enum's name mapped by `known`, which has the key `''` where the enum may be absent. A name that `known` lacks is a problem.
 */
export function choose<T>(
  fields: Fields,
  name: string,
  known: { readonly [enumName: string]: T },
): T | undefined {
  const [found] = take(fields, name);
  if (found === undefined && !Object.hasOwn(known, '')) return missing(fields, name);
  const { slot, value } = found ?? { value: '' };
  const enumName = typeof value === 'number' ? slot?.names?.[value] : '';
  if (enumName !== undefined && Object.hasOwn(known, enumName)) return known[enumName];
  const wanted = Object.keys(known).filter((key) => key !== '');
  const said = enumName ?? String(value);
  return report(fields, name, 'unknown-value', `is ${said}, not one of ${wanted.join(', ')}`);
}

/** Which member of a oneof is set. None is a problem: newer members look like that to an older reader. */
export function oneOf(fields: Fields, oneof: string): string | undefined {
  for (const [name, [first]] of fields.byName) if (first?.slot.oneof === oneof) return name;
  return report(fields, '', 'missing', `sets none of the known kinds of ${oneof}`);
}

/** A message, `undefined` and no problem when absent. */
export function message<T>(fields: Fields, name: string, read: Read<T>): T | undefined {
  const [found] = take(fields, name);
  return found && readOccurrence(fields, name, found, read);
}

export const isSet = (fields: Fields, name: string): boolean => fields.byName.has(name);

/** A message that may not be absent. */
export function requiredMessage<T>(fields: Fields, name: string, read: Read<T>): T | undefined {
  return isSet(fields, name) ? message(fields, name, read) : missing(fields, name);
}

/** The messages of a list. Those with problems are left out: the whole is refused anyway. */
export function messages<T>(fields: Fields, name: string, read: Read<T>): readonly T[] {
  const values: T[] = [];
  for (const [index, occurrence] of take(fields, name).entries()) {
    const value = readOccurrence(fields, `${name}[${index}]`, occurrence, read);
    if (value !== undefined) values.push(value);
  }
  return values;
}

function readOccurrence<T>(
  fields: Fields,
  name: string,
  { slot, value }: Occurrence,
  read: Read<T>,
): T | undefined {
  if (slot.type === undefined || typeof value === 'number')
    throw new TypeError(`Cannot read ${name} as a message: its type is ${slot.kind}`);
  return readAs(shapeOf(slot.type), value, below(fields, name), read);
}

const below = (fields: Fields, name: string) => ({
  reading: fields.reading,
  path: join(fields.path, name),
  depth: fields.depth + 1,
});

/** A map from strings to messages, its keys unique, in the order of the wire. */
export function messageMap<T>(fields: Fields, name: string, read: Read<T>): ReadonlyMap<string, T> {
  const values = new Map<string, T>();
  const keys = new Set<string>();
  for (const { slot, value } of take(fields, name)) {
    if (slot.entry === undefined || typeof value === 'number')
      throw new TypeError(`Cannot read ${name} as a map: its type is ${slot.kind}`);
    const at = { ...below(fields, name), path: fields.path };
    readAs(slot.entry, value, at, (entry) => {
      const key = text(entry, 'key');
      const place = `${name}[${shown(key)}]`;
      const [found] = take(entry, 'value');
      if (keys.has(key)) return report(fields, place, 'malformed', 'is there more than once');
      keys.add(key);
      if (found === undefined) return missing(fields, place);
      const entryValue = readOccurrence(fields, place, found, read);
      if (entryValue !== undefined) values.set(key, entryValue);
      return undefined;
    });
  }
  return values;
}

/** One message type that an Any may hold. */
export interface AnyReader<T> {
  readonly typeName: string;
  readonly read: Read<T>;
}

/** A `google.protobuf.Any` that holds one of `known`; paths inside it go on without a step of their own. */
export function readAny<T>(fields: Fields, known: readonly AnyReader<T>[]): T | undefined {
  const typeUrl = requiredText(fields, 'type_url');
  const bytes = bytesOf(fields, 'value');
  const reader = known.find(({ typeName }) => typeUrl === ANY_PREFIX + typeName);
  const type = reader && findMessageType(reader.typeName);
  if (reader === undefined || type === undefined)
    return report(
      fields,
      '',
      'unknown-type',
      `is of type ${shown(typeUrl)}, which is not known here`,
    );
  return readAs(shapeOf(type), bytes, { ...below(fields, ''), path: fields.path }, reader.read);
}

export function encodeAny(typeName: string, value: PlainMessage): PlainMessage {
  return { type_url: ANY_PREFIX + typeName, value: encodeMessage(typeName, value) };
}
