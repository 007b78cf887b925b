// Runs what one control plane of several does: begun with leading, ended with it.
import type { LeaderElection } from '@weft/kube/leader';
import type { Logger } from 'pino';

/** Begins something, and gives what ends it. */
export type LeaderTask = () => AsyncDisposable | Disposable;

export interface LeaderTasksOptions {
  readonly election: Pick<LeaderElection, 'isLeader' | 'onChange'>;
  readonly tasks: readonly LeaderTask[];
  readonly log: Logger;
}

/** One term has ended whole before the next begins. */
export class LeaderTasks implements AsyncDisposable {
  readonly #options: LeaderTasksOptions;
  readonly #subscription: Disposable;
  #running: AsyncDisposableStack | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: LeaderTasksOptions) {
    this.#options = options;
    this.#subscription = options.election.onChange((isLeader) => this.#turn(isLeader));
    if (options.election.isLeader) this.#turn(true);
  }

  #turn(isLeader: boolean): void {
    this.#last = this.#last.then(
      () => (isLeader ? this.#begin() : this.#end()),
      // Said where it happened.
      () => undefined,
    );
  }

  async #begin(): Promise<void> {
    const { tasks, log } = this.#options;
    await this.#end();
    const running = new AsyncDisposableStack();
    this.#running = running;
    for (const task of tasks) {
      try {
        running.use(task());
      } catch (error) {
        // The others are not to suffer for it.
        log.error({ err: error }, 'a task of the leader did not begin');
      }
    }
  }

  async #end(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    try {
      await running?.disposeAsync();
    } catch (error) {
      this.#options.log.error({ err: error }, 'a task of the leader did not end cleanly');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]();
    this.#turn(false);
    await this.#last;
  }
}
