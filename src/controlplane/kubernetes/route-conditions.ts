// Says what the status of a route in the cluster is: for each Service that it is attached to, in Gateway API's words. Pure.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { describeProblem, firstOf } from '@weft/model/problem';
import type { RouteVerdict } from '../compile/routes/judge-route.ts';
import type { RouteStatus } from '../compile/routes/route-statuses.ts';
import type { ObjectOrigin } from '../registry/source.ts';

/** Who these entries of a status are of; those of others are left as they are. */
export const CONTROLLER_NAME = 'weft.dev/mesh';
/** Problems that a message names. */
const MAX_NAMED = 3;
/** Of a condition, by the API. */
const MAX_MESSAGE = 32_768;

export interface RouteFacts {
  readonly origin: ObjectOrigin;
  /** Absent: it is attached to no Service. */
  readonly status: RouteStatus | undefined;
  readonly nowMs: number;
}

/** @returns `status.parents` as it is to stand there. */
export function describeRoute({ origin, status, nowMs }: RouteFacts): readonly PlainObject[] {
  const known = parentsOf(origin.status);
  const others = known.filter((parent) => parent['controllerName'] !== CONTROLLER_NAME);
  const mine = known.filter((parent) => parent['controllerName'] === CONTROLLER_NAME);
  const own = (status?.parents ?? []).map(({ parent, accepted, resolvedRefs }) => {
    const before = mine.find((one) => isSame(one['parentRef'], parent.ref));
    const verdicts = [
      ['Accepted', origin.isGood ? accepted : unreadable(origin)],
      ['ResolvedRefs', resolvedRefs],
    ] as const;
    return {
      parentRef: { ...parent.ref },
      controllerName: CONTROLLER_NAME,
      conditions: verdicts.map(([type, verdict]) =>
        conditionOf(type, verdict, { generation: origin.generation, before, nowMs }),
      ),
    };
  });
  return [...others, ...own];
}

function unreadable({ problems }: ObjectOrigin): RouteVerdict {
  const errors = problems.filter(({ severity }) => severity === 'error').map(describeProblem);
  const message = errors.length === 0 ? 'it cannot be read' : firstOf(errors, MAX_NAMED);
  return { isTrue: false, reason: 'UnsupportedValue', message };
}

function conditionOf(
  type: string,
  { isTrue, reason, message }: RouteVerdict,
  at: {
    readonly generation: number;
    readonly before: PlainObject | undefined;
    readonly nowMs: number;
  },
): PlainObject {
  const status = isTrue ? 'True' : 'False';
  const conditions = at.before?.['conditions'];
  const old = (Array.isArray(conditions) ? conditions : []).find(
    (one): one is PlainObject => isPlainObject(one) && one['type'] === type,
  );
  const since = old?.['lastTransitionTime'];
  return {
    type,
    status,
    reason,
    message: message.slice(0, MAX_MESSAGE),
    observedGeneration: at.generation,
    lastTransitionTime:
      old?.['status'] === status && typeof since === 'string'
        ? since
        : `${new Date(at.nowMs).toISOString().slice(0, 19)}Z`,
  };
}

export function parentsOf(status: PlainObject | undefined): readonly PlainObject[] {
  const parents = status?.['parents'];
  return Array.isArray(parents) ? parents.filter(isPlainObject) : [];
}

/** Whether two plain values say the same, whatever the order of their keys. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => isSame(item, b[index]));
  }
  if (!isPlainObject(a) || !isPlainObject(b)) return a === b;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
  );
}
