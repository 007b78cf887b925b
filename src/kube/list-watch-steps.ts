// Decides what follows on each outcome of a list or a watch: list, watch on, and after which wait.
import type { KubeFailure, WatchEnd } from './kube-api.ts';

export interface ListWatchState {
  /** Absent: the next step is a list; else a watch from this version. */
  readonly version: string | undefined;
  /** Bad outcomes in a row; a watch that is taken ends the row. */
  readonly failures: number;
}

export type StepOutcome =
  | { readonly kind: 'listed'; readonly version: string }
  | { readonly kind: 'list-failed'; readonly failure: KubeFailure }
  | {
      readonly kind: 'watch-ended';
      readonly end: WatchEnd;
      /** The last one seen. */
      readonly version: string;
      /** It was taken, and brought events or lasted a while. */
      readonly wasGood: boolean;
    };

export interface NextStep {
  readonly state: ListWatchState;
  readonly delayMs: number;
}

export const FIRST_STEP: ListWatchState = { version: undefined, failures: 0 };

/** First wait; doubled with each failure in a row. */
const BACK_OFF_MS = 250;
/** 30 s: one that answers with errors is left alone, and is not met by all replicas at once when it is well. */
const MAX_BACK_OFF_MS = 30_000;
/** 5 s where nobody answers: to ask costs nobody anything, and policies wait for whoever comes back. */
const MAX_UNREACHABLE_MS = 5_000;
/** What only an operator can change (a missing permission or CRD) is not asked for more often. */
const OPERATOR_MS = 20_000;
/** A server that asks for more patience than that is asked again all the same. */
const MAX_RETRY_AFTER_MS = 60_000;
/** A watch that the server cannot serve from its version, say after a restored backup, is given up after so many. */
const MAX_BROKEN_WATCHES = 4;

/** @param random from 0 to 1: spreads the waits of replicas. */
export function nextStep(state: ListWatchState, outcome: StepOutcome, random: number): NextStep {
  switch (outcome.kind) {
    case 'listed':
      // Not yet a success: lists that succeed and watches that fail in turn must slow down too.
      return { state: { ...state, version: outcome.version }, delayMs: 0 };
    case 'list-failed':
      return afterFailure({ ...state, version: undefined }, outcome.failure, random);
    case 'watch-ended': {
      const failures = outcome.wasGood ? 0 : state.failures;
      const { version, end } = outcome;
      if (!end.ok) return afterBrokenWatch({ version, failures }, end, random);
      if (outcome.wasGood) return { state: { version, failures: 0 }, delayMs: 0 };
      const delayMs = backOff(failures, MAX_BACK_OFF_MS, random);
      return { state: { version, failures: failures + 1 }, delayMs };
    }
    default:
      return outcome satisfies never;
  }
}

function afterBrokenWatch(state: ListWatchState, failure: KubeFailure, random: number): NextStep {
  const { failures } = state;
  const next = { ...state, version: mustList(failure, failures) ? undefined : state.version };
  // 410 after a good watch is the ordinary end of an old version.
  if (failure.code === 410 && failures === 0)
    return { state: { ...next, failures: 1 }, delayMs: 0 };
  return afterFailure(next, failure, random);
}

function mustList({ kind, code }: KubeFailure, failures: number): boolean {
  if (kind === 'malformed') return true;
  if (kind === 'unreachable' || code === 401 || code === 429) return false;
  return code < 500 || failures >= MAX_BROKEN_WATCHES;
}

function afterFailure(state: ListWatchState, failure: KubeFailure, random: number): NextStep {
  const { kind, code, retryAfterMs = 0 } = failure;
  const failures = state.failures + 1;
  const isForOperator = code === 403 || code === 404;
  const longestMs = kind === 'unreachable' ? MAX_UNREACHABLE_MS : MAX_BACK_OFF_MS;
  const wait = isForOperator
    ? jitter(OPERATOR_MS, random)
    : backOff(state.failures, longestMs, random);
  const delayMs = Math.max(wait, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
  return { state: { ...state, failures }, delayMs };
}

const backOff = (failures: number, longestMs: number, random: number): number =>
  jitter(Math.min(BACK_OFF_MS * 2 ** Math.min(failures, 16), longestMs), random);

const jitter = (ms: number, random: number): number => Math.round(ms * (0.5 + random / 2));
