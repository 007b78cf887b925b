// Remembers the last refusals with their reasons, so that an operator can ask about one by its request id.
import type { Verdict } from '@weft/model/policy/evaluate';
import type { AccessRecord } from './access-log.ts';
import { short, withoutQuery } from './access-log.ts';

/** Enough to find one that was just reported; about half a megabyte at most. */
export const MAX_DENIALS = 1_000;

export interface Denial {
  readonly time: string;
  /** Absent on TCP. */
  readonly requestId?: string;
  readonly direction: AccessRecord['direction'];
  readonly protocol: AccessRecord['protocol'];
  readonly source: string;
  readonly sourceIp: string;
  readonly destinationPort: number;
  readonly method?: string;
  /** Without its query. */
  readonly path?: string;
  readonly authority?: string;
  readonly status?: number;
  readonly reasonCode: string;
  /** `ns[NS]-policy[NAME]-rule[I]`. */
  readonly policy?: string;
  /** The ALLOW rule that came nearest and what of it failed. */
  readonly nearest?: string;
  /** One sentence for people. */
  readonly text: string;
}

/** The sidecar's own refusals: 4xx of the application are none. */
export const isDenial = (record: AccessRecord): boolean =>
  record.verdict?.isAllowed === false ||
  (record.reasonCode !== '' && REFUSING_STATUS.has(record.http?.status ?? 0)) ||
  (record.http === undefined && record.reasonCode !== '' && record.upstream === '');

const REFUSING_STATUS: ReadonlySet<number> = new Set([400, 401, 403]);

export class Denials {
  readonly #now: () => number;
  readonly #max: number;
  readonly #kept: { readonly atMs: number; readonly record: AccessRecord }[] = [];
  /** Where the next one goes once it is full. */
  #next = 0;

  constructor(options: { readonly now: () => number; readonly max?: number }) {
    this.#now = options.now;
    this.#max = options.max ?? MAX_DENIALS;
  }

  /** Passes over what is no refusal. */
  add(record: AccessRecord): void {
    if (!isDenial(record)) return;
    const entry = { atMs: this.#now(), record: withoutLongTexts(record) };
    if (this.#kept.length < this.#max) {
      this.#kept.push(entry);
      return;
    }
    this.#kept[this.#next] = entry;
    this.#next = (this.#next + 1) % this.#max;
  }

  /** @returns a log that is read on its way to `write`. */
  before(write: (record: AccessRecord) => void): (record: AccessRecord) => void {
    return (record) => {
      this.add(record);
      write(record);
    };
  }

  /** Newest first. @param requestId absent: all. */
  find(requestId?: string): readonly Denial[] {
    const inOrder = [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)];
    return inOrder
      .reverse()
      .filter(({ record }) => requestId === undefined || record.http?.requestId === requestId)
      .map(({ atMs, record }) => describe(atMs, record));
  }
}

/** What a client sends is bounded before it is kept. */
function withoutLongTexts(record: AccessRecord): AccessRecord {
  const { http } = record;
  if (http === undefined) return record;
  const { requestId, method, path, authority } = http;
  return {
    ...record,
    http: {
      ...http,
      requestId: short(requestId),
      method: short(method),
      path: short(withoutQuery(path)),
      authority: short(authority),
    },
  };
}

function describe(atMs: number, record: AccessRecord): Denial {
  const { direction, protocol, source, sourceIp, destinationPort, reasonCode } = record;
  const { http, verdict, nearest } = record;
  return {
    time: new Date(atMs).toISOString(),
    ...(http !== undefined && {
      requestId: http.requestId,
      method: http.method,
      path: http.path,
      authority: http.authority,
      status: http.status,
    }),
    direction,
    protocol,
    source,
    sourceIp,
    destinationPort,
    reasonCode,
    ...(verdict?.decidedBy !== undefined && { policy: verdict.decidedBy }),
    ...(nearest !== undefined && { nearest }),
    text: textOf(reasonCode, verdict),
  };
}

function textOf(reasonCode: string, verdict: Verdict | undefined): string {
  if (verdict === undefined || verdict.isAllowed) {
    return `refused before any policy was asked: ${reasonCode}`;
  }
  return verdict.decidedBy === undefined
    ? 'ALLOW policies select the workload and no rule of theirs matched'
    : `${verdict.decidedBy} matched and denies`;
}
