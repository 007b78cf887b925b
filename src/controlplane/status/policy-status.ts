// Knows of every policy where it is enforced and since when: acknowledged by the proxy, and confirmed by what it says it evaluates.
import type { Clock } from '@weft/model/clock';
import { Listeners } from '@weft/model/listeners';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { PolicyPlacement } from '../compile/policy-placements.ts';
import type { Evaluation } from '../report/report-service.ts';
import type { Callers } from './callers.ts';
import type { Unenforced } from './grpc-shortfalls.ts';
import { Settled } from './settled.ts';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import type { AdsServer } from '../serve/ads-server.ts';

export interface PolicyReport {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly action?: string;
  /** `2/3`: of the workloads it selects, how many enforce exactly the rules that hold now. */
  readonly enforced: string;
  readonly isEnforced: boolean;
  /** When it became so everywhere, or has been waited for since. */
  readonly since: string;
  /** Those that it selects; of what callers follow, the proxies that call as well. */
  readonly workloads: readonly WorkloadEnforcement[];
  /** Services' ports whose callers follow it; absent where it says nothing to callers. */
  readonly destinations?: readonly string[];
}

export interface WorkloadEnforcement {
  readonly proxy: string;
  readonly enforced: boolean;
  /** Of the listener that carries it; absent where nobody is connected who could be sent it. */
  readonly version?: string;
  /** `acknowledged` where the proxy does not report what it evaluates (Envoy). */
  readonly by: 'nothing' | 'acknowledged' | 'confirmed';
  /** Why it is not enforced there. */
  readonly reason?:
    | 'not-connected'
    | 'not-acknowledged'
    /** It cannot use this version; what it had before is in force there. */
    | 'refused'
    | 'evaluates-other-rules'
    /** It never will be: nothing there can do what it says (gRPC without a proxy). */
    | 'unsupported'
    /** Of credentials: the proxy has not said that it holds this version, or its source has none. */
    | 'not-in-force'
    | 'source-unavailable';
  /** Of `refused`: what the proxy said, cut. Of `unsupported`: what is not done, and why. */
  readonly detail?: string;
}

/** One that does not enforce it, and why, for people. */
export const waitingText = ({ proxy, reason, detail }: WorkloadEnforcement): string =>
  `${proxy} (${reason ?? 'unknown'}${detail === undefined ? '' : `: ${detail}`})`;

/** Those that do not enforce it yet, and those that never will. */
export function missingAt(workloads: readonly WorkloadEnforcement[]): {
  readonly waiting: readonly WorkloadEnforcement[];
  readonly unsupported: readonly WorkloadEnforcement[];
} {
  const missing = workloads.filter(({ enforced }) => !enforced);
  return {
    waiting: missing.filter(({ reason }) => reason !== 'unsupported'),
    unsupported: missing.filter(({ reason }) => reason === 'unsupported'),
  };
}

export interface PolicyStatusOptions {
  readonly views: Pick<MeshViews, 'policies'> & { subscribe(listener: () => void): Disposable };
  readonly ads: Pick<AdsServer, 'statusOf' | 'onAnswer'>;
  readonly evaluationOf: (proxyId: string, listener: string) => Evaluation;
  /** Who calls these destinations, and whether each has what is for it now. */
  readonly callersOf?: (names: ReadonlySet<string>) => Callers;
  /** What acknowledged rules leave undone at workloads that have no proxy; absent: all have one. */
  readonly unenforced?: () => Unenforced;
  readonly onReport: (listener: () => void) => Disposable;
  readonly clock: Clock;
  /** When what changed last was written; `undefined` when nobody can tell. */
  readonly writtenAtMs?: () => number | undefined;
  /** A change of a policy is enforced by every proxy that it selects. */
  readonly onEnforced: (durationMs: number) => void;
  /** Default: of this process. */
  readonly elapsedMs?: () => number;
}

interface Tracked {
  placement: PolicyPlacement;
  changedAtMs: number;
  enforcedAtMs: number | undefined;
}

/** Acknowledgements come by the thousand after a change; they are looked at together. */
const LOOK_MS = 10;
/** 5 s: a file that is found later than that was not missed, but brought with its time. */
const MAX_WRITTEN_AGO_MS = 5_000;

/** A sentence or two of what a proxy says of a version that it refuses. */
const MAX_DETAIL = 300;

/** Of the inbound listener at one proxy, over all of its streams. */
interface Answered {
  readonly acked: Set<string>;
  /** What was said, by version. */
  readonly refused: Map<string, string>;
}
type AnsweredByProxy = ReadonlyMap<string, Answered>;

