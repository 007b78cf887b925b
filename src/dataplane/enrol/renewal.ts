// When a certificate is renewed: before half of its life has gone, spread so that a fleet does not ask at once.

export interface Lifetime {
  /** When it came to us; the backdated part before does not count. */
  readonly receivedAtMs: number;
  readonly notAfterMs: number;
}

/** Between 40 % and 50 % of the life that is left when it comes. */
const EARLIEST = 0.4;
const LATEST = 0.5;

export function renewAtMs(life: Lifetime, random: () => number): number {
  const length = Math.max(0, life.notAfterMs - life.receivedAtMs);
  return life.receivedAtMs + length * (EARLIEST + (LATEST - EARLIEST) * random());
}
