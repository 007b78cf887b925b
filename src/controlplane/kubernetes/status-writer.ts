// Writes the status of every policy into the cluster, the leader's task: only what has changed, rarely enough for a large mesh.
import { FEDERATED_TRUST_DOMAINS } from '@weft/kube/resource';
import { resourceVersionOf } from '@weft/kube/https-client';
import type { KubeClient } from '@weft/kube/kube-api';
import { isAfter } from '@weft/kube/list-watch';
import { objectAt } from '@weft/kube/object-fields';
import type { Clock } from '@weft/model/clock';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import type { Logger } from 'pino';
import type { FederationState } from '../federation/federations.ts';
import type { MeshViews } from '../compile/mesh-views.ts';
import { SoonestTimer } from '../core/soonest-timer.ts';
import type { ObjectOrigin, Source } from '../registry/source.ts';
import type { PolicyReport, PolicyStatus, WorkloadEnforcement } from '../status/policy-status.ts';
import type { PolicyTurn } from './mesh-events.ts';
import type { WorkloadPolicy } from '@weft/model/admission/types';
import type { PolicyStanding } from '../vulnerabilities/vulnerability-watch.ts';
import { describeFederatedTrustDomain } from './federation-conditions.ts';
import { describeWorkloadPolicy, isWorkloadPolicy } from './workload-conditions.ts';
import type { Rendering } from './workload-policy-keeper.ts';
import { WriteBudget } from './write-budget.ts';
import {
  describePolicyObject,
  enforcedGenerationOf,
  isSameStatus,
  type PolicyObjectStatus,
  turnedConditions,
  withTimes,
} from './policy-conditions.ts';

