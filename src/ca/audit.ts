// Writes one line for each identity that was given or refused, and counts them; never a token, never a key.
import type { Logger } from 'pino';

export type AuditEntry =
  | {
      readonly ok: true;
      readonly spiffeId: string;
      readonly serial: string;
      readonly notAfter: Date;
      /** Of a token. */
      readonly audience?: readonly string[];
      readonly attestor: string;
      readonly peer: string;
    }
  | {
      readonly ok: false;
      readonly reasonCode: string;
      readonly reason: string;
      readonly namespace?: string;
      readonly serviceAccount?: string;
      readonly attestor: string;
      readonly peer: string;
    };

/** Our own codes are few; more of them than this would be a bug that must not fill the memory. */
const MAX_REASON_CODES = 100;

export class AuditLedger {
  readonly #log: Logger | undefined;
  readonly #refusedByReason = new Map<string, number>();
  #issued = 0;
  #refused = 0;

  constructor(log: Logger | undefined) {
    this.#log = log;
  }

  write(entry: AuditEntry): void {
    const { ok, ...fields } = entry;
    if (ok) {
      this.#issued++;
      this.#log?.info(fields, 'identity issued');
    } else {
      this.countRefusal(entry.reasonCode);
      this.#log?.warn(fields, 'identity refused');
    }
  }

  /** For those that are too many to be written down. */
  countRefusal(reasonCode: string): void {
    this.#refused++;
    const known = this.#refusedByReason.get(reasonCode);
    if (known === undefined && this.#refusedByReason.size >= MAX_REASON_CODES) return;
    this.#refusedByReason.set(reasonCode, (known ?? 0) + 1);
  }

  get issued(): number {
    return this.#issued;
  }

  get refused(): number {
    return this.#refused;
  }

  get refusedByReason(): ReadonlyMap<string, number> {
    return this.#refusedByReason;
  }
}
