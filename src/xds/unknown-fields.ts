// Finds what the bytes of a message say that its .proto type does not know: for messages of Weft's own whose fields restrict.
import type { MethodDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { messageType, type PlainMessage } from './registry.ts';

export interface UnknownField {
  /** `credentials[0].injections[1]`; empty for the message itself. */
  readonly place: string;
  /** Of the message that has it. */
  readonly typeName: string;
  readonly number: number;
}

/** Of one message; more say nothing new. */
const MAX_FOUND = 16;
/** Weft's own messages are a few levels deep; no peer makes this a deep recursion. */
const MAX_DEPTH = 32;
const LENGTH_DELIMITED = 2;
/** Of the entries of a map. */
const MAP_KEY = 1;
const MAP_VALUE = 2;

const unknownByMessage = new WeakMap<PlainMessage, readonly UnknownField[]>();

interface Search {
  readonly found: UnknownField[];
  readonly reader: protobuf.Reader;
}

/**
 * Fields that a newer peer has set and this program's wire files do not have: protobuf skips them, as if they had not been said. What an Any
 * or bytes hold is not looked into. @throws on bytes that are not such a message, or nested deeper than any.
 */
export function unknownFieldsOf(typeName: string, bytes: Uint8Array): readonly UnknownField[] {
  const search: Search = { found: [], reader: protobuf.Reader.create(bytes) };
  searchMessage(search, messageType(typeName), { place: '', end: bytes.length, depth: 0 });
  return search.found;
}

interface Place {
  readonly place: string;
  readonly end: number;
  readonly depth: number;
}

function searchMessage(search: Search, type: protobuf.Type, at: Place): void {
  if (at.depth > MAX_DEPTH)
    throw new RangeError(`Cannot read ${type.fullName}: it is nested too deep`);
  const { reader } = search;
  const counts = new Map<protobuf.Field, number>();
  while (reader.pos < at.end) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    if (field === undefined) note(search, at.place, type.fullName.slice(1), tag >>> 3);
    if (field === undefined || (tag & 7) !== LENGTH_DELIMITED || !isSearched(field)) {
      reader.skipType(tag & 7);
      continue;
    }
    const index = counts.get(field) ?? 0;
    counts.set(field, index + 1);
    const step = field.repeated || field.map ? `${field.name}[${index}]` : field.name;
    const below = enter(reader, at, step);
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
    if (field.map) searchEntry(search, field, below);
    else if (inner !== undefined) searchMessage(search, inner, below);
  }
}

/** The key and the value of one entry of a map; a value that is a message is searched. */
function searchEntry(search: Search, field: protobuf.Field, at: Place): void {
  const { reader } = search;
  while (reader.pos < at.end) {
    const tag = reader.uint32();
    const number = tag >>> 3;
    if (number !== MAP_KEY && number !== MAP_VALUE)
      note(search, at.place, field.fullName.slice(1), number);
    if (number === MAP_VALUE && field.resolvedType instanceof protobuf.Type)
      searchMessage(search, field.resolvedType, enter(reader, at, ''));
    else reader.skipType(tag & 7);
  }
}

const isSearched = (field: protobuf.Field): boolean =>
  field.map || field.resolvedType instanceof protobuf.Type;

function enter(reader: protobuf.Reader, at: Place, step: string): Place {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > at.end) throw new RangeError(`Cannot read ${at.place}.${step}: its bytes end before`);
  const place = at.place === '' || step === '' ? at.place + step : `${at.place}.${step}`;
  return { place, end, depth: at.depth + 1 };
}

function note({ found }: Search, place: string, typeName: string, number: number): void {
  if (found.length < MAX_FOUND) found.push({ place, typeName, number });
}

/** The same method; what is received says what of it was not known: `unknownIn()`. */
export function noticingUnknown<Request>(
  method: MethodDefinition<Request, PlainMessage>,
  responseTypeName: string,
): MethodDefinition<Request, PlainMessage> {
  return {
    ...method,
    responseDeserialize: (bytes) => {
      const unknown = unknownFieldsOf(responseTypeName, bytes);
      const message = method.responseDeserialize(bytes);
      if (unknown.length > 0) unknownByMessage.set(message, unknown);
      return message;
    },
  };
}

/** Of a message that a method of `noticingUnknown()` received. */
export const unknownIn = (message: PlainMessage): readonly UnknownField[] =>
  unknownByMessage.get(message) ?? [];

export const describeUnknown = ({ typeName, number }: UnknownField): string =>
  `has field number ${number} of ${typeName}, which is not known here`;