export interface StatusWriterOptions {
  readonly client: Pick<KubeClient, 'patch'>;
  readonly source: Pick<Source, 'state' | 'subscribe'>;
  readonly views: Pick<MeshViews, 'snapshot' | 'mesh' | 'problems'> & {
    subscribe(listener: () => void): Disposable;
  };
  readonly policies: Pick<PolicyStatus, 'reports' | 'subscribe'>;
  /** What has become of WorkloadPolicies; absent: nobody keeps them. */
  readonly workloads?: {
    stateOf(policy: WorkloadPolicy): Rendering | undefined;
    subscribe(listener: () => void): Disposable;
  };
  /** Which Pods have more vulnerabilities than they may; absent: nobody looks. */
  readonly vulnerabilities?: {
    standingOf(policy: WorkloadPolicy): PolicyStanding | undefined;
    subscribe(listener: () => void): Disposable;
  };
  /** How old the keys of federated trust domains are; absent: nobody is federated with. */
  readonly federation?: {
    states(): readonly FederationState[];
    subscribe(listener: () => void): Disposable;
  };
  /** Told after a write of what has turned with it. */
  readonly onTurned?: (turn: PolicyTurn) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** 50 ms: a change, and what proxies say to it, are looked at together. */
const LOOK_MS = 50;
/** While a large mesh acknowledges a change, its progress is looked at so often. */
const LOOK_AGAIN_MS = 200;
/** Nothing tells that a proxy has gone. */
const IDLE_LOOK_MS = 5_000;
/** Between two writes of one object: a rollout is a few of them, not one for each proxy. */
const WRITE_AGAIN_MS = 1_000;
/** That a change is waited for is written when it takes longer than that; most do not. */
const PATIENCE_MS = 400;
/** 10 s: who is not connected enforces what it had, and after the end of a control plane all come back and are told of by then. */
const AWAY_PATIENCE_MS = 10_000;
/** That it is enforced everywhere is written so soon after an earlier write. */
const ENFORCED_AGAIN_MS = 100;
/** Writes a second in the long run, and at once. */
const WRITES_PER_SECOND = 20;
const WRITES_BURST = 40;
const WRITES_AT_ONCE = 8;
/** After a write that failed. */
const RETRY_MS = 5_000;
/** Kinds of other projects have statuses of their own. */
const OWN_GROUPS: ReadonlySet<string> = new Set(['security.weft.dev', 'mesh.weft.dev']);

interface Awaited {
  readonly generation: number;
  /** All that are waited for were seen to enforce this generation, and are not connected. */
  readonly isForAway: boolean;
}

interface Written {
  /** As the server took it, or as it was found, in this version. */
  status: PlainObject | undefined;
  resourceVersion: string;
  /** What was written last: a server with an older schema keeps less of it. */
  asked: PlainObject | undefined;
  served: PlainObject | undefined;
  /** Of which it was told that it is enforced. */
  enforcedGeneration: number | undefined;
  uid: string;
  /** Two at once might arrive in the other order. */
  isWriting: boolean;
  writtenAtMs: number;
  /** Of a write that failed. */
  notBeforeMs: number;
  /** What is waited for, and since when. */
  waiting: (Awaited & { readonly sinceMs: number }) | undefined;
}

const NEVER = Number.NEGATIVE_INFINITY;

const foundOf = ({ uid, status, resourceVersion }: ObjectOrigin): Written => ({
  status,
  resourceVersion,
  asked: undefined,
  served: undefined,
  enforcedGeneration: enforcedGenerationOf(status),
  uid,
  isWriting: false,
  writtenAtMs: NEVER,
  notBeforeMs: NEVER,
  waiting: undefined,
});

/** Runs until it is disposed of: begin when leading, end when leading no more. */
export class StatusWriter implements AsyncDisposable {
  readonly #options: StatusWriterOptions;
  readonly #subscriptions = new DisposableStack();
  readonly #stop = new AbortController();
  readonly #written = new Map<string, Written>();
  readonly #writing = new Set<Promise<void>>();
  readonly #failures = new Map<string, string>();
  readonly #timer: SoonestTimer;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  readonly #budget: WriteBudget;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#timer = new SoonestTimer(options.clock, () => this.#look());
    this.#budget = new WriteBudget({
      perSecond: WRITES_PER_SECOND,
      burst: WRITES_BURST,
      nowMs: options.clock.now(),
    });
    const soon = (): void => this.#soon();
    this.#subscriptions.use(options.source.subscribe(soon));
    this.#subscriptions.use(options.views.subscribe(soon));
    this.#subscriptions.use(options.policies.subscribe(soon));
    for (const part of [options.workloads, options.vulnerabilities, options.federation]) {
      if (part) this.#subscriptions.use(part.subscribe(soon));
    }
    soon();
  }

  /** At once after a rest, otherwise at the pace of a mesh that is busy. */
  #soon(): void {
    const sinceMs = this.#options.clock.now() - this.#lookedAtMs;
    this.#timer.schedule(Math.max(LOOK_MS, LOOK_AGAIN_MS - sinceMs));
  }

  #look(): void {
    const { source, views, policies, clock } = this.#options;
    this.#lookedAtMs = clock.now();
    this.#timer.schedule(IDLE_LOOK_MS);
    const { origins, snapshot } = source.state;
    // What is reported is of the version before, until the mesh is compiled from this one.
    if (origins === undefined || views.snapshot() !== snapshot) return;
    for (const key of this.#written.keys()) if (!origins.has(key)) this.#forget(key);
    const reports = new Map(policies.reports().map((report) => [keyOf(report), report]));
    const problems = problemsByObject(views.problems());
    const dryRuns = new Set(
      views
        .mesh()
        .policies.authorization.filter(({ isDryRun }) => isDryRun)
        .map((policy) => keyOf({ kind: 'AuthorizationPolicy', ...policy })),
    );
    for (const [key, origin] of origins) {
      if (!OWN_GROUPS.has(origin.resource.group)) continue;
      if (isWorkloadPolicy(origin.resource.kind)) {
        const status = this.#workloadStatus(key, origin);
        this.#want(key, origin, { status, report: undefined });
        continue;
      }
      if (origin.resource.kind === FEDERATED_TRUST_DOMAINS.kind) {
        const known = problems.get(key) ?? origin.problems;
        this.#want(key, origin, {
          status: this.#federationStatus(key, origin, known),
          report: undefined,
        });
        continue;
      }
      const report = reports.get(key);
      const status = describePolicyObject({
        origin,
        report,
        problems: problems.get(key) ?? origin.problems,
        isDryRun: dryRuns.has(key),
      });
      this.#want(key, origin, { status, report });
    }
  }

  #federationStatus(key: string, origin: ObjectOrigin, problems: readonly Problem[]) {
    const states = this.#options.federation?.states() ?? [];
    const state = states.find(({ federation: { namespace, name } }) => {
      return keyOf({ kind: FEDERATED_TRUST_DOMAINS.kind, namespace, name }) === key;
    });
    return describeFederatedTrustDomain({ origin, problems, state });
  }

  #workloadStatus(key: string, origin: ObjectOrigin): PolicyObjectStatus {
    const { source, workloads, vulnerabilities, clock } = this.#options;
    const found = source.state.snapshot.objects.get(key);
    const policy = found?.kind === 'WorkloadPolicy' ? found.policy : undefined;
    const rendering = policy && workloads?.stateOf(policy);
    const standing = policy && vulnerabilities?.standingOf(policy);
    return describeWorkloadPolicy({ origin, policy, rendering, standing, nowMs: clock.now() });
  }

  #want(key: string, origin: ObjectOrigin, { status: wanted, report }: Wanted): void {
    const nowMs = this.#options.clock.now();
    let known = this.#written.get(key);
    if (known?.uid !== origin.uid) this.#written.set(key, (known = foundOf(origin)));
    if (known.isWriting) return;
    if (isAfter(origin.resourceVersion, known.resourceVersion)) {
      // Somebody has written since; whatever stands there, ours is put back.
      known.status = origin.status;
      known.resourceVersion = origin.resourceVersion;
    }
    const isAsServed = known.asked !== undefined && isSameStatus(known.status, known.served ?? {});
    const current = isAsServed ? known.asked : known.status;
    const status = withTimes(wanted, current, nowMs);
    const dueMs = Math.max(known.notBeforeMs, dueAtMs(known, { status: wanted, report }, nowMs));
    if (isSameStatus(current, status)) return;
    if (nowMs < dueMs) {
      this.#timer.schedule(dueMs - nowMs);
      return;
    }
    if (this.#writing.size >= WRITES_AT_ONCE || !this.#budget.take(nowMs)) {
      this.#timer.schedule(1_000 / WRITES_PER_SECOND);
      return;
    }
    known.writtenAtMs = nowMs;
    known.isWriting = true;
    const write = this.#write(key, origin, { known, status, wanted }).then(() => {
      this.#writing.delete(write);
      known.isWriting = false;
      this.#soon();
    });
    this.#writing.add(write);
  }

  async #write(
    key: string,
    origin: ObjectOrigin,
    { known, status, wanted }: Writing,
  ): Promise<void> {
    const { client, clock, log } = this.#options;
    const target = targetOf(key);
    const answer = await client.patch(origin.resource, target, {
      type: 'merge',
      subresource: 'status',
      // One that was made anew under the name has a status of its own; keys that are gone are taken away.
      patch: {
        metadata: { uid: origin.uid },
        status: { ...nullsFor(known.status, status), ...status },
      },
      signal: this.#stop.signal,
    });
    if (this.#stop.signal.aborted) return;
    if (answer.ok) {
      this.#failures.delete(key);
      this.#tell(target, origin, { known, status, wanted });
      known.status = objectAt(answer.value, 'status');
      known.resourceVersion = resourceVersionOf(answer.value);
      known.asked = status;
      known.served = known.status;
      return;
    }
    known.notBeforeMs = clock.now() + RETRY_MS;
    this.#timer.schedule(RETRY_MS);
    // Gone, or made anew: the source will say so.
    if (answer.code === 404 || answer.code === 409) return;
    if (this.#failures.get(key) === answer.message) return;
    this.#failures.set(key, answer.message);
    log.warn({ policy: key, reason: answer.message }, 'policy status not written');
  }

  #tell(
    target: ReturnType<typeof targetOf>,
    { resource, uid }: ObjectOrigin,
    { known, wanted }: Writing,
  ): void {
    const turned = turnedConditions(known.status, wanted, known.enforcedGeneration);
    for (const condition of turned) {
      if (condition.type === 'Enforced') known.enforcedGeneration = wanted.observedGeneration;
      this.#options.onTurned?.({ resource, ...target, uid, condition });
    }
  }

  #forget(key: string): void {
    this.#written.delete(key);
    this.#failures.delete(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#timer[Symbol.dispose]();
    this.#subscriptions.dispose();
    await Promise.all(this.#writing);
  }
}

