// Tries a change of one object before it is made: what the mesh would say of it, and whom it would newly refuse.
import type { Clock } from '@weft/model/clock';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { lintPolicy } from '@weft/model/policy/lint';
import type { ObjectRef, Problem } from '@weft/model/problem';
import { compileMesh } from '../compile/compile-mesh.ts';
import type { MeshIdentity } from '../compile/mesh-settings.ts';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { Edge } from '../report/edge-ledger.ts';
import { type NewlyRefused, newlyRefused } from '../status/replay.ts';

export interface TrialChange {
  /** By which the object stands in the snapshot: `AuthorizationPolicy/shop/web`. */
  readonly key: string;
  readonly ref: ObjectRef;
  /** As it would be; absent: it is deleted, or is not in force. */
  readonly object: RegistryObject | undefined;
}

export interface TrialOutcome {
  /** What the mesh says of this object that it did not say before. */
  readonly problems: readonly Problem[];
  /** One line for each kind of call that was seen lately and would be refused. */
  readonly newlyRefused: readonly string[];
}

/** @returns `undefined` when it is not tried, because the last trials have taken their share of the processor. */
export type Trial = (change: TrialChange) => TrialOutcome | undefined;

export interface TrialOptions {
  readonly views: Pick<MeshViews, 'mesh' | 'snapshot' | 'keys'>;
  readonly edges: { edges(): readonly Edge[] };
  readonly identity: MeshIdentity;
  readonly clock: Clock;
  /** Milliseconds of processor time for measuring; default the process's own. */
  readonly elapsedMs?: () => number;
}

/** A trial is followed by four times its own length in which none is made: a fifth of the processor at most. */
const REST_FACTOR = 4;
const MAX_REST_MS = 2_000;
/** Rules that are compared with each other. */
const MAX_PAIRS = 50_000;

export function createTrial(options: TrialOptions): Trial {
  const { views, edges, identity, clock, elapsedMs = () => performance.now() } = options;
  let restUntilMs = 0;
  return (change) => {
    if (clock.now() < restUntilMs) return undefined;
    const startedAtMs = elapsedMs();
    const { revision, objects } = views.snapshot();
    const changed = new Map(objects);
    if (change.object === undefined) changed.delete(change.key);
    else changed.set(change.key, change.object);
    const before = views.mesh();
    const keys = views.keys();
    const after = compileMesh({ revision: revision + 1, objects: changed, keys }, identity, before);
    const isOwn = ({ object }: Problem): boolean =>
      object?.kind === change.ref.kind &&
      object.name === change.ref.name &&
      object.namespace === change.ref.namespace;
    const linted = change.object?.kind === 'AuthorizationPolicy' ? change.object.policy : undefined;
    const refused = newlyRefused(edges.edges(), { before, after });
    const outcome = {
      problems: [
        ...after.problems.filter(isOwn),
        ...(linted === undefined ? [] : lintPolicy(after, linted, MAX_PAIRS)),
      ],
      newlyRefused: refused.map(describe),
    };
    const rest = Math.min(REST_FACTOR * (elapsedMs() - startedAtMs), MAX_REST_MS);
    restUntilMs = clock.now() + rest;
    return outcome;
  };
}

function describe({ call, decidedBy }: NewlyRefused<Edge>): string {
  const { source, proxy, port, method, path, count } = call;
  const from = source === '' ? 'a caller without certificate' : source;
  const what = method === '' ? `port ${port}` : `${method} ${path} on port ${port}`;
  const times = count === 1 ? 'once' : `${count} times`;
  const why = decidedBy === undefined ? 'nothing allows it any more' : `by ${decidedBy}`;
  return `${from} at ${proxy}, ${what}, seen ${times} lately: ${why}`;
}
