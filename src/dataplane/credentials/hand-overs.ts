// Writes down every hand-over inside the workload: a line of the log for each, and bounded counts for the control plane's audit.
import type { PlainMessage } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { type Credential, type Way, wireWayOf } from './credential.ts';
import type { CredentialMetrics } from './credential-metrics.ts';

/** Between two reports; what comes beyond is counted under no receiver, and beyond twice as many not at all. */
const MAX_KEPT = 200;
/** Injections that had their line; forgotten all at once, for then the lines begin anew. */
const MAX_LINES = 1_000;
const MAX_RECEIVER = 200;

interface Kept {
  readonly message: PlainMessage;
  count: number;
}

export interface HandOversOptions {
  readonly log: Logger;
  readonly metrics: CredentialMetrics;
  /** Who the workload is. */
  readonly identity: () => string | undefined;
}

type HandedOver = Pick<Credential, 'name' | 'version'>;

export class HandOvers {
  readonly #options: HandOversOptions;
  #kept = new Map<string, Kept>();
  readonly #lines = new Set<string>();

  constructor(options: HandOversOptions) {
    this.#options = options;
  }

  /**
   * @param receiver who took it, as far as that is known: `uid 1000 gid 1000 pid 7`, a host, a folder.
   * Of injections the first of a version to a host is a line, the others are counted: they come with every request.
   */
  note(what: HandedOver, way: Way, receiver: string): void {
    this.noter(what, way, receiver)();
  }

  /** What notes one hand-over after the other, with as little as can be done for each. */
  noter({ name, version }: HandedOver, way: Way, receiver: string): () => void {
    const { log, metrics, identity } = this.#options;
    const to = receiver.slice(0, MAX_RECEIVER);
    const key = `${name} ${version} ${way} ${to}`;
    const message = { name, version, way: wireWayOf(way), receiver: to };
    const count = metrics.handedOver(way);
    let isTold = false;
    return () => {
      count.inc();
      this.#count(key, message);
      if (isTold) return;
      isTold = true;
      if (way === 'injected' && !this.#isFirst(key)) return;
      const told = { credential: name, version, way, receiver: to, identity: identity() };
      log.info(told, 'credential handed over');
    };
  }

  #isFirst(key: string): boolean {
    if (this.#lines.has(key)) return false;
    if (this.#lines.size >= MAX_LINES) this.#lines.clear();
    this.#lines.add(key);
    return true;
  }

  #count(key: string, { receiver, ...rest }: PlainMessage): void {
    const known = this.#kept.get(key);
    if (known !== undefined) known.count++;
    else if (this.#kept.size < MAX_KEPT)
      this.#kept.set(key, { message: { ...rest, receiver }, count: 1 });
    else this.#countBeyond(`${String(rest['name'])} ${String(rest['way'])}`, rest);
  }

  #countBeyond(key: string, message: PlainMessage): void {
    const known = this.#kept.get(key);
    if (known !== undefined) known.count++;
    else if (this.#kept.size < MAX_KEPT * 2) this.#kept.set(key, { message, count: 1 });
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  /** What was counted since the last call. */
  take(): readonly PlainMessage[] {
    const taken = [...this.#kept.values()].map(({ message, count }) => ({ ...message, count }));
    this.#kept = new Map();
    return taken;
  }
}
