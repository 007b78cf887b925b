// Remembers what policies on trial would have changed, by who called, for whoever wants to put them in force.
import { createHash } from 'node:crypto';
import type { Trial } from '@weft/model/policy/evaluate';
import type { DryRunVerdict } from '../filters/policy-marks.ts';

/** Callers and rules that are told apart; what comes beyond is counted without its caller and rule. */
const MAX_EDGES = 1_000;
/** Versions of the policies on trial that are remembered: those of the ports of a workload, and some before. */
const MAX_VERSIONS = 64;
const OTHERS = 'other';

export interface DryRunEdge {
  readonly source: string;
  readonly today: 'allow' | 'deny';
  readonly candidate: 'allow' | 'deny';
  readonly reason: string;
  /** The rule that would decide; absent when none would match. */
  readonly rule: string | undefined;
  count: number;
}

/** What `weft policy promote` asks for. */
export interface DryRunReport {
  /** Names of the rules on trial. */
  readonly rules: readonly { readonly action: string; readonly name: string }[];
  /** Requests and connections that were judged by them as they are now. */
  readonly judged: number;
  /** Those of them that would be decided otherwise. */
  readonly changes: readonly DryRunEdge[];
}

interface Tally {
  judged: number;
  readonly changes: Map<string, DryRunEdge>;
}

/** Counts by what was on trial: after an edit counting begins anew, an edit of something else loses nothing. */
export class DryRunLedger {
  readonly #tallies = new Map<string, Tally>();
  readonly #versions = new WeakMap<Trial, string>();

  record(source: string, { trial, today, candidate }: DryRunVerdict): void {
    const tally = this.#tallyOf(this.#versionOf(trial));
    tally.judged++;
    if (today.isAllowed === candidate.isAllowed) return;
    const isFull = tally.changes.size >= MAX_EDGES;
    const own = `${source}|${candidate.reason}|${candidate.decidedBy ?? ''}`;
    const key = isFull && !tally.changes.has(own) ? `${OTHERS}|${candidate.reason}` : own;
    const known = tally.changes.get(key);
    if (known !== undefined) {
      known.count++;
      return;
    }
    tally.changes.set(key, {
      source: key === own ? source : OTHERS,
      today: today.isAllowed ? 'allow' : 'deny',
      candidate: candidate.isAllowed ? 'allow' : 'deny',
      reason: candidate.reason,
      rule: key === own ? candidate.decidedBy : OTHERS,
      count: 1,
    });
  }

  /** @param trials those in force at the ports of the workload. */
  report(trials: readonly Trial[]): DryRunReport {
    const rules = new Map<string, { readonly action: string; readonly name: string }>();
    for (const { action, policies } of trials.flatMap(({ candidates }) => candidates)) {
      for (const { name } of policies) rules.set(name, { action, name });
    }
    const versions = new Set(trials.map((trial) => this.#versionOf(trial)));
    const tallies = [...versions].flatMap((version) => this.#tallies.get(version) ?? []);
    return {
      rules: [...rules.values()],
      judged: tallies.reduce((sum, { judged }) => sum + judged, 0),
      changes: tallies.flatMap(({ changes }) => [...changes.values()]),
    };
  }

  #tallyOf(version: string): Tally {
    let tally = this.#tallies.get(version);
    if (tally === undefined) {
      if (this.#tallies.size >= MAX_VERSIONS) {
        const oldest = this.#tallies.keys().next();
        if (oldest.done !== true) this.#tallies.delete(oldest.value);
      }
      this.#tallies.set(version, (tally = { judged: 0, changes: new Map() }));
    }
    return tally;
  }

  /** Once for each compiled listener: equal rules have equal versions. */
  #versionOf(trial: Trial): string {
    let version = this.#versions.get(trial);
    if (version === undefined) {
      const text = JSON.stringify([trial.chain, trial.candidates]);
      version = createHash('sha256').update(text).digest('hex');
      this.#versions.set(trial, version);
    }
    return version;
  }
}
