// Reads routes of the Gateway API that are attached to Services, and who may send requests into other namespaces.
import { parseGrant } from '@weft/model/routes/parse-grant';
import { brokenRoute, parseRoute } from '@weft/model/routes/parse-route';
import type { RegistryObject } from '@weft/model/mesh/objects';
import type { RouteKind } from '@weft/model/routes/types';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Reading } from './reading.ts';

/** Puts nothing in force that is of a gateway's. One that cannot be read leaves its last good version in force. */
function readRoute(object: PlainObject, kind: RouteKind): Reading {
  const parsed = parseRoute(object, kind);
  if (!parsed.ok) {
    return { kind: 'bad', closed: brokenOf(object, kind), problems: parsed.problems };
  }
  const route = parsed.value;
  const objects = route === undefined ? [] : [{ kind: 'ServiceRoute', route } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}

function brokenOf(object: PlainObject, kind: RouteKind): RegistryObject | undefined {
  const route = brokenRoute(object, kind);
  return route && { kind: 'ServiceRoute', route };
}

/** Nothing of it is in force: it is kept so that its status can say so. */
export const closedHttpRoute = (object: PlainObject): RegistryObject | undefined =>
  brokenOf(object, 'HTTPRoute');
export const closedGrpcRoute = (object: PlainObject): RegistryObject | undefined =>
  brokenOf(object, 'GRPCRoute');

export const readHttpRoute = (object: PlainObject): Reading => readRoute(object, 'HTTPRoute');
export const readGrpcRoute = (object: PlainObject): Reading => readRoute(object, 'GRPCRoute');

export function readReferenceGrant(object: PlainObject): Reading {
  const parsed = parseGrant(object);
  if (!parsed.ok) return { kind: 'bad', closed: undefined, problems: parsed.problems };
  const objects = [{ kind: 'ReferenceGrant', grant: parsed.value } as const];
  return { kind: 'good', objects, problems: parsed.problems };
}