interface Wanted {
  readonly status: PolicyObjectStatus;
  readonly report: PolicyReport | undefined;
}

const enforcementOf = ({ conditions }: PolicyObjectStatus) =>
  conditions.find(({ type }) => type === 'Enforced');

/** @param current the status that stands in the cluster */
function awaitedOf(
  current: PlainObject | undefined,
  { status, report }: Wanted,
): Awaited | undefined {
  if (enforcementOf(status)?.reason !== 'Waiting') return undefined;
  const { observedGeneration: generation } = status;
  const isAway = ({ enforced, reason }: WorkloadEnforcement): boolean =>
    enforced || reason === 'not-connected';
  const wasEnforced = enforcedGenerationOf(current) === generation;
  return { generation, isForAway: wasEnforced && report?.workloads.every(isAway) === true };
}

/** When what is wanted may be written. Notes since when it is waited for. */
function dueAtMs(known: Written, wanted: Wanted, nowMs: number): number {
  const awaited = awaitedOf(known.status, wanted);
  const { waiting } = known;
  const isSame =
    waiting?.generation === awaited?.generation && waiting?.isForAway === awaited?.isForAway;
  if (!isSame) known.waiting = awaited && { ...awaited, sinceMs: nowMs };
  if (enforcementOf(wanted.status)?.status === 'True') {
    return known.writtenAtMs + ENFORCED_AGAIN_MS;
  }
  const againMs = known.writtenAtMs + WRITE_AGAIN_MS;
  if (known.waiting === undefined) return againMs;
  const patienceMs = known.waiting.isForAway ? AWAY_PATIENCE_MS : PATIENCE_MS;
  return Math.max(againMs, known.waiting.sinceMs + patienceMs);
}

