// Keeps one container of a Pod as it should be: started, probed, started again by its policy, and stopped in order.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { act, type ActionTarget } from './action.ts';
import { type ContainerProcess, type ProcessPlan, startContainer } from './container-process.ts';
import type { Container } from './pod.ts';
import { startProbes } from './probe-loop.ts';
import type { CommandEnd, CommandOptions } from './run-command.ts';

export interface Terminated {
  readonly kind: 'terminated';
  readonly exitCode: number;
  readonly signal: number;
  readonly reason: string;
  readonly message: string | undefined;
  readonly startedAt: Date;
  readonly finishedAt: Date;
}

export type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string | undefined }
  | { readonly kind: 'running'; readonly startedAt: Date }
  | Terminated;

export type Plan =
  | { readonly ok: true; readonly value: ProcessPlan }
  /** As `state.waiting` says it. */
  | { readonly ok: false; readonly waiting: string; readonly reason: string };

export interface ContainerRunnerOptions {
  readonly container: Container;
  readonly podIp: () => string;
  /** Asked before each start. */
  readonly plan: (restarts: number) => Plan;
  readonly restarts: 'always' | 'on-failure' | 'never';
  readonly probePeriodMs: number;
  readonly onChanged: () => void;
}

const NOT_PLANNED_RETRY_MS = 500;
/** The second restart waits so long, each further one twice as long: kubelets begin with 10 s. */
const BACK_OFF_MS = 200;
const BACK_OFF_MAX_MS = 5_000;
/** As kubelets have it. */
const MAX_LAST_WORDS = 2_048;
/** A run so long makes the next failure the first again. */
const GOOD_RUN_MS = 10_000;
/** Kubelets know no limit of their own. */
const POST_START_MAX_MS = 120_000;
/** After a preStop hook that has used up the grace period. */
const LEAST_GRACE_MS = 2_000;

export class ContainerRunner {
  readonly #options: ContainerRunnerOptions;
  readonly #stopping = new AbortController();
  readonly #started = Promise.withResolvers<void>();
  readonly #begun = Promise.withResolvers<void>();
  #process: ContainerProcess | undefined;
  #starting: Promise<unknown> = Promise.resolve();
  #completed: Promise<void> | undefined;
  #stop: Promise<void> | undefined;
  #failures = 0;

  state: ContainerState = { kind: 'waiting', reason: 'PodInitializing', message: undefined };
  lastState: Terminated | undefined;
  restartCount = 0;
  isStarted = false;
  isReady = false;

  constructor(options: ContainerRunnerOptions) {
    this.#options = options;
  }

  get container(): Container {
    return this.#options.container;
  }

  /** Its start-up probe has passed for the first time. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Its postStart hook has ended for the first time, or it cannot start: the next container's turn. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** @returns when it has ended and is not to be started again. */
  run(): Promise<void> {
    this.#completed ??= this.#loop();
    return this.#completed;
  }

  async exec(argv: readonly string[], options?: CommandOptions): Promise<CommandEnd> {
    if (this.#process === undefined || this.state.kind !== 'running') {
      throw new Error(`Cannot run a command in ${this.container.name}: it does not run`);
    }
    return this.#process.exec(argv, options);
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.signal(name);
  }

  /** preStop hook, SIGTERM, and SIGKILL when the grace period is over. */
  stop(graceMs: number): Promise<void> {
    this.#stop ??= this.#stopInOrder(graceMs);
    return this.#stop;
  }

  /** As when the node loses power. */
  async kill(): Promise<void> {
    this.#stopping.abort();
    await this.#starting;
    this.#process?.signal('SIGKILL');
    await this.#completed;
  }

  async #stopInOrder(graceMs: number): Promise<void> {
    this.#stopping.abort();
    await this.#starting;
    const process = this.#process;
    if (process !== undefined && this.state.kind === 'running') {
      const until = performance.now() + graceMs;
      const { preStop } = this.container.lifecycle ?? {};
      if (preStop !== undefined) await act(preStop, this.#target(process), graceMs);
      process.signal('SIGTERM');
      const waitMs = Math.max(
        until - performance.now(),
        preStop === undefined ? 0 : LEAST_GRACE_MS,
      );
      const timer = new AbortController();
      const late = delay(waitMs, 'late', { signal: timer.signal }).catch(() => 'ended');
      if ((await Promise.race([process.ended, late])) === 'late') process.signal('SIGKILL');
      timer.abort();
    }
    await this.#completed;
  }

