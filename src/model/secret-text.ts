// A text that nobody may see by accident: it shows itself to whoever asks for it by name, and to no log, dump or error.
import { createHash, timingSafeEqual } from 'node:crypto';

/** By which Node's own formatting asks an object what to show. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');
const HIDDEN = '[hidden]';

/** Equal digests: equal texts; so that values can be compared that hold it. */
export class SecretText {
  readonly digest: string;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    this.digest = createHash('sha256').update(text).digest('hex');
  }

  /** For those that need it, at the place where they need it. */
  reveal(): string {
    return this.#text;
  }

  equals(other: SecretText): boolean {
    return timingSafeEqual(Buffer.from(this.digest), Buffer.from(other.digest));
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [INSPECT](): string {
    return HIDDEN;
  }
}
