// Writes one line for each hand-over, withdrawal and refusal of a credential, and keeps the newest: who, what, which version; never a value.
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';

export type CredentialAct =
  /** Given to a proxy. */
  | 'handed-over'
  /** Given on inside the workload, as its proxy says. */
  | 'handed-on'
  /** Taken away from a proxy. */
  | 'withdrawn'
  /** A proxy was told nothing. */
  | 'refused';

export interface AuditLine {
  readonly act: CredentialAct;
  readonly identity: string;
  /** `POD.NAMESPACE`; absent of one that is nobody's. */
  readonly proxy?: string;
  readonly peer?: string;
  /** `NAMESPACE/NAME`. */
  readonly binding?: string;
  readonly credential?: string;
  readonly version?: string;
  readonly way?: string;
  readonly receiver?: string;
  readonly count?: number;
  readonly reason?: string;
}

export interface KeptLine extends AuditLine {
  readonly at: string;
}

/** Of each act the newest are kept, so that many of one push out none of another; all are in the log. */
const MAX_KEPT = 1_024;
const PHRASES: Readonly<Record<CredentialAct, string>> = {
  'handed-over': 'credential handed over',
  'handed-on': 'credential handed on',
  withdrawn: 'credential withdrawn',
  refused: 'credential refused',
};

const isAct = (text: string): text is CredentialAct => Object.hasOwn(PHRASES, text);

export class AuditTrail {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #lines: Readonly<Record<CredentialAct, KeptLine[]>> = {
    'handed-over': [],
    'handed-on': [],
    withdrawn: [],
    refused: [],
  };
  readonly #counts: Record<CredentialAct, number> = {
    'handed-over': 0,
    'handed-on': 0,
    withdrawn: 0,
    refused: 0,
  };

  constructor({ log, clock }: { readonly log: Logger; readonly clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  write(line: AuditLine): void {
    const { act, ...fields } = line;
    this.#counts[act]++;
    if (act === 'refused') this.#log.warn({ act, ...fields }, PHRASES[act]);
    else this.#log.info({ act, ...fields }, PHRASES[act]);
    const at = (this.#counts[act] - 1) % MAX_KEPT;
    this.#lines[act][at] = { at: new Date(this.#clock.now()).toISOString(), ...line };
  }

  /** Since the start. */
  get counts(): Readonly<Record<CredentialAct, number>> {
    return this.#counts;
  }

  /** The oldest first. */
  lines(): readonly KeptLine[] {
    const inOrder = (act: CredentialAct): readonly KeptLine[] => {
      const lines = this.#lines[act];
      const oldest = lines.length < MAX_KEPT ? 0 : this.#counts[act] % MAX_KEPT;
      return [...lines.slice(oldest), ...lines.slice(0, oldest)];
    };
    return Object.keys(PHRASES)
      .filter(isAct)
      .flatMap(inOrder)
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  }
}
