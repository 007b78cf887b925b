// What of a request is kept so that it can be sent again, for as long as it can.
import type { BodyPart } from './h1-request-body.ts';

export class Replay {
  #part: BodyPart | undefined;
  #maxBytes = 0;

  /** @param maxBytes of a body that comes in parts; 0: only what is whole at once is kept. */
  begin(first: BodyPart, maxBytes: number): void {
    this.#part = first;
    this.#maxBytes = maxBytes;
  }

  /** What to send behind the head; `undefined`: it cannot be sent again. */
  get part(): BodyPart | undefined {
    return this.#part;
  }

  /** The first part is on its way. */
  noteSent(): void {
    const part = this.#part;
    if (part === undefined || part.isLast || part.bytes === undefined) return;
    if (part.bytes.length > this.#maxBytes) this.forget();
  }

  /** More of the body is on its way. */
  noteMore({ bytes, tail, isLast }: BodyPart): void {
    const part = this.#part;
    if (part === undefined) return;
    const before = part.bytes?.length ?? 0;
    if (before + (bytes?.length ?? 0) > this.#maxBytes) {
      this.forget();
      return;
    }
    const pieces = [part.bytes, bytes].filter((piece) => piece !== undefined);
    const whole = pieces.length === 0 ? undefined : Buffer.concat(pieces);
    this.#part = { bytes: whole, tail: part.tail + tail, isLast };
  }

  forget(): void {
    this.#part = undefined;
  }
}
