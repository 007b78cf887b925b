// Keeps an Envoy running: starts it again later and later when it ends, and gives up when it never lives.
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';
import { Backoff } from '../../control-plane/backoff.ts';
import { EnvoyProcess, type EnvoyProcessOptions } from './envoy-process.ts';

export interface SupervisorOptions extends Omit<EnvoyProcessOptions, 'onExit'> {
  readonly onStart: () => void;
  /** It has ended, and comes back. */
  readonly onEnd: () => void;
  /** It has ended as often as it may. */
  readonly onGiveUp: (reason: string) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

const BACKOFF = { baseMs: 200, maxMs: 10_000 } as const;
/** One that lived so long was a good one: its end counts as the first. */
const GOOD_LIFE_MS = 10_000;
/** A minute of tries, about: whoever runs us may do better with a new start. */
const MAX_FAILURES = 10;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backoff: Backoff;
  #process: EnvoyProcess | undefined;
  #retry: Disposable | undefined;
  #isStopping = false;
  #restarts = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
  }

  get pid(): number | undefined {
    return this.#process?.hasEnded === false ? this.#process.pid : undefined;
  }

  get restarts(): number {
    return this.#restarts;
  }

  start(): void {
    if (this.#isStopping) return;
    const { clock, onStart } = this.#options;
    const startedAtMs = clock.now();
    this.#process = new EnvoyProcess({
      ...this.#options,
      onExit: (how) => this.#ended(how, clock.now() - startedAtMs),
    });
    onStart();
  }

  #ended(how: string, livedMs: number): void {
    if (this.#isStopping) return;
    const { clock, log, onEnd, onGiveUp } = this.#options;
    onEnd();
    if (livedMs >= GOOD_LIFE_MS) this.#backoff.reset();
    if (this.#backoff.failures >= MAX_FAILURES) {
      const reason = `Envoy has ended ${MAX_FAILURES} times, at last with ${how}`;
      log.fatal({ reason }, 'envoy does not stay alive');
      onGiveUp(reason);
      return;
    }
    const delayMs = this.#backoff.next();
    this.#restarts++;
    log.error(
      { reason: how, livedMs: Math.round(livedMs), retryInMs: Math.round(delayMs) },
      'envoy has ended; starting it again',
    );
    this.#retry = clock.setTimeout(() => this.start(), delayMs);
  }

  /** It ends now, and is not started again. */
  async stop(withinMs: number): Promise<void> {
    this.#isStopping = true;
    this.#retry?.[Symbol.dispose]();
    const running = this.#process;
    if (running !== undefined && !running.hasEnded) await running.stop(withinMs);
  }
}
