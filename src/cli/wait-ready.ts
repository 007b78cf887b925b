// Waits until a sidecar says that it is ready, or says what was missing at the end.
import { setTimeout as pause } from 'node:timers/promises';
import { type AdminAnswer, askAdmin, type AdminTarget } from './admin-client.ts';

/** Short beside the time a sidecar takes to enrol. */
const EVERY_MS = 100;

/**
 * @returns the answer that says so, or the last one before the time was over
 * @throws Error when nobody answered even then.
 */
export async function waitUntilReady(
  target: AdminTarget,
  { waitMs }: { readonly waitMs: number },
): Promise<AdminAnswer> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const answer = await ask(target);
    const isOver = performance.now() >= deadline;
    if (!(answer instanceof Error) && (answer.status === 200 || isOver)) return answer;
    if (isOver) throw answer;
    await pause(EVERY_MS);
  }
}

async function ask(target: AdminTarget): Promise<AdminAnswer | Error> {
  try {
    return await askAdmin(target, '/ready');
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}
