// What the HTTP/2 engine asks of its caller: where requests go, and what is to be done with each.
import type { HeaderEdits, Http2RequestHead, RawHeaders } from './header-list.ts';
import type { RouteExtras } from '../routes/extras.ts';
import type { BodyLimits } from '../traffic/body-limits.ts';
import type { RetryPlan } from '../upstream/retries.ts';
import type { UpstreamSessions } from './upstream-sessions.ts';

export interface PickWant {
  /** Not to be used again. */
  readonly tried: ReadonlySet<UpstreamSessions>;
  /** Whether they may be when there are no others. */
  readonly mayRepeat: boolean;
  /** What chooses the endpoint, where the upstream hashes. */
  readonly hash: bigint | undefined;
}

/** Where a request may go; asked again when a connection could not be made. */
export interface Http2Upstream {
  /** @returns sessions of an endpoint, or `undefined` when there is none. */
  pick(want: PickWant): UpstreamSessions | undefined;
  /** Of the endpoint, for ejection: the status that it answered with, or 0 when it failed. */
  report(sessions: UpstreamSessions, status: number): void;
  readonly connectRetries: number;
}

/** An answer of our own. */
export interface Http2Answer {
  readonly kind: 'respond';
  readonly status: number;
  readonly body: string;
  readonly reasonCode: string;
  readonly headers: RawHeaders;
}

export type Http2Action =
  | Http2Answer
  | {
      readonly kind: 'forward';
      readonly upstream: Http2Upstream;
      readonly edits: HeaderEdits;
      readonly extras?: RouteExtras | undefined;
      readonly body?: BodyLimits | undefined;
      /** When it is sent again although an application may have got it; absent: never. */
      readonly retry?: RetryPlan | undefined;
      readonly hash?: bigint | undefined;
    };

export interface Http2Completion {
  readonly head: Http2RequestHead | undefined;
  /** Empty: the streams of one connection are balanced each for itself. */
  readonly upstream: string;
  readonly status: number;
  readonly grpcStatus: string | undefined;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly durationMs: number;
  /** Empty when all went well. */
  readonly reasonCode: string;
}

export interface Http2Hooks {
  /** A promise only where something must be asked first. */
  onRequest(head: Http2RequestHead): Http2Action | Promise<Http2Action>;
  /** Whether a request that is under way may go on by what is in force now; a promise as in `onRequest`. */
  isStillAllowed(head: Http2RequestHead): boolean | Promise<boolean>;
  onComplete(completion: Http2Completion): void;
  onClose(): void;
}

const refusal = (status: number, reasonCode: string): Http2Answer => ({
  kind: 'respond',
  status,
  body: `${reasonCode}\n`,
  reasonCode,
  headers: [],
});
/** For a request of which nobody could say what is to be done with it. */
export const UNDECIDED = refusal(503, 'decision-failed');
/** For one that the rules forbid by the time it is decided. */
export const CHANGED = refusal(403, 'policy-changed');
