// What a sidecar is told at its start about the Workload API: where it is, and whom it answers.
import type { AllowedCallers, Owner } from '../credentials/options.ts';

export interface WorkloadApiOptions {
  /** Of the Unix socket. */
  readonly path: string;
  readonly mode: number;
  readonly owner: Owner | undefined;
  /** At least one list is not empty. */
  readonly allowed: AllowedCallers;
}
