// Every way in which this sidecar takes TLS of clients outside the mesh: kept over changes of the configuration, loaded when there is one.
import type { Secret } from '@weft/xds/resources/secret';
import type { TerminationTls } from '@weft/xds/resources/termination';
import { chainsOf, type ListenerRuntime } from '../state/chain.ts';
import type { MetricsRegistry } from '../telemetry/metrics.ts';
import type { TerminationAcceptor } from './termination/acceptor.ts';
import type { TerminationEngine } from './termination/engine.ts';

/** Ports ask alike mostly; more is a fault in the configuration, and those beyond are closed. */
const MAX_TERMINATIONS = 64;

export interface TerminationsOptions {
  readonly secret: (name: string) => Secret | undefined;
  readonly now: () => number;
  /** Open connections are to be judged again. */
  readonly onChange: () => void;
  readonly onProblem: (problem: string) => void;
  readonly metrics: MetricsRegistry;
}

export class Terminations implements Disposable {
  readonly #options: TerminationsOptions;
  readonly #engines = new Map<string, TerminationEngine>();
  readonly #keys = new WeakMap<TerminationTls, string>();
  #wanted = new Map<string, TerminationTls>();
  #Engine: typeof TerminationEngine | undefined;
  #loads = 0;
  #isMeasured = false;
  #isDisposed = false;

  constructor(options: TerminationsOptions) {
    this.#options = options;
  }

  /** Follows what the listener of the workload's own ports asks for. */
  prepare(listener: ListenerRuntime | undefined): void {
    const wanted = new Map<string, TerminationTls>();
    for (const { termination } of listener === undefined ? [] : chainsOf(listener)) {
      if (termination !== undefined && wanted.size < MAX_TERMINATIONS)
        wanted.set(this.#keyOf(termination), termination);
    }
    this.#wanted = wanted;
    if (wanted.size > 0) void this.#load();
    for (const [key, engine] of this.#engines) {
      if (wanted.has(key)) continue;
      engine[Symbol.dispose]();
      this.#engines.delete(key);
    }
  }

  /** Ports that will be served in a moment are not yet. */
  get isLoading(): boolean {
    return this.#loads > 0;
  }

  /** Loaded by whoever has such a port, and by nobody else; from then on it is there at once. */
  async #load(): Promise<void> {
    this.#loads++;
    try {
      this.#Engine ??= (await import('./termination/engine.ts')).TerminationEngine;
      await this.#startAll(this.#Engine);
    } finally {
      this.#loads--;
      if (!this.#isDisposed) this.#options.onChange();
    }
  }

  async #startAll(Engine: typeof TerminationEngine): Promise<void> {
    const known = new Map([...this.#engines.values()].flatMap(({ texts }) => [...texts]));
    const starting: Promise<void>[] = [];
    for (const [key, tls] of this.#wanted) {
      if (this.#isDisposed || this.#engines.has(key)) continue;
      const { secret, now, onChange, onProblem } = this.#options;
      const engine = new Engine({ tls, secret, now, onChange, onProblem: once(onProblem) });
      this.#engines.set(key, engine);
      this.#measure();
      starting.push(engine.start(known));
    }
    await Promise.all(starting);
  }

  #measure(): void {
    if (this.#isMeasured) return;
    this.#isMeasured = true;
    const expiry = this.#options.metrics.gauge({
      name: 'weft_tls_certificate_expiration_timestamp_seconds',
      help: 'When the certificate that clients outside the mesh are shown ends',
      labels: ['certificate'],
    });
    this.#options.metrics.onCollect(() => {
      for (const engine of this.#engines.values()) {
        for (const { label, notAfterMs } of engine.certificates)
          expiry.labels(label).set(notAfterMs / 1_000);
      }
    });
  }

  secretsChanged(): void {
    for (const engine of this.#engines.values()) engine.refresh();
  }

  /** @returns `undefined` while there is no certificate. */
  acceptorFor(tls: TerminationTls): TerminationAcceptor | undefined {
    return this.#engines.get(this.#keyOf(tls))?.acceptor;
  }

  #keyOf(tls: TerminationTls): string {
    const known = this.#keys.get(tls);
    if (known !== undefined) return known;
    const key = JSON.stringify(tls);
    this.#keys.set(tls, key);
    return key;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const engine of this.#engines.values()) engine[Symbol.dispose]();
    this.#engines.clear();
  }
}

/** The same problem is told once, until there is another. */
function once(tell: (problem: string) => void): (problem: string) => void {
  let last = '';
  return (problem) => {
    if (problem !== last) tell(problem);
    last = problem;
  };
}