interface Writing {
  readonly known: Written;
  readonly status: PlainObject;
  /** The same without times. */
  readonly wanted: PolicyObjectStatus;
}

interface Named {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

const keyOf = ({ kind, namespace, name }: Named | PolicyReport): string =>
  `${kind}/${namespace}/${name}`;

/** A key of what lives in no namespace has none: `ClusterWorkloadPolicy//NAME`. */
function targetOf(key: string): { readonly namespace?: string; readonly name: string } {
  const [, namespace = '', name = ''] = key.split('/');
  return { ...(namespace !== '' && { namespace }), name };
}

function problemsByObject(problems: readonly Problem[]): ReadonlyMap<string, readonly Problem[]> {
  const byKey = new Map<string, Problem[]>();
  for (const problem of problems) {
    if (problem.object === undefined) continue;
    const { kind, namespace = '', name } = problem.object;
    const key = keyOf({ kind, namespace, name });
    const own = byKey.get(key);
    if (own === undefined) byKey.set(key, [problem]);
    else own.push(problem);
  }
  return byKey;
}

/** By RFC 7386 a key goes when it is set to null. */
function nullsFor(before: PlainObject | undefined, now: PlainObject): PlainObject {
  const gone = Object.keys(before ?? {}).filter((key) => !(key in now));
  return Object.fromEntries(gone.map((key) => [key, null]));
}
