// Finds the end of one answer in a stream of bytes; knows only what the bench's own application sends.

const HEAD_END = '\r\n\r\n';
const LENGTH_FIELD = 'content-length: ';

export class AnswerReader {
  #head = '';
  #bodyLeft = -1;
  /** Of the last answer that was read to its end. */
  status = 0;

  /** @returns whether the answer ends with these bytes. */
  read(part: Buffer): boolean {
    if (this.#bodyLeft >= 0) return this.#take(part.length);
    this.#head += part.toString('latin1');
    const end = this.#head.indexOf(HEAD_END);
    if (end === -1) return false;
    const head = this.#head.slice(0, end + HEAD_END.length).toLowerCase();
    const rest = this.#head.length - head.length;
    this.#head = '';
    this.status = Number(head.slice(9, 12));
    const at = head.indexOf(LENGTH_FIELD);
    if (at === -1) throw new Error(`Cannot read an answer without a length: ${head}`);
    this.#bodyLeft = Number.parseInt(head.slice(at + LENGTH_FIELD.length), 10);
    return this.#take(rest);
  }

  #take(bytes: number): boolean {
    this.#bodyLeft -= bytes;
    if (this.#bodyLeft < 0) throw new Error('Cannot read an answer: more came than was asked for');
    if (this.#bodyLeft > 0) return false;
    this.#bodyLeft = -1;
    return true;
  }
}
