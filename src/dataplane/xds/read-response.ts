// Reads a delta response strictly: what of it can be put in force, and what is wrong with the rest.
import type { MethodDefinition } from '@grpc/grpc-js';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { bytesOf, messageOf, messagesOf, textOf, textsOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { type ResourceByKind, type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import {
  describeUnknown,
  noticingUnknown,
  type UnknownField,
  unknownIn,
} from '@weft/xds/unknown-fields';
import { formatProblem } from '@weft/model/problem';
import type { ResourceUpdate, UpdateOf } from '../state/config-store.ts';

export interface ReadResponse {
  readonly kind: ResourceKind;
  readonly nonce: string;
  readonly update: ResourceUpdate;
  /** By name, of the resources in `update.changed`. */
  readonly versions: ReadonlyMap<string, string>;
  /** One a resource that cannot be used; naming it and the field. */
  readonly errors: readonly string[];
}

const KIND_BY_TYPE_URL: ReadonlyMap<string, ResourceKind> = new Map<string, ResourceKind>([
  [TYPE_URLS.cluster, 'cluster'],
  [TYPE_URLS.endpoints, 'endpoints'],
  [TYPE_URLS.listener, 'listener'],
  [TYPE_URLS.route, 'route'],
  [TYPE_URLS.secret, 'secret'],
]);

/** Problems of one resource that are told to the control plane; more say nothing new. */
const MAX_PROBLEMS = 5;

const SERVICE = 'envoy.service.discovery.v3.AggregatedDiscoveryService';
const RESPONSE = 'envoy.service.discovery.v3.DeltaDiscoveryResponse';

/** How the responses come that {@link readResponse} reads. */
export function deltaMethod(): MethodDefinition<PlainMessage, PlainMessage> {
  const method = serviceDefinition(SERVICE)['DeltaAggregatedResources'];
  if (method === undefined) throw new TypeError(`Cannot find the delta method of ${SERVICE}`);
  return noticingUnknown(method, RESPONSE);
}

/** @returns `undefined` when the response is of a type that nobody here asked for. */
export function readResponse(message: PlainMessage): ReadResponse | undefined {
  const kind = KIND_BY_TYPE_URL.get(textOf(message, 'type_url'));
  if (kind === undefined) return undefined;
  const versions = new Map<string, string>();
  const errors: string[] = [];
  const removed = new Set(textsOf(message, 'removed_resources'));
  const resources = messagesOf(message, 'resources');
  const unknown = unknownIn(message);
  const ofAll = unknown.find(({ place }) => place === '');
  if (ofAll !== undefined && resources.length === 0)
    errors.push(`the response: ${describeUnknown(ofAll)}`);
  const read = <K extends ResourceKind>(of: K): UpdateOf<K> => {
    const changed = new Map<string, ResourceByKind[K]>();
    for (const [index, resource] of resources.entries()) {
      const name = textOf(resource, 'name');
      const value = readOne(of, resource, { errors, unknown: ofAll ?? unknownOf(unknown, index) });
      if (value === undefined) continue;
      changed.set(name, value);
      versions.set(name, textOf(resource, 'version'));
    }
    return { kind: of, changed, removed };
  };
  return {
    kind,
    nonce: textOf(message, 'nonce'),
    update: readAs(kind, read),
    versions,
    errors,
  };
}

/** Spelt out by kind, so that the update's type follows from its kind. */
function readAs(
  kind: ResourceKind,
  read: <K extends ResourceKind>(of: K) => UpdateOf<K>,
): ResourceUpdate {
  switch (kind) {
    case 'cluster':
      return read('cluster');
    case 'endpoints':
      return read('endpoints');
    case 'listener':
      return read('listener');
    case 'route':
      return read('route');
    case 'secret':
      return read('secret');
    default:
      return kind satisfies never;
  }
}

/** What is said around a resource may be how long it holds, or for whom: without it, it would be another one. */
const unknownOf = (unknown: readonly UnknownField[], index: number): UnknownField | undefined =>
  unknown.find(
    ({ place }) => place === `resources[${index}]` || place.startsWith(`resources[${index}].`),
  );

function readOne<K extends ResourceKind>(
  kind: K,
  resource: PlainMessage,
  { errors, unknown }: { readonly errors: string[]; readonly unknown: UnknownField | undefined },
): ResourceByKind[K] | undefined {
  const name = textOf(resource, 'name');
  if (unknown !== undefined) {
    errors.push(`${name}: ${describeUnknown(unknown)}`);
    return undefined;
  }
  const any = messageOf(resource, 'resource');
  if (textOf(any, 'type_url') !== TYPE_URLS[kind]) {
    errors.push(`${name}: is no ${kind}`);
    return undefined;
  }
  const decoded = decodeResource(kind, bytesOf(any, 'value'));
  if (!decoded.ok) {
    const problems = decoded.problems.slice(0, MAX_PROBLEMS).map(formatProblem);
    errors.push(`${name}: ${problems.join('; ')}`);
    return undefined;
  }
  if (nameOf(decoded.value) !== name) {
    errors.push(`${name}: holds a ${kind} of another name`);
    return undefined;
  }
  return decoded.value;
}

const nameOf = (value: { readonly name: string } | { readonly clusterName: string }): string =>
  'clusterName' in value ? value.clusterName : value.name;
