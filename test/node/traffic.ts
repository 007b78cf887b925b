// Calls that go on all the time from the containers of one Pod, and what became of them since a moment.
import assert from 'node:assert/strict';
import { eventually } from '../support/lab-wait.ts';
import type { CallEnd, CallKind } from './apps/calls.ts';
import { container } from './objects.ts';

/** 20 ms: hundreds of calls in the seconds that a change takes. */
const EVERY_MS = 20;
const SETTLED_CALLS = 20;
const MAX_SHOWN = 10;

/** One loop: its kind is the name of its container. */
export interface Loop {
  readonly kind: CallKind;
  readonly target: string;
}

export const loopContainer = ({ kind, target }: Loop): object =>
  container(kind, 'test/caller', { args: ['loop', String(EVERY_MS), kind, target] });

/** The calls that a log of the application `caller` tells, oldest first; a line that is not yet whole is left out. */
export function readCalls(log: string): readonly CallEnd[] {
  const lines = log.slice(0, log.lastIndexOf('\n') + 1).split('\n');
  return lines.flatMap((line) => {
    if (!line.startsWith('{"isOk"')) return [];
    const end: CallEnd = JSON.parse(line);
    return [end];
  });
}

export interface Traffic {
  /** The calls of each loop since the traffic was marked. */
  since(): ReadonlyMap<string, readonly CallEnd[]>;
  /** Waits until every loop has made some more calls. */
  flows(): Promise<void>;
  /** As `flows`, and not one call since the mark has failed. */
  neverFailed(): Promise<void>;
}

/** @param logOf what the container of this name has written until now. */
export function markTraffic(loops: readonly Loop[], logOf: (container: string) => string): Traffic {
  const callsOf = (kind: string): readonly CallEnd[] => readCalls(logOf(kind));
  const marks = new Map(loops.map(({ kind }) => [kind, callsOf(kind).length]));
  const since = (): ReadonlyMap<string, readonly CallEnd[]> =>
    new Map([...marks].map(([kind, mark]) => [kind, callsOf(kind).slice(mark)]));
  const flows = async (): Promise<void> => {
    const before = since();
    const isMore = (): boolean =>
      [...since()].every(
        ([kind, calls]) => calls.length >= (before.get(kind)?.length ?? 0) + SETTLED_CALLS,
      );
    const told = (): string =>
      [...since()].map(([kind, { length }]) => `${kind}: ${length}`).join();
    await eventually(isMore, { what: 'more calls of each loop', withinMs: 60_000, told });
  };
  return {
    since,
    flows,
    async neverFailed() {
      await flows();
      for (const [kind, calls] of since()) {
        const failed = calls.filter(({ isOk }) => !isOk);
        const shown = failed.slice(0, MAX_SHOWN).map((end) => JSON.stringify(end));
        assert.equal(failed.length, 0, `${kind}, of ${calls.length}:\n${shown.join('\n')}`);
      }
    },
  };
}
