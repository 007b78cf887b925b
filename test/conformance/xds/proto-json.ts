// Turns resources in protobuf's JSON into bytes, by the definitions of Envoy's own API that come with a client of another make.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import protobuf from 'protobufjs';

const at = (path: string): string =>
  fileURLToPath(new URL(`../../../node_modules/${path}`, import.meta.url));
const API = at('@grpc/grpc-js-xds/deps');
/** In the order in which an import is looked for. */
const ROOTS = [
  join(API, 'envoy-api'),
  join(API, 'xds'),
  join(API, 'googleapis'),
  join(API, 'protoc-gen-validate'),
  at('protobufjs'),
];
/** Deeper than any resource. */
const MAX_DEPTH = 100;
const WRAPPERS = new Set(
  ['Double', 'Float', 'Int64', 'UInt64', 'Int32', 'UInt32', 'Bool', 'String', 'Bytes'].map(
    (name) => `google.protobuf.${name}Value`,
  ),
);

const root = new protobuf.Root();
root.resolvePath = (_origin, target) =>
  ROOTS.map((folder) => join(folder, target)).find((path) => existsSync(path)) ?? target;
const loaded = new Set<string>();

/** What cannot be read of what was given, with the path of the field. */
export class ProtoJsonError extends Error {}

/** @returns `undefined` for a type that no file defines. */
function typeOf(typeUrl: string): protobuf.Type | undefined {
  const name = typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
  const parts = name.split('.');
  // A package is in lower case, and lies in the folder of its name.
  const length = parts.findIndex((part) => part === '' || part[0] !== part[0]?.toLowerCase());
  const folder = parts.slice(0, length).join('/');
  if (length < 1 || folder.includes('\\')) return undefined;
  if (!loaded.has(folder)) {
    const base = ROOTS.find((one) => existsSync(join(one, folder)));
    if (base === undefined) return undefined;
    const files = readdirSync(join(base, folder)).filter((file) => file.endsWith('.proto'));
    root.loadSync(
      files.map((file) => `${folder}/${file}`),
      { keepCase: true },
    );
    loaded.add(folder);
  }
  const found = root.lookup(name, protobuf.Type);
  return found instanceof protobuf.Type && found.fullName === `.${name}` ? found : undefined;
}

export interface AnyBytes {
  readonly typeUrl: string;
  readonly bytes: Uint8Array;
  /** As given beside bytes; else its field `name` or `cluster_name`, where its type is known and has one. */
  readonly name: string | undefined;
}

/**
 * An Any: `{"@type": URL, …fields}` in protobuf's JSON, or `{"type_url": URL, "value": BASE64}`, which is taken as it
 * is, whatever its type; so is `{"@type": URL, "value": BASE64}` of a type that no file defines.
 * @throws {ProtoJsonError} for what is neither
 */
export function readAny(json: unknown, path = 'resource'): AnyBytes {
  if (!isPlainObject(json)) throw new ProtoJsonError(`${path}: not an object`);
  const { '@type': inJson, type_url: inBase64, value, ...fields } = json;
  const typeUrl = inJson ?? inBase64;
  if (typeof typeUrl !== 'string' || !typeUrl.includes('/'))
    throw new ProtoJsonError(`${path}: neither "@type" nor "type_url" is the URL of a type`);
  const type = typeOf(typeUrl);
  if (inJson === undefined || type === undefined) {
    const rest = Object.keys(fields).filter((key) => key !== 'name');
    if (rest.length > 0)
      throw new ProtoJsonError(
        `${path}: no file defines ${typeUrl}, so ${rest.join(', ')} cannot be encoded; give its bytes as "value", in base64`,
      );
    const bytes = base64(value ?? '', `${path}.value`);
    const { name } = fields;
    if (typeof name === 'string' && name !== '') return { typeUrl, bytes, name };
    return { typeUrl, bytes, name: type && nameIn(type, bytes, path) };
  }
  const isWellKnown = type.fullName.startsWith('.google.protobuf.');
  const content: unknown = isWellKnown
    ? value
    : { ...fields, ...(value !== undefined && { value }) };
  const bytes = type.encode(type.fromObject(messageOf(type, content, { path, depth: 0 }))).finish();
  return { typeUrl, bytes, name: nameIn(type, bytes, path) };
}

function nameIn(type: protobuf.Type, bytes: Uint8Array, path: string): string | undefined {
  const field = ['name', 'cluster_name'].find((name) => type.fields[name] !== undefined);
  if (field === undefined) return undefined;
  try {
    const name: unknown = type.toObject(type.decode(bytes))[field];
    return typeof name === 'string' && name !== '' ? name : undefined;
  } catch (cause) {
    throw new ProtoJsonError(`${path}: its bytes are no ${type.fullName.slice(1)}`, { cause });
  }
}

interface Place {
  readonly path: string;
  readonly depth: number;
}

const below = ({ path, depth }: Place, key: string | number): Place => ({
  path: `${path}.${key}`,
  depth: depth + 1,
});

