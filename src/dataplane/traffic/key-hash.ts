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

  /** Ends a part, so that `ab`, `c` and `a`, `bc` are two keys. */
  addText(text: string): void {
    const [a, b] = this.#points;
    let { high, low } = this;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at) + 2;
      high = (high * a + code) % PRIME;
      low = (low * b + code) % PRIME;
    }
    this.high = (high * a + 1) % PRIME;
    this.low = (low * b + 1) % PRIME;
  }
}

function randomPoints(): readonly [number, number] {
  const [a = 0, b = 0] = getRandomValues(new Uint32Array(2));
  return [1_000 + (a % (PRIME - 2_000)), 1_000 + (b % (PRIME - 2_000))];
}
