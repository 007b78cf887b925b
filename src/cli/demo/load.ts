// Keeps calling while things change, and counts every call that failed and why.
import http from 'node:http';
import { callHttp } from './http-call.ts';

export interface LoadResult {
  readonly calls: number;
  /** Reason and how often. */
  readonly failures: ReadonlyMap<string, number>;
}

export interface Load {
  /** Finishes the calls under way. */
  stop(): Promise<LoadResult>;
}

/** Calls a loop makes one after the other; kept connections and new ones in turn. */
const LOOPS = 4;
const PAUSE_MS = 4;

/** @param paths asked in turn; every answer must have status 200. */
export function startLoad(address: string, paths: readonly string[]): Load {
  const agent = new http.Agent({ keepAlive: true, maxSockets: LOOPS });
  const failures = new Map<string, number>();
  let calls = 0;
  const stopped = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      const path = paths[calls % paths.length] ?? '/';
      const isKept = calls % 4 !== 0;
      calls++;
      try {
        const { status, body } = await callHttp(address, path, isKept ? { agent } : {});
        if (status !== 200) note(`${path}: status ${status} ${body}`);
      } catch (error) {
        note(`${path}: ${error instanceof Error ? error.message : String(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  const note = (reason: string): void => {
    failures.set(reason, (failures.get(reason) ?? 0) + 1);
  };
  const loops = Array.from({ length: LOOPS }, () => loop());
  return {
    async stop() {
      stopped.abort();
      await Promise.all(loops);
      agent.destroy();
      return { calls, failures };
    },
  };
}

export const describeFailures = (failures: LoadResult['failures']): string =>
  [...failures].map(([reason, count]) => `${count} × ${reason}`).join('; ');
