// Puts into the bytes of a message what its reader cannot know: a field, a type or a value of an enum of a later release, at every place in turn.
import { messageType } from '@weft/xds/registry';
import protobuf from 'protobufjs';

export interface Altered {
  /** `filter_chains.filters.typed_config.http_filters: a field`. */
  readonly what: string;
  readonly bytes: Uint8Array;
}

/** No message of Envoy's or Weft's has it. */
export const UNKNOWN_NUMBER = 19_000;
const UNKNOWN_FIELD = Buffer.from(
  protobuf.Writer.create()
    .uint32(UNKNOWN_NUMBER * 8)
    .uint32(1)
    .finish(),
);
export const UNKNOWN_TYPE = 'type.googleapis.com/weft.later.v9.Restriction';
const UNKNOWN_VALUE = 99;
const LENGTH_DELIMITED = 2;

/** One occurrence of a field: its bytes with the tag, and those of its value. */
interface Piece {
  readonly field: protobuf.Field | undefined;
  readonly number: number;
  readonly wireType: number;
  readonly whole: Uint8Array;
  readonly value: Uint8Array;
}

function piecesOf(type: protobuf.Type, bytes: Uint8Array): readonly Piece[] {
  const reader = protobuf.Reader.create(bytes);
  const pieces: Piece[] = [];
  while (reader.pos < bytes.length) {
    const start = reader.pos;
    const tag = reader.uint32();
    const wireType = tag & 7;
    let from = reader.pos;
    if (wireType === LENGTH_DELIMITED) {
      const length = reader.uint32();
      from = reader.pos;
      reader.skip(length);
    } else reader.skipType(wireType);
    pieces.push({
      field: type.fieldsById[tag >>> 3],
      number: tag >>> 3,
      wireType,
      whole: bytes.subarray(start, reader.pos),
      value: bytes.subarray(from, reader.pos),
    });
  }
  return pieces;
}

const delimited = (number: number, value: Uint8Array): Uint8Array =>
  protobuf.Writer.create()
    .uint32(number * 8 + LENGTH_DELIMITED)
    .bytes(value)
    .finish();

/** Each with one thing that is not known, and nothing else changed. */
export function* alterations(
  type: protobuf.Type,
  bytes: Uint8Array,
  place = '',
): Generator<Altered> {
  yield { what: `${place}: a field`, bytes: Buffer.concat([bytes, UNKNOWN_FIELD]) };
  const pieces = piecesOf(type, bytes);
  for (const [at, piece] of pieces.entries()) {
    const { field } = piece;
    if (field === undefined) continue;
    const step = `${place}${place === '' ? '' : '.'}${field.name}`;
    for (const { what, bytes: whole } of ofPiece(type, pieces, piece, step)) {
      const all = pieces.map((other, index) => (index === at ? whole : other.whole));
      yield { what, bytes: Buffer.concat(all) };
    }
  }
}

function* ofPiece(
  type: protobuf.Type,
  pieces: readonly Piece[],
  { field, number, wireType, value }: Piece,
  step: string,
): Generator<Altered> {
  const inner = field?.resolvedType;
  if (inner instanceof protobuf.Enum && wireType === 0) {
    const bytes = protobuf.Writer.create()
      .uint32(number * 8)
      .uint32(UNKNOWN_VALUE)
      .finish();
    yield { what: `${step}: a value`, bytes };
    return;
  }
  if (wireType !== LENGTH_DELIMITED) return;
  const holds = type.fullName === '.google.protobuf.Any' ? heldBy(pieces) : undefined;
  if (holds !== undefined && field?.name === 'type_url') {
    yield { what: `${step}: a type`, bytes: delimited(number, Buffer.from(UNKNOWN_TYPE)) };
    return;
  }
  const below = holds !== undefined && field?.name === 'value' ? holds : inner;
  if (!(below instanceof protobuf.Type) || field?.map === true) return;
  for (const { what, bytes } of alterations(below, value, step))
    yield { what, bytes: delimited(number, bytes) };
}

function heldBy(pieces: readonly Piece[]): protobuf.Type | undefined {
  const url = pieces.find(({ field }) => field?.name === 'type_url');
  if (url === undefined) return undefined;
  const text = Buffer.from(url.value).toString('utf8');
  return messageType(text.slice(text.indexOf('/') + 1));
}
