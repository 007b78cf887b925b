// Writes Events, where operators look first: each kind of happening once, repetitions counted in it, and never more than the API server should bear.
import type { KubeClient } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import { apiVersionOf, EVENTS, type KubeResource } from '@weft/kube/resource';
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';
import { WriteBudget } from './write-budget.ts';

/** What a Event is about. */
export interface EventSubject {
  readonly resource: KubeResource;
  /** Absent for what lives in no namespace. */
  readonly namespace?: string;
  readonly name: string;
  /** `kubectl describe` goes by it; where it is absent it is asked for. */
  readonly uid?: string;
}

export interface EventToRecord {
  readonly about: EventSubject;
  readonly type: 'Normal' | 'Warning';
  /** What happened, in one word: `PolicyEnforced`. */
  readonly reason: string;
  /** What was done about it, in one word. */
  readonly action: string;
  readonly note: string;
}

export interface EventSink {
  record(event: EventToRecord): void;
}

export interface EventRecorderOptions {
  readonly client: Pick<KubeClient, 'create' | 'get' | 'patch'>;
  /** Of this replica. */
  readonly podName: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const CONTROLLER = 'weft.dev/control-plane';
/** Of what lives in no namespace, as the API server wants it. */
const CLUSTER_NAMESPACE = 'default';
/** The API server's bound. */
const MAX_NOTE = 1_024;
/** Events that may be repeated; beyond, the one that was seen longest ago is a new one when it comes again. */
const MAX_SERIES = 1_000;
/** What repeats within six minutes is one series, as in Kubernetes' own components. */
const SERIES_MS = 360_000;
/** Between two writes of one series. */
const REPEAT_MS = 60_000;
/** Writes a second in the long run, and at once; beyond, Events are dropped: they are no audit log. */
const WRITES_PER_SECOND = 1;
const WRITES_BURST = 25;

interface Series {
  readonly event: EventToRecord;
  /** Of the Event; absent until it has been created. */
  name: string | undefined;
  count: number;
  lastMs: number;
  writtenCount: number;
  isWriting: boolean;
}

/** Recording never fails and never waits; what could not be written is counted and logged. */
export class EventRecorder implements EventSink, AsyncDisposable {
  readonly #options: EventRecorderOptions;
  readonly #series = new Map<string, Series>();
  readonly #writing = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #budget: WriteBudget;
  #timer: Disposable | undefined;
  #dropped = 0;
  #made = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#budget = new WriteBudget({
      perSecond: WRITES_PER_SECOND,
      burst: WRITES_BURST,
      nowMs: options.clock.now(),
    });
  }

  /** Events that were not written. */
  get dropped(): number {
    return this.#dropped;
  }

  record(event: EventToRecord): void {
    if (this.#stop.signal.aborted) return;
    const nowMs = this.#options.clock.now();
    const key = keyOf(event);
    const known = this.#series.get(key);
    this.#series.delete(key);
    if (known !== undefined && nowMs - known.lastMs < SERIES_MS) {
      this.#series.set(key, known);
      known.count++;
      known.lastMs = nowMs;
      this.#soon();
      return;
    }
    if (!this.#budget.take(nowMs)) {
      this.#drop('too many events', event);
      return;
    }
    const series: Series = {
      event,
      name: undefined,
      count: 1,
      lastMs: nowMs,
      writtenCount: 1,
      isWriting: false,
    };
    this.#series.set(key, series);
    for (const oldest of this.#series.keys()) {
      if (this.#series.size <= MAX_SERIES) break;
      this.#series.delete(oldest);
    }
    this.#write(series, this.#create(series));
  }

  #write(series: Series, writing: Promise<void>): void {
    series.isWriting = true;
    const write = writing.then(() => {
      series.isWriting = false;
      this.#writing.delete(write);
    });
    this.#writing.add(write);
  }

  #soon(): void {
    this.#timer ??= this.#options.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#countRepetitions();
    }, REPEAT_MS);
  }

  #countRepetitions(): void {
    const nowMs = this.#options.clock.now();
    for (const [key, series] of this.#series) {
      const { name, count, lastMs, writtenCount, isWriting } = series;
      if (nowMs - lastMs >= SERIES_MS && !isWriting) this.#series.delete(key);
      if (name === undefined || isWriting || count === writtenCount) continue;
      if (!this.#budget.take(nowMs)) {
        this.#soon();
        return;
      }
      series.writtenCount = count;
      this.#write(series, this.#repeat(series, name));
    }
  }

  async #create(series: Series): Promise<void> {
    const { client, podName, clock } = this.#options;
    const { about, type, reason, action, note } = series.event;
    const namespace = about.namespace ?? CLUSTER_NAMESPACE;
    const { resource, name } = about;
    const uid = about.uid ?? (await this.#uidOf(about));
    const answer = await client.create(
      EVENTS,
      {
        apiVersion: apiVersionOf(EVENTS),
        kind: EVENTS.kind,
        metadata: { namespace, name: this.#nameFor(name) },
        eventTime: microTime(clock.now()),
        reportingController: CONTROLLER,
        reportingInstance: podName.slice(0, 128),
        type,
        reason,
        action,
        note: note.length > MAX_NOTE ? `${note.slice(0, MAX_NOTE - 1)}…` : note,
        regarding: {
          apiVersion: apiVersionOf(resource),
          kind: resource.kind,
          name,
          ...(about.namespace !== undefined && { namespace: about.namespace }),
          ...(uid !== undefined && { uid }),
        },
      },
      { signal: this.#stop.signal },
    );
    if (answer.ok) series.name = textAt(answer.value, 'metadata', 'name');
    else if (!this.#stop.signal.aborted) this.#drop(answer.message, series.event);
  }

  /** An Event that is found by fewer is better than none. */
  async #uidOf({ resource, namespace, name }: EventSubject): Promise<string | undefined> {
    const found = await this.#options.client.get(resource, { namespace, name }, this.#stop.signal);
    return found.ok ? textAt(found.value, 'metadata', 'uid') : undefined;
  }

  /** Unlike any other of this replica and of those before it under the name. */
  #nameFor(subject: string): string {
    const { clock, podName } = this.#options;
    const id = `${clock.now().toString(16)}${(this.#made++).toString(16)}`;
    const replica = podName.slice(-5).replaceAll('.', '-');
    return `${subject.slice(0, 180)}.${id}-${replica}`;
  }

  async #repeat({ event, count, lastMs }: Series, name: string): Promise<void> {
    const namespace = event.about.namespace ?? CLUSTER_NAMESPACE;
    const series = { count, lastObservedTime: microTime(lastMs) };
    const answer = await this.#options.client.patch(
      EVENTS,
      { namespace, name },
      { type: 'merge', patch: { series }, signal: this.#stop.signal },
    );
    // Events live for an hour: one that is gone is made anew when it comes again.
    if (answer.ok || this.#stop.signal.aborted) return;
    this.#series.delete(keyOf(event));
    if (answer.code !== 404) this.#drop(answer.message, event);
  }

  #drop(why: string, { about, reason }: EventToRecord): void {
    this.#dropped++;
    const { kind } = about.resource;
    const place = `${about.namespace ?? ''}/${about.name}`;
    this.#options.log.warn({ kind, place, event: reason, reason: why }, 'event not written');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#timer?.[Symbol.dispose]();
    await Promise.all(this.#writing);
  }
}

const keyOf = ({ about, type, reason, action, note }: EventToRecord): string =>
  JSON.stringify([
    about.resource.kind,
    about.namespace,
    about.name,
    about.uid,
    type,
    reason,
    action,
    note,
  ]);

/** As Kubernetes' MicroTime is written: six digits of a second. */
const microTime = (unixMs: number): string => new Date(unixMs).toISOString().replace('Z', '000Z');
