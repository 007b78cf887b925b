// Remembers which certificates may still be in use, so that no root is retired under one.

interface Live {
  readonly generation: number;
  readonly notAfterMs: number;
}

/** 200,000 entries are some 30 MB; beyond, a root is only retired after the longest life of its certificates. */
const MAX_LIVE = 200_000;

export class LiveCertificates {
  /** By serial number; oldest first, because entries are only appended. */
  readonly #bySerial = new Map<string, Live>();
  /** By generation: until when certificates may live that are not in the map. */
  readonly #unknownUntilMs = new Map<number, number>();
  readonly #limit: number;

  constructor(limit: number = MAX_LIVE) {
    this.#limit = limit;
  }

  add(serial: string, live: Live): void {
    for (const [oldest, { generation, notAfterMs }] of this.#bySerial) {
      if (this.#bySerial.size < this.#limit) break;
      this.#bySerial.delete(oldest);
      this.assumeUntil(generation, notAfterMs);
    }
    this.#bySerial.set(serial, live);
  }

  /** Its holder has a newer one. */
  remove(serial: string): void {
    this.#bySerial.delete(serial);
  }

  /** Certificates that were issued by an earlier process may live as long. */
  assumeUntil(generation: number, untilMs: number): void {
    const known = this.#unknownUntilMs.get(generation) ?? 0;
    this.#unknownUntilMs.set(generation, Math.max(known, untilMs));
  }

  /** How many of a generation may be in use; unknown ones count as one. */
  count(generation: number, nowMs: number): number {
    let count = (this.#unknownUntilMs.get(generation) ?? 0) > nowMs ? 1 : 0;
    for (const [serial, live] of this.#bySerial) {
      if (live.notAfterMs <= nowMs) this.#bySerial.delete(serial);
      else if (live.generation === generation) count++;
    }
    return count;
  }

  /** When the last certificate of a generation ends; 0 when there is none. */
  untilMs(generation: number): number {
    let until = this.#unknownUntilMs.get(generation) ?? 0;
    for (const live of this.#bySerial.values()) {
      if (live.generation === generation) until = Math.max(until, live.notAfterMs);
    }
    return until;
  }

  forget(generation: number): void {
    this.#unknownUntilMs.delete(generation);
    for (const [serial, live] of this.#bySerial) {
      if (live.generation === generation) this.#bySerial.delete(serial);
    }
  }
}
