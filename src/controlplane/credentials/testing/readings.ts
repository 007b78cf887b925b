// Follows a place of a source in tests: its readings one after the other, each waited for within a bound.
import type { CredentialSource, SourceReading } from '../sources/source.ts';

export interface SeenReading {
  readonly kind: SourceReading['kind'];
  readonly version?: string;
  readonly texts?: Readonly<Record<string, string>>;
  readonly reason?: string;
}

export interface Readings extends Disposable {
  /** The next one that was not taken yet. */
  next(): Promise<SeenReading>;
  /** Those that were told and not taken. */
  readonly waiting: number;
}

const WITHIN_MS = 10_000;

export function readingsOf(source: CredentialSource, place: string): Readings {
  const queue: SeenReading[] = [];
  let wake: (() => void) | undefined;
  const following = source.follow(place, (reading) => {
    queue.push(seen(reading));
    wake?.();
  });
  return {
    async next() {
      const found = queue.shift();
      if (found !== undefined) return found;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      wake = resolve;
      const timer = setTimeout(
        () => reject(new Error(`nothing was told of ${place} in ${WITHIN_MS} ms`)),
        WITHIN_MS,
      );
      await promise.finally(() => clearTimeout(timer));
      wake = undefined;
      const told = queue.shift();
      if (told === undefined) throw new Error(`nothing was told of ${place}`);
      return told;
    },
    get waiting() {
      return queue.length;
    },
    [Symbol.dispose]: () => following[Symbol.dispose](),
  };
}

function seen(reading: SourceReading): SeenReading {
  if (reading.kind !== 'values') return reading;
  const { kind, version, values } = reading;
  const texts = Object.fromEntries(
    [...values].map(([key, value]) => [key, Buffer.from(value).toString('utf8')]),
  );
  return { kind, version, texts };
}