  #target(process: ContainerProcess): ActionTarget {
    const { container, podIp } = this.#options;
    return {
      container,
      podIp: podIp(),
      exec: (argv, timeoutMs) => process.exec(argv, { timeoutMs }),
    };
  }

  #change(state: ContainerState): void {
    this.state = state;
    this.#options.onChanged();
  }

  async #wait(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }

  async #loop(): Promise<void> {
    for (;;) {
      const plan = this.#options.plan(this.restartCount);
      if (this.isStopping) return;
      if (!plan.ok) {
        this.#begun.resolve();
        this.#change({ kind: 'waiting', reason: plan.waiting, message: plan.reason });
        await this.#wait(NOT_PLANNED_RETRY_MS);
        continue;
      }
      const end = await this.#runOnce(plan.value);
      if (this.isStopping || !this.#isToRestart(end)) return;
      await this.#backOff(end);
    }
  }

  #isToRestart({ exitCode }: Terminated): boolean {
    const { restarts } = this.#options;
    return restarts === 'always' || (restarts === 'on-failure' && exitCode !== 0);
  }

  async #backOff(end: Terminated): Promise<void> {
    const ranMs = end.finishedAt.getTime() - end.startedAt.getTime();
    this.#failures = ranMs > GOOD_RUN_MS ? 1 : this.#failures + 1;
    const waitMs =
      this.#failures === 1 ? 0 : Math.min(BACK_OFF_MS * 2 ** (this.#failures - 2), BACK_OFF_MAX_MS);
    this.lastState = end;
    if (waitMs > 0) {
      const message = `back-off ${waitMs} ms restarting failed container`;
      this.#change({ kind: 'waiting', reason: 'CrashLoopBackOff', message });
      await this.#wait(waitMs);
      if (this.isStopping) this.#change(end);
    }
    if (!this.isStopping) this.restartCount++;
  }

  async #runOnce(plan: ProcessPlan): Promise<Terminated> {
    const starting = startContainer(plan);
    this.#starting = starting;
    const process = await starting;
    this.#process = process;
    const startedAt = new Date();
    const running = new AbortController();
    this.#change({ kind: 'running', startedAt });
    let unhealthy: string | undefined;
    const target = this.#target(process);
    void this.#afterStart(target, running.signal, (why) => {
      unhealthy = why;
      void this.#endUnhealthy(process);
    });
    const { exitCode, signal, setupFailure } = await process.ended;
    running.abort();
    this.isReady = false;
    this.isStarted = false;
    const reason =
      setupFailure !== undefined ? 'StartError' : exitCode === 0 ? 'Completed' : 'Error';
    const message =
      setupFailure ?? unhealthy ?? (exitCode === 0 ? undefined : this.#lastWords(plan));
    const finishedAt = new Date();
    const end = {
      kind: 'terminated',
      exitCode,
      signal,
      reason,
      message,
      startedAt,
      finishedAt,
    } as const;
    this.#change(end);
    return end;
  }

  /** What `kubectl describe` shows of a container that failed, where it asks for that. */
  #lastWords({ logFile }: ProcessPlan): string | undefined {
    if (this.container.terminationMessagePolicy !== 'FallbackToLogsOnError') return undefined;
    return readFileSync(logFile, 'utf8').slice(-MAX_LAST_WORDS);
  }

  async #afterStart(
    target: ActionTarget,
    signal: AbortSignal,
    onUnhealthy: (why: string) => void,
  ): Promise<void> {
    const { postStart } = this.container.lifecycle ?? {};
    if (postStart !== undefined) {
      const { isOk, text } = await act(postStart, target, POST_START_MAX_MS);
      this.#begun.resolve();
      if (signal.aborted) return;
      if (!isOk) {
        onUnhealthy(`PostStartHookError: ${text}`);
        return;
      }
    }
    this.#begun.resolve();
    startProbes({
      target,
      periodMs: this.#options.probePeriodMs,
      signal,
      onUnhealthy,
      onStarted: () => {
        this.isStarted = true;
        this.#started.resolve();
        this.#options.onChanged();
      },
      onReady: (isReady) => {
        if (this.isReady === isReady) return;
        this.isReady = isReady;
        this.#options.onChanged();
      },
    });
  }

  /** By the policy it may be started again afterwards. */
  async #endUnhealthy(process: ContainerProcess): Promise<void> {
    process.signal('SIGTERM');
    const timer = new AbortController();
    const late = delay(LEAST_GRACE_MS, 'late', { signal: timer.signal }).catch(() => 'ended');
    if ((await Promise.race([process.ended, late])) === 'late') process.signal('SIGKILL');
    timer.abort();
  }
}
