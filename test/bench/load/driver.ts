// Decides what a load driver is: something outside the benchmark's own process that asks a proxy pair, and counts.
import type { DriverName } from '../scenario.ts';
import type { LoadJob, LoadResult } from './job.ts';

/** Runs one job at a time; whatever it started ends with it. */
export interface LoadDriver extends AsyncDisposable {
  /** @throws Error when it cannot say what happened; failed requests are counted, not thrown. */
  run(job: LoadJob): Promise<LoadResult>;
}

export type StartedDriver =
  | {
      readonly ok: true;
      readonly driver: LoadDriver;
      /** For the report: `h2load 1.52.0, one thread`. */
      readonly about: string;
    }
  | { readonly ok: false; readonly reason: string };

export interface DriverKind {
  readonly name: DriverName;
  /** Fetches or builds what it needs, where there is a network: scenarios may run in a network namespace without one. */
  prepare?(): Promise<void>;
  start(): Promise<StartedDriver>;
}