/** What is known at one time of everybody. */
interface Known {
  readonly answered: AnsweredByProxy;
  readonly callers: Callers;
  readonly unenforced: Unenforced;
}

const keyOf = ({ kind, namespace, name }: PolicyPlacement): string =>
  `${kind}/${namespace}/${name}`;

export class PolicyStatus implements Disposable {
  readonly #options: PolicyStatusOptions;
  readonly #tracked = new Map<string, Tracked>();
  readonly #subscriptions = new DisposableStack();
  readonly #listeners = new Listeners();
  #placements: readonly PolicyPlacement[] | undefined;
  readonly #settled: Settled;

  constructor(options: PolicyStatusOptions) {
    this.#options = options;
    const { clock, elapsedMs } = options;
    const run = (): void => {
      this.#look();
      this.#listeners.tell();
    };
    this.#settled = this.#subscriptions.use(
      new Settled({ clock, settleMs: LOOK_MS, run, elapsedMs }),
    );
    this.#subscriptions.use(options.views.subscribe(() => this.#follow()));
    this.#subscriptions.use(options.ads.onAnswer(() => this.#settled.soon()));
    this.#subscriptions.use(options.onReport(() => this.#settled.soon()));
    this.#follow();
  }

  /** From the writing of it, when that was just now; files that were moved here carry an older time. */
  #changedAtMs(): number {
    const { clock, writtenAtMs } = this.#options;
    const nowMs = clock.now();
    const writtenMs = writtenAtMs?.() ?? nowMs;
    return writtenMs <= nowMs && nowMs - writtenMs < MAX_WRITTEN_AGO_MS ? writtenMs : nowMs;
  }

  /** Notes which policies are new or carried by other versions than before. */
  #follow(): void {
    const placements = this.#options.views.policies();
    if (placements === this.#placements) return;
    this.#placements = placements;
    const nowMs = this.#changedAtMs();
    const seen = new Set<string>();
    for (const placement of placements) {
      const key = keyOf(placement);
      seen.add(key);
      const known = this.#tracked.get(key);
      if (known?.placement === placement) continue;
      if (known === undefined) {
        this.#tracked.set(key, { placement, changedAtMs: nowMs, enforcedAtMs: undefined });
      } else if (!isSamePlacement(known.placement, placement)) {
        known.placement = placement;
        known.changedAtMs = nowMs;
        known.enforcedAtMs = undefined;
      } else known.placement = placement;
    }
    for (const key of this.#tracked.keys()) if (!seen.has(key)) this.#tracked.delete(key);
    this.#settled.soon();
  }

  /** Called when `reports` may say something else. That a proxy has gone is told by nothing. */
  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  /** Those that are still waited for. */
  #look(): void {
    const waiting = [...this.#tracked.values()].filter(
      ({ enforcedAtMs }) => enforcedAtMs === undefined,
    );
    if (waiting.length === 0) return;
    const known = this.#known(waiting);
    const nowMs = this.#options.clock.now();
    for (const tracked of waiting) {
      const { placement } = tracked;
      if (placement.workloads.length === 0 && placement.destinations === undefined) continue;
      if (!this.#enforcements(placement, known).every(({ enforced }) => enforced)) continue;
      tracked.enforcedAtMs = nowMs;
      this.#options.onEnforced(nowMs - tracked.changedAtMs);
    }
  }

  #known(tracked: readonly Tracked[]): Known {
    const { unenforced = () => NOTHING } = this.#options;
    return {
      answered: this.#answers(),
      callers: this.#callersOf(tracked),
      unenforced: unenforced(),
    };
  }

  #callersOf(tracked: readonly Tracked[]): Callers {
    const names = new Set(tracked.flatMap(({ placement }) => placement.destinations ?? []));
    return names.size === 0 ? NOBODY : (this.#options.callersOf?.(names) ?? NOBODY);
  }

  /** By proxy; one that is selected and calls as well has to have both. */
  #enforcements(
    placement: PolicyPlacement,
    { answered, callers, unenforced }: Known,
  ): readonly WorkloadEnforcement[] {
    const { workloads, destinations = [] } = placement;
    const undone = unenforced.get(keyOf(placement));
    const selected = workloads.map((workload) =>
      withoutUndone(this.#enforcement(workload, answered), undone),
    );
    const called = new Map<string, boolean>();
    for (const name of destinations) {
      for (const [proxy, isCurrent] of callers.get(name) ?? []) {
        called.set(proxy, isCurrent && called.get(proxy) !== false);
      }
    }
    if (called.size === 0) return selected;
    const known = new Set(selected.map(({ proxy }) => proxy));
    const others = [...called].filter(([proxy]) => !known.has(proxy));
    return [
      ...selected.map((one) =>
        one.enforced && called.get(one.proxy) === false ? notAcknowledged(one.proxy) : one,
      ),
      ...others.map(([proxy, isCurrent]) =>
        isCurrent
          ? ({ proxy, enforced: true, by: 'acknowledged' } as const)
          : notAcknowledged(proxy),
      ),
    ];
  }

  #answers(): AnsweredByProxy {
    const answered = new Map<string, Answered>();
    for (const status of this.#options.ads.statusOf('listener', INBOUND_LISTENER)) {
      const { proxyId, acked, refused, refusal = '' } = status;
      const one = answered.get(proxyId) ?? { acked: new Set(), refused: new Map() };
      if (acked !== undefined) one.acked.add(acked);
      if (refused !== undefined) one.refused.set(refused, refusal.slice(0, MAX_DETAIL));
      answered.set(proxyId, one);
    }
    return answered;
  }

  #enforcement(
    placed: PolicyPlacement['workloads'][number],
    answered: AnsweredByProxy,
  ): WorkloadEnforcement {
    const { proxyId } = placed;
    const own = answered.get(proxyId);
    if (own === undefined) {
      return { proxy: proxyId, enforced: false, by: 'nothing', reason: 'not-connected' };
    }
    const { listenerVersion: version } = placed;
    const not = (reason: NonNullable<WorkloadEnforcement['reason']>): WorkloadEnforcement => ({
      proxy: proxyId,
      enforced: false,
      version,
      by: 'nothing',
      reason,
    });
    if (!own.acked.has(version)) {
      const detail = own.refused.get(version);
      return detail === undefined ? not('not-acknowledged') : { ...not('refused'), detail };
    }
    const evaluation = this.#options.evaluationOf(proxyId, INBOUND_LISTENER);
    if (!evaluation.isReporting) {
      return { proxy: proxyId, enforced: true, version, by: 'acknowledged' };
    }
    if (!evaluation.digests.every((digest) => digest === version))
      return not('evaluates-other-rules');
    return { proxy: proxyId, enforced: true, version, by: 'confirmed' };
  }

  reports(): readonly PolicyReport[] {
    const known = this.#known([...this.#tracked.values()]);
    return [...this.#tracked.values()].map(({ placement, changedAtMs, enforcedAtMs }) => {
      const { kind, namespace, name, action, destinations } = placement;
      const workloads = this.#enforcements(placement, known);
      const count = workloads.filter(({ enforced }) => enforced).length;
      return {
        kind,
        namespace,
        name,
        ...(action !== undefined && { action }),
        enforced: `${count}/${workloads.length}`,
        isEnforced: count === workloads.length,
        since: new Date(enforcedAtMs ?? changedAtMs).toISOString(),
        workloads,
        ...(destinations && { destinations }),
      };
    });
  }

  [Symbol.dispose](): void {
    this.#subscriptions.dispose();
  }
}

const NOBODY: Callers = new Map();
const NOTHING: Unenforced = new Map();

/** What a workload has acknowledged is enforced there, but for what nothing there can do. */
function withoutUndone(
  one: WorkloadEnforcement,
  undone: ReadonlyMap<string, string> | undefined,
): WorkloadEnforcement {
  const detail = undone?.get(one.proxy);
  if (!one.enforced || detail === undefined) return one;
  return { ...one, enforced: false, by: 'nothing', reason: 'unsupported', detail };
}

const notAcknowledged = (proxy: string): WorkloadEnforcement => ({
  proxy,
  enforced: false,
  by: 'nothing',
  reason: 'not-acknowledged',
});

function isSamePlacement(a: PolicyPlacement, b: PolicyPlacement): boolean {
  if (a === b) return true;
  // What callers get is in other versions than the listener’s.
  if (a.destinations !== undefined || b.destinations !== undefined) return false;
  return (
    a.workloads.length === b.workloads.length &&
    a.workloads.every((workload, index) => {
      const other = b.workloads[index];
      if (workload === other) return true;
      return (
        workload.proxyId === other?.proxyId && workload.listenerVersion === other.listenerVersion
      );
    })
  );
}
