// Asks one place of a source again and again: at its pace while all is well, ever more seldom while it cannot be read.
import type { Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import {
  type CredentialSource,
  onlyChanges,
  type OnReading,
  type SourceReading,
} from './source.ts';

interface PollingPace {
  readonly clock: Clock;
  readonly pollMs: number;
  /** From 0 to 1. */
  readonly random?: (() => number) | undefined;
}

interface PollingOptions extends PollingPace {
  readonly read: ReadPlace;
  readonly onReading: OnReading;
}

/** Never rejects for what the source does. */
type ReadPlace = (signal: AbortSignal) => Promise<SourceReading>;

/** 30 s: an outage that has ended is noticed by then. */
const MAX_PAUSE_MS = 30_000;
/** So much of a pause is left to chance, so that places are not all asked for at once. */
const JITTER = 0.2;

export interface PolledSourceOptions extends PollingPace {
  readonly description: string;
  /** Asked for anew by each that follows a place. */
  readonly readerOf: (place: string) => ReadPlace;
}

/** A source that cannot say by itself when a place changes. */
export function createPolledSource(options: PolledSourceOptions): CredentialSource {
  const { description, readerOf, clock, pollMs, random } = options;
  const followed = new Set<Disposable>();
  return {
    description,
    follow(place, onReading) {
      const polling = startPolling({ read: readerOf(place), onReading, clock, pollMs, random });
      followed.add(polling);
      return {
        [Symbol.dispose]() {
          followed.delete(polling);
          polling[Symbol.dispose]();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const polling of followed) polling[Symbol.dispose]();
      followed.clear();
    },
  };
}

/** Until it is disposed of. The first reading is at once. */
function startPolling(options: PollingOptions): Disposable {
  const { read, clock, pollMs, random = Math.random } = options;
  const tell = onlyChanges(options.onReading);
  const stop = new AbortController();
  let timer: Disposable | undefined;
  let failures = 0;
  const turn = async (): Promise<void> => {
    const reading = await read(stop.signal).catch(
      (error: unknown): SourceReading => ({ kind: 'unavailable', reason: errorText(error) }),
    );
    if (stop.signal.aborted) return;
    failures = reading.kind === 'unavailable' ? failures + 1 : 0;
    tell(reading);
    const pauseMs = Math.min(MAX_PAUSE_MS, pollMs * 2 ** Math.min(Math.max(failures - 1, 0), 16));
    timer = clock.setTimeout(() => void turn(), pauseMs * (1 - JITTER * random()));
  };
  timer = clock.setTimeout(() => void turn(), 0);
  return {
    [Symbol.dispose]() {
      stop.abort();
      timer?.[Symbol.dispose]();
    },
  };
}