function messageOf(type: protobuf.Type, json: unknown, place: Place): PlainObject {
  if (place.depth > MAX_DEPTH) throw new ProtoJsonError(`${place.path}: too deep`);
  const special = wellKnown(type, json, place);
  if (special !== undefined) return special;
  if (!isPlainObject(json)) throw new ProtoJsonError(`${place.path}: not an object`);
  const message: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    const field = type.fields[key] ?? type.fieldsArray.find(({ name }) => camel(name) === key);
    const inside = below(place, key);
    if (field === undefined)
      throw new ProtoJsonError(`${inside.path}: ${type.fullName.slice(1)} has no such field`);
    if (value !== null) message[field.name] = fieldOf(field.resolve(), value, inside);
  }
  return message;
}

const camel = (name: string): string =>
  name
    .split('_')
    .map((part, index) =>
      index === 0 ? part : `${part.slice(0, 1).toUpperCase()}${part.slice(1)}`,
    )
    .join('');

function fieldOf(field: protobuf.Field, json: unknown, place: Place): unknown {
  if (field.map) {
    if (!isPlainObject(json)) throw new ProtoJsonError(`${place.path}: not an object`);
    const entries = Object.entries(json);
    return Object.fromEntries(
      entries.map(([key, value]) => [key, valueOf(field, value, below(place, key))]),
    );
  }
  if (!field.repeated) return valueOf(field, json, place);
  if (!Array.isArray(json)) throw new ProtoJsonError(`${place.path}: not a list`);
  return json.map((item: unknown, index) => valueOf(field, item, below(place, index)));
}

function valueOf(field: protobuf.Field, json: unknown, place: Place): unknown {
  const { resolvedType: type } = field;
  if (type instanceof protobuf.Type) return messageOf(type, json, place);
  if (type instanceof protobuf.Enum) {
    if (typeof json === 'number' || (typeof json === 'string' && Object.hasOwn(type.values, json)))
      return json;
    throw new ProtoJsonError(`${place.path}: ${String(json)} is no ${type.fullName.slice(1)}`);
  }
  return scalarOf(field.type, json, place.path);
}

function scalarOf(type: string, json: unknown, path: string): unknown {
  if (type === 'bytes') return base64(json, path);
  if (type === 'string' || type === 'bool') {
    if (typeof json === (type === 'bool' ? 'boolean' : 'string')) return json;
    throw new ProtoJsonError(`${path}: not a ${type}`);
  }
  const number = typeof json === 'string' && json.trim() !== '' ? Number(json) : json;
  const isFloat = type === 'double' || type === 'float';
  if (typeof number === 'number' && (isFloat || Number.isSafeInteger(number))) return number;
  throw new ProtoJsonError(`${path}: not a number of type ${type}`);
}

function base64(json: unknown, path: string): Uint8Array {
  if (typeof json !== 'string') throw new ProtoJsonError(`${path}: not text in base64`);
  const bytes = Buffer.from(json, 'base64');
  const [given, read] = [json, bytes.toString('base64')].map((text) =>
    text.replaceAll('=', '').replaceAll('-', '+').replaceAll('_', '/'),
  );
  if (given !== read) throw new ProtoJsonError(`${path}: not text in base64`);
  return bytes;
}

/** The types whose JSON is not the object of their fields. @returns `undefined` for all others. */
function wellKnown(type: protobuf.Type, json: unknown, place: Place): PlainObject | undefined {
  const name = type.fullName.slice(1);
  if (name === 'google.protobuf.Any') {
    const { typeUrl, bytes } = readAny(json, place.path);
    return { type_url: typeUrl, value: bytes };
  }
  if (name === 'google.protobuf.Duration') return durationOf(json, place.path);
  if (name === 'google.protobuf.Struct' && isPlainObject(json)) return structOf(json);
  if (name === 'google.protobuf.Value') return dynamicOf(json);
  if (!WRAPPERS.has(name)) return undefined;
  const field = type.fields['value'];
  return field && { value: scalarOf(field.type, json, place.path) };
}

/** `1.5s`. */
function durationOf(json: unknown, path: string): PlainObject {
  const seconds = typeof json === 'string' && json.endsWith('s') ? Number(json.slice(0, -1)) : NaN;
  if (!Number.isFinite(seconds)) throw new ProtoJsonError(`${path}: not a duration such as 1.5s`);
  const whole = Math.trunc(seconds);
  return { seconds: whole, nanos: Math.round((seconds - whole) * 1e9) };
}

const structOf = (json: PlainObject): PlainObject => ({
  fields: Object.fromEntries(Object.entries(json).map(([key, value]) => [key, dynamicOf(value)])),
});

/** The names of these fields are in camel case where protobufjs brings the types itself. */
function dynamicOf(json: unknown): PlainObject {
  if (json === null || json === undefined) return { nullValue: 0 };
  if (typeof json === 'number') return { numberValue: json };
  if (typeof json === 'string') return { stringValue: json };
  if (typeof json === 'boolean') return { boolValue: json };
  if (Array.isArray(json)) return { listValue: { values: json.map(dynamicOf) } };
  return { structValue: structOf(isPlainObject(json) ? json : {}) };
}
