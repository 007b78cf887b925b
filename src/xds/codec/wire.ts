// Splits the bytes of one message into its fields by the .proto types, and refuses what those types do not know.
import protobuf from 'protobufjs';

/** How one field number of a message is read. */
export interface Slot {
  readonly name: string;
  readonly kind:
    | 'text'
    | 'bytes'
    | 'integer'
    | 'flag'
    | 'enum'
    | 'double'
    | 'message'
    | 'map'
    /** Repeated integers, as proto3 writes them: one after the other in one value. */
    | 'packed';
  readonly isRepeated: boolean;
  readonly oneof: string | undefined;
  /** Of a message. */
  readonly type: protobuf.Type | undefined;
  /** Of an enum: names by number. */
  readonly names: Readonly<Record<number, string>> | undefined;
  /** Of a map: its entries, `key` and `value`. */
  readonly entry: Shape | undefined;
  /** Inclusive bounds of an integer. */
  readonly min: number;
  readonly max: number;
}
export type Shape = ReadonlyMap<number, Slot>;

/** One occurrence of a field. Integers are numbers (rounded beyond 2^53, which no bound admits); the rest is its bytes. */
export interface Occurrence {
  readonly slot: Slot;
  readonly value: number | Uint8Array;
}

export interface WireFault {
  readonly code: 'malformed' | 'unknown-field';
  /** The field, where it has a name. */
  readonly name?: string;
  readonly message: string;
}

const WIRE_VARINT = 0;
const WIRE_64 = 1;
const WIRE_BYTES = 2;
const WIRE_32 = 5;
const TWO_32 = 0x1_0000_0000;

