// Writes response envelopes around resources that are encoded already: their bytes are copied, never made again.
import { type EncodedResource, type StreamKind, typeUrlOf } from '../resource.ts';

type AnyResource = EncodedResource<StreamKind>;

/** Protobuf's wire type of length-delimited fields; all that an envelope has. */
const LENGTH_DELIMITED = 2;

type Prefixes = WeakMap<AnyResource, Uint8Array>;
/** What stands before a resource's bytes is the same on every stream. */
const anyPrefixes: Prefixes = new WeakMap();
const resourcePrefixes: Prefixes = new WeakMap();

/** A field of text; nothing at all when it is empty, as proto3 has it. */
export function textField(number: number, text: string): Uint8Array {
  if (text === '') return new Uint8Array();
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([fieldHead(number, bytes.byteLength), bytes]);
}

/** A field that holds a message. */
export function messageField(number: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([fieldHead(number, content.byteLength), content]);
}

/** `DiscoveryResponse.resources` (an Any) without its last bytes: the resource itself follows. */
export function anyPrefix(resource: AnyResource): Uint8Array {
  return remembered(anyPrefixes, resource, () => {
    const head = anyHead(resource);
    return Buffer.concat([fieldHead(2, head.byteLength + resource.bytes.byteLength), head]);
  });
}

/**
 * `DeltaDiscoveryResponse.resources` without the resource's bytes, which follow: the Any is written last, so that
 * they end the field. Readers take fields in any order.
 */
export function resourcePrefix(resource: AnyResource): Uint8Array {
  return remembered(resourcePrefixes, resource, () => {
    const any = anyHead(resource);
    const anyLength = any.byteLength + resource.bytes.byteLength;
    const head = Buffer.concat([
      textField(1, resource.version),
      textField(3, resource.name),
      fieldHead(2, anyLength),
    ]);
    return Buffer.concat([fieldHead(2, head.byteLength + anyLength), head, any]);
  });
}

/** Type URL and the head of the value. An empty value is written too, so that every Any has the same form. */
function anyHead({ kind, bytes }: AnyResource): Buffer {
  return Buffer.concat([textField(1, typeUrlOf(kind)), fieldHead(2, bytes.byteLength)]);
}

function remembered(prefixes: Prefixes, resource: AnyResource, make: () => Uint8Array): Uint8Array {
  const known = prefixes.get(resource);
  if (known !== undefined) return known;
  const made = make();
  prefixes.set(resource, made);
  return made;
}

function fieldHead(number: number, length: number): Buffer {
  return Buffer.from([...varint(number * 8 + LENGTH_DELIMITED), ...varint(length)]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}
