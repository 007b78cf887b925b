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
  note({ name, version }: Pick<Credential, 'name' | 'version'>, way: Way, receiver: string): void {
    const { log, metrics, identity } = this.#options;
    metrics.handedOver(way);
    const to = receiver.slice(0, MAX_RECEIVER);
    const key = `${name} ${version} ${way} ${to}`;
    this.#count(key, { name, version, way: wireWayOf(way), receiver: to });
    if (way === 'injected' && !this.#isFirst(key)) return;
    log.info(
      { credential: name, version, way, receiver: to, identity: identity() },
      'credential handed over',
    );
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
