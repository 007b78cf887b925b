// Asks a thread whether passwords are right: started when it is first needed, ended when it is idle, and never asked too much at once.
import { Worker } from 'node:worker_threads';
import type { PasswordAnswer, PasswordQuestion } from './password-worker.ts';
import { passwordWorkerPath } from './password-worker-path.ts';

/** Comparisons that wait: at a cost of 12 some five seconds. Who comes then is better told to come again. */
export const MAX_WAITING = 32;
/** The thread holds 10 MB, of which another one takes most over; a login that is remembered does not need it. */
const IDLE_MS = 60_000;
/** Megabytes. bcrypt needs little; a fault of it must not take the proxy's memory. */
const LIMITS = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 8, stackSizeMb: 2 } as const;

/** `busy`: too many are waiting. `failed`: the thread ended. */
export type Checked = 'right' | 'wrong' | 'busy' | 'failed';

export class PasswordChecker implements Disposable {
  readonly #waiting = new Map<number, (checked: Checked) => void>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #lastId = 0;

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Never rejects. */
  check(password: string, hash: string): Promise<Checked> {
    if (this.#waiting.size >= MAX_WAITING) return Promise.resolve('busy');
    clearTimeout(this.#idle);
    const worker = this.#start();
    const { promise, resolve } = Promise.withResolvers<Checked>();
    const question: PasswordQuestion = { id: ++this.#lastId, password, hash };
    this.#waiting.set(question.id, resolve);
    worker.postMessage(question);
    return promise;
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(passwordWorkerPath(), {
      resourceLimits: LIMITS,
      env: {},
      argv: [],
      execArgv: ['--disable-warning=ExperimentalWarning'],
      name: 'passwords',
    });
    worker.unref();
    worker.on('message', ({ id, isRight }: PasswordAnswer) => {
      this.#settle(id, isRight ? 'right' : 'wrong');
    });
    // Its end comes after it, and settles whoever waits.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const id of this.#waiting.keys()) this.#settle(id, 'failed');
    });
    this.#worker = worker;
    return worker;
  }

  #settle(id: number, checked: Checked): void {
    const settle = this.#waiting.get(id);
    this.#waiting.delete(id);
    settle?.(checked);
    if (this.#waiting.size > 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this[Symbol.dispose](), IDLE_MS).unref();
  }

  /** The thread ends; it is started again when somebody asks. */
  [Symbol.dispose](): void {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }
}
