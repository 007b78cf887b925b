// Holds every load driver by name, and starts each at most once a run.
import type { DriverName } from '../scenario.ts';
import type { DriverKind, LoadDriver, StartedDriver } from './driver.ts';
import { GO_DRIVERS } from './go-load.ts';
import { H2LOAD } from './h2load.ts';
import { startLoadGenerator } from './processes.ts';

const generator: DriverKind = {
  name: 'generator',
  start: async () => ({
    ok: true,
    driver: await startLoadGenerator(),
    about: "the benchmark's own, raw sockets in one Node process",
  }),
};

export const DRIVER_KINDS: readonly DriverKind[] = [generator, H2LOAD, ...GO_DRIVERS];

export class Drivers implements AsyncDisposable {
  readonly #kinds: readonly DriverKind[];
  readonly #stack = new AsyncDisposableStack();
  readonly #started = new Map<DriverName, Promise<StartedDriver>>();
  readonly #abouts = new Set<string>();

  constructor(kinds: readonly DriverKind[] = DRIVER_KINDS) {
    this.#kinds = kinds;
  }

  /** What was started. */
  get abouts(): readonly string[] {
    return [...this.#abouts];
  }

  /** The first of the names that can be had. @returns every reason when none can. */
  async first(
    names: readonly DriverName[],
  ): Promise<
    | { readonly ok: true; readonly name: DriverName; readonly driver: LoadDriver }
    | { readonly ok: false; readonly reasons: readonly string[] }
  > {
    const reasons: string[] = [];
    for (const name of names) {
      const started = await this.#start(name);
      if (started.ok) return { ok: true, name, driver: started.driver };
      reasons.push(`${name}: ${started.reason}`);
    }
    return { ok: false, reasons };
  }

  #start(name: DriverName): Promise<StartedDriver> {
    const known = this.#started.get(name);
    if (known !== undefined) return known;
    const kind = this.#kinds.find((one) => one.name === name);
    const started: Promise<StartedDriver> =
      kind === undefined
        ? Promise.resolve({ ok: false, reason: 'there is no such driver yet' })
        : kind.start().then((result) => {
            if (!result.ok) return result;
            this.#stack.use(result.driver);
            this.#abouts.add(`${name}: ${result.about}`);
            return result;
          });
    this.#started.set(name, started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
