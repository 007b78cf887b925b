// What an agent with an Envoy is told at its start.
import type { MeshSidecarOptions } from '../../options.ts';

export interface EnvoyOptions {
  /** The program: a path, or a name that is looked for. */
  readonly binary: string;
  /** Threads that serve. */
  readonly concurrency: number;
  readonly logLevel: string;
  /** How long connections of before a change of rules may go on, judged by the old ones; from 1. */
  readonly rulesDrainSeconds: number;
  /** Runs a program so that it ends with us; see `EnvoyProcessOptions`. */
  readonly guard: readonly string[];
  /** For sockets and the bootstrap: private, and made anew. */
  readonly folder: string;
}

export type EnvoySidecarOptions = MeshSidecarOptions & {
  readonly envoy: EnvoyOptions;
  /** It cannot go on, and whoever runs it should know. */
  readonly onGiveUp: (reason: string) => void;
};
