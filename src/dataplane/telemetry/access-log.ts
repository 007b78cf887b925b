// Writes one JSON line for a request or connection: who, what, where to, what was decided and by which rule.
import type { Verdict } from '@weft/model/policy/evaluate';
import type { DryRunVerdict, PolicyMarks } from '../filters/policy-marks.ts';

export type AccessLogMode = 'off' | 'errors' | 'all';

/** The writer's own logger: pino's `info`, or a list in tests. */
export interface LineLogger {
  info(fields: object, message: string): void;
}

export interface AccessRecord {
  readonly direction: 'inbound' | 'outbound';
  readonly protocol: 'http1' | 'http2' | 'tcp';
  readonly source: string;
  readonly sourceIp: string;
  readonly destinationPort: number;
  readonly upstream: string;
  readonly verdict: Verdict | undefined;
  readonly marks?: PolicyMarks | undefined;
  /** The ALLOW rule that came nearest to a refusal, and what of it failed. */
  readonly nearest?: string | undefined;
  readonly reasonCode: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly durationMs: number;
  readonly http?: {
    readonly requestId: string;
    readonly method: string;
    /** Logged without its query, which may hold secrets. */
    readonly path: string;
    readonly authority: string;
    readonly status: number;
    readonly grpcStatus: string;
  };
}

/** Longer texts of a request are cut: a line stays a line. */
const MAX_TEXT = 512;
export const short = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;

export function withoutQuery(path: string): string {
  const query = path.indexOf('?');
  return query === -1 ? path : path.slice(0, query);
}

const isError = (record: AccessRecord): boolean =>
  record.reasonCode !== '' ||
  record.verdict?.isAllowed === false ||
  (record.http !== undefined && record.http.status >= 400);

const word = ({ isAllowed }: Verdict): string => (isAllowed ? 'allow' : 'deny');

/** What would be decided with the policies on trial, and by which rule. */
const describeDryRun = ({ today, candidate, nearest }: DryRunVerdict) => ({
  today: word(today),
  candidate: word(candidate),
  reason: candidate.reason,
  policy: candidate.decidedBy,
  nearest,
});

/** @returns a function that logs what the mode asks for, and nothing else. */
export function createAccessLog(
  logger: LineLogger,
  mode: AccessLogMode,
): ((record: AccessRecord) => void) & { readonly isOff: boolean } {
  const write = (record: AccessRecord): void => {
    if (mode === 'off' || (mode === 'errors' && !isError(record))) return;
    const { verdict, marks, http, durationMs, ...rest } = record;
    logger.info(
      {
        ...rest,
        durationMs: Math.round(durationMs * 1_000) / 1_000,
        decision: verdict === undefined ? 'none' : verdict.isAllowed ? 'allow' : 'deny',
        decisionReason: verdict?.reason,
        policy: verdict?.decidedBy,
        audit: marks?.audit,
        authorizers: marks?.authorizers,
        user: marks?.user,
        dryRun: marks?.dryRun && describeDryRun(marks.dryRun),
        ...(http && {
          ...http,
          path: short(withoutQuery(http.path)),
          authority: short(http.authority),
          method: short(http.method),
        }),
      },
      'access',
    );
  };
  return Object.assign(write, { isOff: mode === 'off' });
}
