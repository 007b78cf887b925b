// The benchmark's side of its fleet of proxies: starts their process, tells it what to do and waits for its word.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startChild } from '../load/processes.ts';
import type { FromFleet, ToFleet } from './messages.ts';

const FLEET = fileURLToPath(new URL('fleet.ts', import.meta.url));
const START_MS = 30_000;

export async function startFleet(): Promise<Fleet> {
  const fleet = new Fleet(startChild(FLEET));
  await fleet.next('started', START_MS);
  return fleet;
}

/** The process with the proxies; it ends with its disposal. */
export class Fleet implements AsyncDisposable {
  readonly #child: ChildProcess & AsyncDisposable;

  constructor(child: ChildProcess & AsyncDisposable) {
    this.#child = child;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#child[Symbol.asyncDispose]());
  }

  tell(message: ToFleet): void {
    this.#child.send(message);
  }

  /** @throws Error when a proxy was lost: a fleet that shrinks measures nothing. */
  async next<K extends FromFleet['kind']>(
    kind: K,
    withinMs: number,
  ): Promise<Extract<FromFleet, { kind: K }>> {
    const signal = AbortSignal.timeout(withinMs);
    const [message] = await once(this.#child, 'message', { signal });
    if (isOf(message, kind)) return message;
    throw new Error(`Cannot go on: the fleet said ${JSON.stringify(message)}, not ${kind}`);
  }
}

const isOf = <K extends FromFleet['kind']>(
  value: unknown,
  kind: K,
): value is Extract<FromFleet, { kind: K }> =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
