// Reads discovery responses of both spellings without decoding what they carry: a fleet must not cost more than what it measures.

/** A resource as it came: its message is not decoded. */
export interface CarriedResource {
  readonly name: string;
  readonly version: string;
  readonly value: Buffer;
}

export interface CarriedResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  /** Of the whole response; empty in delta. */
  readonly version: string;
  readonly resources: readonly CarriedResource[];
}

export type Variant = 'delta' | 'sotw';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** Fields of text and messages by number, the last of each; numbers are passed over. */
function* fieldsOf(bytes: Buffer): Generator<readonly [number: number, content: Buffer]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 0x80) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag & 7;
    if (wireType === VARINT) varint();
    else if (wireType === FIXED64) at += 8;
    else if (wireType === FIXED32) at += 4;
    else if (wireType === LENGTH_DELIMITED) {
      const length = varint();
      yield [tag >>> 3, bytes.subarray(at, at + length)];
      at += length;
    } else throw new SyntaxError(`Cannot read a response: wire type ${wireType}`);
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

function fieldOf(bytes: Buffer, wanted: number): Buffer {
  for (const [number, content] of fieldsOf(bytes)) if (number === wanted) return content;
  return EMPTY;
}

export function readCarried(variant: Variant, bytes: Buffer): CarriedResponse {
  const read = variant === 'delta' ? readDeltaResource : readSotwResource;
  const resources: CarriedResource[] = [];
  let [typeUrl, nonce, version] = ['', '', ''];
  for (const [number, content] of fieldsOf(bytes)) {
    if (number === 1) version = variant === 'sotw' ? content.toString() : '';
    else if (number === 2) resources.push(read(content));
    else if (number === 4) typeUrl = content.toString();
    else if (number === 5) nonce = content.toString();
  }
  return { typeUrl, nonce, version, resources };
}

function readDeltaResource(bytes: Buffer): CarriedResource {
  let [name, version] = ['', ''];
  let value = EMPTY;
  for (const [number, content] of fieldsOf(bytes)) {
    if (number === 1) version = content.toString();
    else if (number === 2) value = fieldOf(content, 2);
    else if (number === 3) name = content.toString();
  }
  return { name, version, value };
}

/** All five kinds have their name in the first field. */
function readSotwResource(any: Buffer): CarriedResource {
  const value = fieldOf(any, 2);
  return { name: fieldOf(value, 1).toString(), version: '', value };
}
