// Finds the ends of requests in a stream of bytes, bodies of a given length passed over; knows only what the bench's own clients send.

const HEAD_END = '\r\n\r\n';
const LENGTH_FIELD = '\r\ncontent-length: ';

export class RequestReader {
  readonly #ended: (path: string) => void;
  #head = '';
  #path = '';
  #bodyLeft = 0;

  /** @param ended is told the path of each request whose body has come. */
  constructor(ended: (path: string) => void) {
    this.#ended = ended;
  }

  read(part: Buffer): void {
    const rest = this.#passBody(part);
    if (rest === undefined) return;
    this.#head += rest.toString('latin1');
    for (let end = this.#head.indexOf(HEAD_END); end !== -1; end = this.#head.indexOf(HEAD_END)) {
      const head = this.#head.slice(0, end);
      this.#head = this.#head.slice(end + HEAD_END.length);
      const start = head.indexOf(' ') + 1;
      this.#path = head.slice(start, head.indexOf(' ', start));
      const at = head.startsWith('GET') ? -1 : head.toLowerCase().indexOf(LENGTH_FIELD);
      const bytes = at === -1 ? 0 : Number.parseInt(head.slice(at + LENGTH_FIELD.length), 10);
      if (bytes > this.#head.length) {
        this.#bodyLeft = bytes - this.#head.length;
        this.#head = '';
        return;
      }
      this.#head = this.#head.slice(bytes);
      this.#ended(this.#path);
    }
  }

  /** @returns what is behind the body, `undefined` when that has not come to its end. */
  #passBody(part: Buffer): Buffer | undefined {
    if (this.#bodyLeft === 0) return part;
    if (part.length < this.#bodyLeft) {
      this.#bodyLeft -= part.length;
      return undefined;
    }
    const rest = part.subarray(this.#bodyLeft);
    this.#bodyLeft = 0;
    this.#ended(this.#path);
    return rest;
  }
}
