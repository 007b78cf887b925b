// Which endpoint a request goes to next, after those that could not be reached or refused it.
import type { Http2Upstream } from './http2-contract.ts';
import type { UpstreamSessions } from './upstream-sessions.ts';

/** New connections that a request may be moved to when streams are refused. */
const MAX_REFUSALS = 3;
const NONE: ReadonlySet<UpstreamSessions> = new Set();

export class UpstreamChoice {
  readonly #upstream: Http2Upstream;
  readonly #mayRepeat: boolean;
  readonly #hash: bigint | undefined;
  #failures = 0;
  #refusals = 0;
  #tried: Set<UpstreamSessions> | undefined;
  #refusedBy: Set<UpstreamSessions> | undefined;
  #current: UpstreamSessions | undefined;

  /** @param mayRepeat whether endpoints that were tried may be used when there are no others. */
  constructor(upstream: Http2Upstream, hash: bigint | undefined, mayRepeat: boolean) {
    this.#upstream = upstream;
    this.#hash = hash;
    this.#mayRepeat = mayRepeat;
  }

  /** The one chosen last. */
  get current(): UpstreamSessions | undefined {
    return this.#current;
  }

  /** @returns `undefined` when there is nobody left to ask. */
  next(): UpstreamSessions | undefined {
    const isOver = this.#failures > this.#upstream.connectRetries || this.#refusals > MAX_REFUSALS;
    this.#current = isOver ? undefined : this.#pick();
    return this.#current;
  }

  /** Who refused is going away; asked again only when there is nobody else. */
  #pick(): UpstreamSessions | undefined {
    const tried = this.#tried ?? NONE;
    const hash = this.#hash;
    const refusing = this.#refusedBy;
    const others =
      refusing && this.#upstream.pick({ tried: tried.union(refusing), mayRepeat: false, hash });
    return others ?? this.#upstream.pick({ tried, mayRepeat: this.#mayRepeat, hash });
  }

  /** No connection could be made. */
  noteUnreachable(): void {
    if (this.#current === undefined) return;
    this.#failures++;
    (this.#tried ??= new Set()).add(this.#current);
    this.report(0);
  }

  noteRefusal(): void {
    this.#refusals++;
    if (this.#current !== undefined) (this.#refusedBy ??= new Set()).add(this.#current);
  }

  /** A new attempt, rather at another endpoint than this one. */
  beginAnew(): void {
    this.#failures = 0;
    if (this.#current !== undefined) this.#tried = new Set([this.#current]);
  }

  /** @param status as of `Http2Upstream`. */
  report(status: number): void {
    if (this.#current !== undefined) this.#upstream.report(this.#current, status);
  }

  /** Why there is nobody left. */
  get reasonCode(): string {
    if (this.#refusals > 0) return 'upstream-refused-stream';
    return this.#failures > 0 ? 'upstream-connect-failed' : 'no-healthy-upstream';
  }
}