const INTEGER_BOUNDS: { readonly [type: string]: readonly [number, number] } = {
  uint32: [0, TWO_32 - 1],
  int32: [-0x8000_0000, 0x7fff_ffff],
  /** As signed: beyond 2^63 it is below the lower bound. */
  uint64: [0, Number.MAX_SAFE_INTEGER],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

const shapes = new Map<protobuf.Type, Shape>();

/** What the messages of a type may hold. */
export function shapeOf(type: protobuf.Type): Shape {
  const known = shapes.get(type);
  if (known !== undefined) return known;
  const shape = new Map(type.fieldsArray.map((field) => [field.id, slotOf(field)]));
  shapes.set(type, shape);
  return shape;
}

function slotOf(field: protobuf.Field): Slot {
  field.resolve();
  const value = { ...plainSlot(field), name: 'value', isRepeated: false };
  if (field instanceof protobuf.MapField) {
    const key = { ...value, name: 'key', kind: 'text' as const, type: undefined, names: undefined };
    if (field.keyType !== 'string')
      throw new TypeError(`Cannot read ${field.fullName}: only string keys are supported`);
    const entry: Shape = new Map<number, Slot>([
      [1, key],
      [2, value],
    ]);
    return { ...value, name: field.name, kind: 'map', isRepeated: true, type: undefined, entry };
  }
  return { ...value, name: field.name, isRepeated: field.repeated };
}

function plainSlot(field: protobuf.Field): Slot {
  const { resolvedType } = field;
  const [min, max] = INTEGER_BOUNDS[field.type] ?? [0, 0];
  const single = kindOf(field);
  const kind = field.repeated && single === 'integer' ? 'packed' : single;
  if (field.repeated && kind !== 'text' && kind !== 'message' && kind !== 'packed')
    throw new TypeError(`Cannot read ${field.fullName}: repeated ${kind} is not supported`);
  return {
    name: field.name,
    kind,
    isRepeated: field.repeated,
    oneof: field.partOf?.name,
    type: resolvedType instanceof protobuf.Type ? resolvedType : undefined,
    names: resolvedType instanceof protobuf.Enum ? resolvedType.valuesById : undefined,
    entry: undefined,
    min,
    max,
  };
}

function kindOf(field: protobuf.Field): Slot['kind'] {
  if (field.resolvedType instanceof protobuf.Type) return 'message';
  if (field.resolvedType instanceof protobuf.Enum) return 'enum';
  switch (field.type) {
    case 'string':
      return 'text';
    case 'bytes':
      return 'bytes';
    case 'bool':
      return 'flag';
    case 'double':
      return 'double';
    default:
      if (INTEGER_BOUNDS[field.type] === undefined)
        throw new TypeError(`Cannot read ${field.fullName}: type ${field.type} is not supported`);
      return 'integer';
  }
}

/** A place in the bytes of one message. */
interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

/**
 * Calls `onField` for every field in the order of the wire. Unlike protobuf's own rule an unknown field is a fault: what a newer control plane
 * says and this program does not know must not be taken as if it had not been said (CVE-2022-21679). Ends at the first fault of form.
 */
export function scanFields(
  bytes: Uint8Array,
  shape: Shape,
  onField: (occurrence: Occurrence) => void,
  onFault: (fault: WireFault) => void,
): void {
  const cursor: Cursor = { bytes, at: 0 };
  while (cursor.at < bytes.length) {
    const tag = readVarint(cursor);
    if (tag === undefined || tag > TWO_32 - 1 || tag < 8) {
      onFault({ code: 'malformed', message: 'is not a protobuf message' });
      return;
    }
    const number = Math.floor(tag / 8);
    const slot = shape.get(number);
    const value = readValue(cursor, tag % 8);
    if (value === undefined) {
      onFault({ code: 'malformed', ...nameOf(slot), message: 'is not a protobuf message' });
      return;
    }
    if (slot === undefined) {
      onFault({ code: 'unknown-field', message: `has field number ${number}, which is not known` });
    } else if (tag % 8 === wireTypeOf(slot)) {
      onField({ slot, value });
    } else {
      onFault({ code: 'malformed', name: slot.name, message: `has wire type ${tag % 8}` });
    }
  }
}

const nameOf = (slot: Slot | undefined): { readonly name?: string } =>
  slot === undefined ? {} : { name: slot.name };

function wireTypeOf(slot: Slot): number {
  if (slot.kind === 'integer' || slot.kind === 'flag' || slot.kind === 'enum') return WIRE_VARINT;
  return slot.kind === 'double' ? WIRE_64 : WIRE_BYTES;
}

/** @returns `undefined` when the bytes end in the middle, or the wire type is none (groups have no use in proto3). */
function readValue(cursor: Cursor, wireType: number): number | Uint8Array | undefined {
  if (wireType === WIRE_VARINT) return readVarint(cursor);
  let length: number | undefined;
  if (wireType === WIRE_64) length = 8;
  else if (wireType === WIRE_32) length = 4;
  else if (wireType === WIRE_BYTES) length = readVarint(cursor);
  if (length === undefined || length < 0 || length > cursor.bytes.length - cursor.at)
    return undefined;
  const value = cursor.bytes.subarray(cursor.at, cursor.at + length);
  cursor.at += length;
  return value;
}

/** The integers of a packed field. @returns `undefined` when the bytes end in the middle of one. */
export function readPacked(bytes: Uint8Array): readonly number[] | undefined {
  const cursor: Cursor = { bytes, at: 0 };
  const values: number[] = [];
  while (cursor.at < bytes.length) {
    const value = readVarint(cursor);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

/** A varint as a signed 64-bit integer. */
function readVarint(cursor: Cursor): number | undefined {
  let low = 0;
  let high = 0;
  for (let index = 0; index < 10; index++) {
    const byte = cursor.bytes[cursor.at];
    if (byte === undefined) return undefined;
    cursor.at++;
    const bits = byte & 0x7f;
    if (index < 4) low += bits * 2 ** (7 * index);
    else if (index === 4) {
      low += (bits & 0x0f) * 2 ** 28;
      high += bits >>> 4;
    } else if (index < 9) high += bits * 2 ** (7 * index - 32);
    else if (bits > 1) return undefined;
    else high += bits * 2 ** 31;
    if (byte < 0x80) return (high | 0) * TWO_32 + low;
  }
  return undefined;
}
