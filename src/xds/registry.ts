// Owns the protobuf types: loads `proto/` once, encodes and decodes plain objects, and makes gRPC service definitions of them.
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { readProtoRoot } from './proto-root.ts';

/** A message as a plain object: fields in snake case as in the .proto files, enums by name, bytes as Uint8Array. */
export interface PlainMessage {
  readonly [field: string]: unknown;
}

let loaded: protobuf.Root | undefined;

/**
 * Every type of `proto/`, parsed at first use (about 10 ms and 1 MB for the whole tree; protobufjs directly, because
 * proto-loader makes descriptors of every message as well, which doubles both).
 */
export function protoRoot(): protobuf.Root {
  loaded ??= readProtoRoot();
  return loaded;
}

/** @returns `undefined` when no wire file of this program has it. */
export function findMessageType(typeName: string): protobuf.Type | undefined {
  const found = protoRoot().lookup(typeName, protobuf.Type);
  return found instanceof protobuf.Type ? found : undefined;
}

/** @throws {RangeError} when there is no such message: names are the program's own, never a peer's. */
export function messageType(typeName: string): protobuf.Type {
  const found = findMessageType(typeName);
  if (found === undefined)
    throw new RangeError(`Cannot find message type ${typeName}: no file under proto/ defines it`);
  return found;
}

/**
 * Fields are written in the order of their numbers, so equal objects give equal bytes (map entries keep the
 * object's order: sort them first). Enums may be given by name, and absent fields as `undefined`.
 * @throws {TypeError} when a value has not its field's type.
 */
export function encodeMessage(typeName: string, message: PlainMessage): Uint8Array {
  return encodeAs(messageType(typeName), message);
}

/**
 * Absent fields, empty lists and empty maps stay absent. Unknown fields are skipped, as protobuf wants it for the protocol's envelopes;
 * resources are read strictly, by the codecs, and credentials by `unknown-fields.ts`. @throws on bytes that are not such a message.
 */
export function decodeMessage(typeName: string, bytes: Uint8Array): PlainMessage {
  return decodeAs(messageType(typeName), bytes);
}

/** For `server.addService` and for making clients. A `google.protobuf.Any` of `{type_url, value}` is copied as it is. */
export function serviceDefinition(serviceName: string): ServiceDefinition {
  const service = protoRoot().lookupService(serviceName);
  const methods = service.methodsArray.map((method): [string, MethodDefinition<object, object>] => {
    method.resolve();
    const { resolvedRequestType: request, resolvedResponseType: response } = method;
    if (request === null || response === null)
      throw new TypeError(`Cannot define ${serviceName}.${method.name}: its types are not loaded`);
    return [
      method.name,
      {
        path: `/${service.fullName.slice(1)}/${method.name}`,
        requestStream: method.requestStream ?? false,
        responseStream: method.responseStream ?? false,
        requestSerialize: (message) => bufferOf(encodeAs(request, { ...message })),
        requestDeserialize: (bytes) => decodeAs(request, bytes),
        responseSerialize: (message) => bufferOf(encodeAs(response, { ...message })),
        responseDeserialize: (bytes) => decodeAs(response, bytes),
      },
    ];
  });
  return Object.fromEntries(methods);
}

function encodeAs(type: protobuf.Type, message: PlainMessage): Uint8Array {
  return type.encode(type.fromObject(message)).finish();
}

function decodeAs(type: protobuf.Type, bytes: Uint8Array): PlainMessage {
  const message: PlainMessage = type.toObject(type.decode(bytes), { longs: Number, enums: String });
  return message;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
