// What a call is given while it has no connection yet, and which idle one it may have.
import type { PooledConnection } from './connection.ts';
import type { UpstreamEndpoint } from './endpoint.ts';

/** Begins once the promise is settled; given up before, it never begins. */
export function whenSettled(waiting: Promise<void>, begin: () => Disposable): Disposable {
  let begun: Disposable | undefined;
  let isGivenUp = false;
  void waiting.then(() => {
    if (!isGivenUp) begun = begin();
  });
  return {
    [Symbol.dispose]: () => {
      isGivenUp = true;
      begun?.[Symbol.dispose]();
    },
  };
}

export const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

/** The newest that is still good. */
export function takeIdle(
  endpoint: UpstreamEndpoint,
  generation: object | undefined,
): PooledConnection | undefined {
  for (;;) {
    const connection = endpoint.idle.pop();
    if (connection === undefined) return undefined;
    if (connection.generation !== generation) connection.dispose();
    else if (connection.lend()) return connection;
  }
}
