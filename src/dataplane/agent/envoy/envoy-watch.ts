// Asks an Envoy again and again how it is: whether it is live, and which listener of the workload it judges by.
import type { Clock } from '@weft/model/clock';
import { isPlainObject } from '@weft/model/policy/reader';
import { versionOfChain } from '@weft/xds/agent-form';
import type { EnvoyAdmin } from './envoy-admin.ts';

export interface EnvoyWatchOptions {
  readonly admin: EnvoyAdmin;
  readonly clock: Clock;
  /** It is running at all. */
  readonly isRunning: () => boolean;
  /** Something is expected to be other soon. */
  readonly isWaiting: () => boolean;
  readonly onLive: (isLive: boolean, state: string) => void;
  readonly onActive: (version: string | undefined) => void;
}

/** While something is expected, and while nothing is. */
const SOON_MS = 20;
const LATER_MS = 1_000;
/** While connections of before a change are ended. */
const DRAINING_MS = 100;
const ASK_MS = 2_000;
const ACTIVE = '/config_dump?resource=dynamic_listeners&name_regex=%5Einbound%24';
/** Filter chains and listeners that were replaced, and still judge the connections that they have. */
const DRAINING =
  '/stats?filter=%5Elistener_manager%5C.total_(filter_chains%7Clisteners)_draining%24';
const LIVE = 'LIVE';

export class EnvoyWatch implements Disposable {
  readonly #options: EnvoyWatchOptions;
  #timer: Disposable | undefined;
  #isAsking = false;
  #isNewsMeanwhile = false;
  #isDisposed = false;
  #isLive = false;
  #isDraining = false;

  constructor(options: EnvoyWatchOptions) {
    this.#options = options;
  }

  /** Ask now: it was started, has ended, or has answered. */
  now(): void {
    if (this.#isAsking) {
      this.#isNewsMeanwhile = true;
      return;
    }
    this.#timer?.[Symbol.dispose]();
    void this.#ask();
  }

  async #ask(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isAsking = true;
    const { isRunning, isWaiting, onLive, onActive } = this.#options;
    const state = isRunning() ? await this.#state() : 'not running';
    const isLive = state === LIVE;
    const isOther = !isRunning() || isWaiting();
    /**
     * What some connections are still judged by is in force: the new one is told when nothing is left of the old.
     * Asked before, as the cheaper question, and behind: it counts of what was replaced when the dump was made.
     */
    this.#isDraining = isOther && (await this.#drains());
    const isAsked = isOther && !this.#isDraining && isRunning();
    const version = isAsked ? await this.#activeVersion() : undefined;
    if (isAsked) this.#isDraining = await this.#drains();
    this.#isAsking = false;
    if (this.#isDisposed) return;
    this.#isLive = isLive;
    if (isOther && !this.#isDraining) onActive(version);
    onLive(isLive, state);
    this.#again();
  }

  #again(): void {
    const { clock, isRunning, isWaiting } = this.#options;
    if (this.#isNewsMeanwhile) {
      this.#isNewsMeanwhile = false;
      void this.#ask();
      return;
    }
    /** One that is not running tells when it is. */
    const isSoon = isRunning() && (!this.#isLive || isWaiting());
    const soonMs = this.#isDraining ? DRAINING_MS : SOON_MS;
    this.#timer = clock.setTimeout(() => void this.#ask(), isSoon ? soonMs : LATER_MS);
  }

  async #drains(): Promise<boolean> {
    if (!this.#options.isRunning()) return false;
    try {
      const { body } = await this.#options.admin.ask(DRAINING, { timeoutMs: ASK_MS });
      const lines = body.toString('utf8').split('\n');
      return lines.some((line) => Number(line.slice(line.lastIndexOf(': ') + 2)) > 0);
    } catch {
      /** It is starting or going: `#state` says so. */
      return false;
    }
  }

  /** `LIVE`, `PRE_INITIALIZING`, `INITIALIZING`, `DRAINING`, or why nobody answers. */
  async #state(): Promise<string> {
    try {
      const { body } = await this.#options.admin.ask('/ready', { timeoutMs: ASK_MS });
      return body.toString('utf8').trim();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** What cannot be asked is in force nowhere. */
  async #activeVersion(): Promise<string | undefined> {
    try {
      const { body } = await this.#options.admin.ask(ACTIVE, { timeoutMs: ASK_MS });
      return activeVersionOf(JSON.parse(body.toString('utf8')));
    } catch {
      /** It is starting or going: `#state` says so. */
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
  }
}

/** Not what Envoy calls the version: that stays the old one where filter chains are changed in place. */
function activeVersionOf(dump: unknown): string | undefined {
  const [first] = listOf(dump, 'configs');
  const listener = fieldOf(fieldOf(first, 'active_state'), 'listener');
  for (const chain of listOf(listener, 'filter_chains')) {
    const name = fieldOf(chain, 'name');
    const version = typeof name === 'string' ? versionOfChain(name) : undefined;
    if (version !== undefined) return version;
  }
  return undefined;
}

const fieldOf = (value: unknown, name: string): unknown =>
  isPlainObject(value) ? value[name] : undefined;

const listOf = (value: unknown, name: string): readonly unknown[] => {
  const list = fieldOf(value, name);
  return Array.isArray(list) ? list : [];
};
