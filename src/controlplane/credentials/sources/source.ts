// What every source of credentials offers: one place in it is followed, and each change of its values is told.

/** What a source says of a place now. Reasons are for people, and hold no value. */
export type SourceReading =
  | {
      readonly kind: 'values';
      /** Another whenever the values are; says nothing of them. */
      readonly version: string;
      readonly values: ReadonlyMap<string, Uint8Array>;
    }
  /** There is nothing, or nothing that may be read: whoever has it loses it. */
  | { readonly kind: 'gone'; readonly reason: string }
  /** Nobody can tell now: what was read last holds. */
  | { readonly kind: 'unavailable'; readonly reason: string };

export type OnReading = (reading: SourceReading) => void;

export interface CredentialSource extends AsyncDisposable {
  /** For people: `folder /etc/weft/credentials`. */
  readonly description: string;
  /**
   * Tells the first reading and each that differs from the one before, never within this call. Values are held by the
   * source no longer than it is followed.
   */
  follow(place: string, onReading: OnReading): Disposable;
}

/** Bytes of all values of one credential: keys and certificates, not files of data. */
export const MAX_CREDENTIAL_BYTES = 262_144;

/** @returns why it cannot be handed over; `undefined` when it can. */
export function whyTooLarge(values: ReadonlyMap<string, Uint8Array>): string | undefined {
  let bytes = 0;
  for (const [key, value] of values) bytes += key.length + value.byteLength;
  return bytes <= MAX_CREDENTIAL_BYTES
    ? undefined
    : `it has ${bytes} bytes, and at most ${MAX_CREDENTIAL_BYTES} are handed over`;
}

export function haveSameValues(
  a: ReadonlyMap<string, Uint8Array>,
  b: ReadonlyMap<string, Uint8Array>,
): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined || Buffer.compare(value, other) !== 0) return false;
  }
  return true;
}

/**
 * Passes on only what differs. Values that were written again as they were keep their version: nobody need restart for
 * them.
 */
export function onlyChanges(onReading: OnReading): OnReading {
  let last: SourceReading | undefined;
  return (reading) => {
    if (last !== undefined && isSameReading(last, reading)) return;
    last = reading;
    onReading(reading);
  };
}

function isSameReading(a: SourceReading, b: SourceReading): boolean {
  if (a.kind === 'values') return b.kind === 'values' && haveSameValues(a.values, b.values);
  return a.kind === b.kind && a.reason === b.reason;
}
