// Hashes what clients choose: keyed anew in each process, so that nobody can make texts that fall together.
import { getRandomValues } from 'node:crypto';

/** The largest prime below 2²⁶: products of two residues are whole in a double. */
const PRIME = 67_108_859;

/**
 * Two polynomials over a prime field with secret points: two texts of n characters fall together by one in (p/n)², for
 * whoever does not know the points (Carter and Wegman 1979).
 */
export class KeyHash {
  readonly #points: readonly [number, number];
  /** Of the text hashed last, each below 2²⁶. */
  high = 0;
  low = 0;

  constructor(points: readonly [number, number] = randomPoints()) {
    this.#points = points;
  }

  begin(): void {
    this.high = 1;
    this.low = 1;
  }

  /** Ends a part, so that `ab`, `c` and `a`, `bc` are two keys. Two characters a step: most cost is that of steps. */
  addText(text: string): void {
    const [a, b] = this.#points;
    let { high, low } = this;
    let at = 0;
    for (; at + 1 < text.length; at += 2) {
      const pair = pairOf(text.charCodeAt(at), text.charCodeAt(at + 1));
      if (pair === undefined) break;
      high = reduced(high * a + pair);
      low = reduced(low * b + pair);
    }
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at) + FIRST_SINGLE;
      high = reduced(high * a + code);
      low = reduced(low * b + code);
    }
    this.high = reduced(high * a + 1);
    this.low = reduced(low * b + 1);
  }
}

/** What comes from a header is Latin-1: two of them are 16 bits, told from single ones by standing above all of these. */
const FIRST_SINGLE = 2;
const FIRST_PAIR = 65_536 + FIRST_SINGLE;
const pairOf = (one: number, other: number): number | undefined =>
  one > 0xff || other > 0xff ? undefined : FIRST_PAIR + one * 256 + other;

const INVERSE = 1 / PRIME;

/** The rest by the prime of a whole number below 2⁵³; three times as fast as `%`. */
function reduced(value: number): number {
  const rest = value - Math.floor(value * INVERSE) * PRIME;
  if (rest < 0) return rest + PRIME;
  return rest >= PRIME ? rest - PRIME : rest;
}

function randomPoints(): readonly [number, number] {
  const [a = 0, b = 0] = getRandomValues(new Uint32Array(2));
  return [1_000 + (a % (PRIME - 2_000)), 1_000 + (b % (PRIME - 2_000))];
}
