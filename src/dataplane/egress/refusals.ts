// Counts what this workload called outside the mesh and was refused, within bounds, until the next report takes the counts.
import type { PlainMessage } from '@weft/xds/registry';

/** Where what may not be called leads, and why it may not. Names as the control plane gives them. */
const REASONS: ReadonlyMap<string, RefusedOutside['reasonCode']> = new Map([
  ['blackhole', 'egress-not-registered'],
  ['forbidden', 'egress-not-allowed'],
]);

/** Hosts between two reports; what comes beyond is counted together. */
const MAX_HOSTS = 200;
/** Of a name that a client has written. */
const MAX_TEXT = 255;
const OTHERS = '(others)';

export interface RefusedOutside {
  /** A name where the caller said one, else an address. */
  readonly host: string;
  readonly port: number;
  readonly reasonCode: 'egress-not-registered' | 'egress-not-allowed';
}

/** @returns `undefined` for clusters that lead somewhere. */
export const refusalOf = (cluster: string): RefusedOutside['reasonCode'] | undefined =>
  REASONS.get(cluster);

export class EgressRefusals {
  #counts = new Map<string, { readonly refused: RefusedOutside; count: number }>();

  note(refused: RefusedOutside): void {
    const host = refused.host.slice(0, MAX_TEXT).toLowerCase();
    const key = `${host} ${refused.port} ${refused.reasonCode}`;
    const known = this.#counts.get(key);
    if (known !== undefined) known.count++;
    else if (this.#counts.size < MAX_HOSTS || host === OTHERS) {
      this.#counts.set(key, { refused: { ...refused, host }, count: 1 });
    } else this.note({ host: OTHERS, port: 0, reasonCode: refused.reasonCode });
  }

  /** The counts since the last call. */
  take(): readonly PlainMessage[] {
    const taken = [...this.#counts.values()].map(({ refused, count }) => ({
      host: refused.host,
      port: refused.port,
      reason: refused.reasonCode,
      count,
    }));
    this.#counts = new Map();
    return taken;
  }
}
