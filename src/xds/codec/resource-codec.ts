// Turns resources into bytes and back: every kind in one table, with the bounds that hold for all.
import { createHash } from 'node:crypto';
import type { Result } from '@weft/model/problem';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import {
  type EncodedResource,
  type ResourceByKind,
  type ResourceKind,
  TYPE_URLS,
} from '../resource.ts';
import { encodeCluster, readCluster } from './cluster.ts';
import { encodeClusterLoadAssignment, readClusterLoadAssignment } from './endpoint.ts';
import { createReading, type Read, readMessage } from './fields.ts';
import { encodeListener, readListener } from './listener.ts';
import { encodeRouteConfiguration, readRouteConfiguration } from './route.ts';
import { encodeSecret, readSecret } from './secret.ts';

/** 4 MiB: gRPC's own default for one message, and 40,000 endpoints. */
export const MAX_RESOURCE_BYTES = 4 * 1024 * 1024;
/** 64 bits: versions are compared with those of the same resource only. */
const VERSION_HEX_DIGITS = 16;

interface Codec<T> {
  readonly nameOf: (value: T) => string;
  readonly encode: (value: T) => PlainMessage;
  readonly read: Read<T>;
}

const CODECS: { readonly [K in ResourceKind]: Codec<ResourceByKind[K]> } = {
  cluster: { nameOf: ({ name }) => name, encode: encodeCluster, read: readCluster },
  endpoints: {
    nameOf: ({ clusterName }) => clusterName,
    encode: encodeClusterLoadAssignment,
    read: readClusterLoadAssignment,
  },
  listener: { nameOf: ({ name }) => name, encode: encodeListener, read: readListener },
  route: {
    nameOf: ({ name }) => name,
    encode: encodeRouteConfiguration,
    read: readRouteConfiguration,
  },
  secret: { nameOf: ({ name }) => name, encode: encodeSecret, read: readSecret },
};

/** The full name of a kind's message. */
export const typeNameOf = (kind: ResourceKind): string =>
  TYPE_URLS[kind].slice(TYPE_URLS[kind].indexOf('/') + 1);

/**
 * Equal values give equal bytes and versions.
 * @throws {TypeError | RangeError} for a value that has no safe meaning on the wire (a TLS context that names no peer, an empty
 *   prefix, a policy without principals): whoever builds resources has a bug then, and the resource must not go out.
 */
export function encodeResource<K extends ResourceKind>(
  kind: K,
  value: ResourceByKind[K],
): EncodedResource {
  const codec: Codec<ResourceByKind[K]> = CODECS[kind];
  return encodeMessageAs(kind, codec.nameOf(value), codec.encode(value));
}

/** A resource in a form of its own, which nothing here reads. @throws {TypeError} when a value has not its field's type. */
export function encodeMessageAs(
  kind: ResourceKind,
  name: string,
  message: PlainMessage,
): EncodedResource {
  if (name === '') throw new TypeError(`Cannot encode a ${kind}: it has no name`);
  const bytes = encodeMessage(typeNameOf(kind), message);
  return { kind, name, version: versionOf(bytes), bytes };
}

const versionOf = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex').slice(0, VERSION_HEX_DIGITS);

/**
 * Reads a resource. Whatever this program does not know, or would not act on, is a problem that names its field: a resource is in force as
 * it was written, or not at all. Never throws on anything that bytes can hold.
 */
export function decodeResource<K extends ResourceKind>(
  kind: K,
  bytes: Uint8Array,
): Result<ResourceByKind[K]> {
  if (bytes.length > MAX_RESOURCE_BYTES) {
    const message = `has ${bytes.length} bytes, more than ${MAX_RESOURCE_BYTES}`;
    return { ok: false, problems: [{ severity: 'error', code: 'too-large', message }] };
  }
  const reading = createReading();
  const { read, nameOf }: Codec<ResourceByKind[K]> = CODECS[kind];
  const value = readMessage(typeNameOf(kind), bytes, { reading, path: '' }, read);
  if (value !== undefined && reading.problems.length === 0 && nameOf(value) !== '')
    return { ok: true, value, problems: [] };
  if (reading.problems.length > 0) return { ok: false, problems: reading.problems };
  // Only a route configuration may lack a name, and only where it is written into a listener.
  const problem = {
    severity: 'error',
    code: 'missing',
    field: 'name',
    message: 'is missing',
  } as const;
  return { ok: false, problems: [problem] };
}
