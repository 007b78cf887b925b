// Asks one question over HTTP/1 on a connection of a cluster, and gives the connection back when the answer is whole.
import type { Http1Upstream, UpstreamConnection } from '../http/h1-contract.ts';
import { Body } from '../http/h1-body.ts';
import { DEFAULT_HEAD_LIMITS } from '../http/h1-head.ts';
import { Http1ResponseHead } from '../http/h1-response.ts';
import { failed, MAX_REPLY_BYTES, type Asked } from './reply.ts';

export interface Http1Question {
  /** The whole head, with the empty line; there is no body. */
  readonly text: string;
  readonly isHead: boolean;
}

/** Never rejects. What is not answered when the signal aborts has failed. */
export function askOverHttp1(
  upstream: Http1Upstream,
  question: Http1Question,
  signal: AbortSignal,
): Promise<Asked> {
  return new Promise((resolve) => {
    new Question(upstream, question, signal, resolve).begin();
  });
}

class Question {
  readonly #upstream: Http1Upstream;
  readonly #question: Http1Question;
  readonly #signal: AbortSignal;
  readonly #resolve: (asked: Asked) => void;
  readonly #tried = new Set<string>();
  readonly #head = new Http1ResponseHead();
  readonly #body = new Body();
  readonly #parts: Buffer[] = [];
  #acquisition: Disposable | undefined;
  #connection: UpstreamConnection | undefined;
  #received: Buffer = Buffer.alloc(0);
  #hasHead = false;
  #size = 0;
  #isStaleRetried = false;
  #isDone = false;

  constructor(
    upstream: Http1Upstream,
    question: Http1Question,
    signal: AbortSignal,
    resolve: (asked: Asked) => void,
  ) {
    this.#upstream = upstream;
    this.#question = question;
    this.#signal = signal;
    this.#resolve = resolve;
  }

  begin(): void {
    this.#signal.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal.aborted) this.#onAbort();
    else this.#acquire();
  }

  readonly #onAbort = (): void => this.#fail('authorizer-timeout');

  #acquire(): void {
    const want = {
      tried: this.#tried,
      mustBeFresh: this.#isStaleRetried,
      mayRepeat: false,
      hash: undefined,
    };
    const acquisition = this.#upstream.acquire(want, {
      onConnection: (connection) => this.#onConnection(connection),
      onFailure: (reasonCode, address) => this.#onNoConnection(reasonCode, address),
    });
    if (this.#connection === undefined && !this.#isDone) this.#acquisition = acquisition;
  }

  #onNoConnection(reasonCode: string, address: string | undefined): void {
    this.#acquisition = undefined;
    const canRetry = address !== undefined && !this.#tried.has(address);
    if (!canRetry || this.#tried.size >= this.#upstream.connectRetries) {
      this.#fail(reasonCode);
      return;
    }
    this.#tried.add(address);
    this.#acquire();
  }

  #onConnection(connection: UpstreamConnection): void {
    this.#acquisition = undefined;
    if (this.#isDone) {
      connection.discard();
      return;
    }
    this.#connection = connection;
    const { socket } = connection;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    socket.write(this.#question.text, 'latin1');
    socket.resume();
    if (socket.destroyed) this.#onEnd();
  }

  readonly #onData = (bytes: Buffer): void => {
    if (this.#hasHead) {
      this.#takeBody(bytes, 0);
      return;
    }
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    this.#readHead();
  };

  #readHead(): void {
    for (;;) {
      const { isHead } = this.#question;
      const end = this.#head.read(this.#received, 0, 0, { limits: DEFAULT_HEAD_LIMITS, isHead });
      if (end === 0) return;
      if (end === -1) {
        this.#fail('authorizer-answer-bad');
        return;
      }
      if (this.#head.status >= 200) {
        this.#hasHead = true;
        this.#body.begin(this.#head.facts.framing, this.#head.facts.contentLength);
        this.#body.unwrapChunks();
        this.#takeBody(this.#received, end);
        return;
      }
      this.#received = this.#received.subarray(end);
    }
  }

  #takeBody(bytes: Buffer, start: number): void {
    const body = this.#body;
    const end = body.isDone ? start : body.consume(bytes, start);
    const { ranges } = body;
    if (ranges === undefined) this.#keep(bytes.subarray(start, end));
    else {
      for (let at = 0; at + 1 < ranges.length; at += 2) {
        this.#keep(bytes.subarray(ranges[at], ranges[at + 1]));
      }
      ranges.length = 0;
    }
    if (body.reasonCode !== '' || this.#size > MAX_REPLY_BYTES) this.#fail('authorizer-answer-bad');
    else if (body.isDone) this.#finish(end === bytes.length && this.#head.isKeepAlive);
  }

  #keep(part: Buffer): void {
    this.#size += part.length;
    if (this.#size <= MAX_REPLY_BYTES) this.#parts.push(part);
  }

  readonly #onEnd = (): void => {
    if (this.#isDone) return;
    if (this.#hasHead && this.#body.isUntilClose) {
      this.#finish(false);
      return;
    }
    const connection = this.#connection;
    const isStale = connection?.isReused === true && this.#received.length === 0;
    if (!isStale || this.#isStaleRetried) {
      this.#fail('authorizer-reset');
      return;
    }
    /** Its server had closed it meanwhile; the question was not heard. */
    this.#letGo(connection)?.discard();
    this.#isStaleRetried = true;
    this.#acquire();
  };

  #letGo(connection: UpstreamConnection | undefined): UpstreamConnection | undefined {
    if (connection === undefined) return undefined;
    const { socket } = connection;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onEnd);
    this.#connection = undefined;
    return connection;
  }

  #finish(canReuse: boolean): void {
    const { block, status } = this.#head;
    const headers: (readonly [string, string])[] = [];
    for (let index = 0; index < block.count; index++) {
      headers.push([block.lowerName(index), block.value(index)]);
    }
    const connection = this.#letGo(this.#connection);
    connection?.report(status);
    if (canReuse) connection?.release();
    else connection?.discard();
    const body = Buffer.concat(this.#parts);
    this.#settle({ ok: true, reply: { status, headers, body, trailers: [] } });
  }

  #fail(reasonCode: string): void {
    const connection = this.#letGo(this.#connection);
    connection?.report(0);
    connection?.discard();
    this.#settle(failed(reasonCode));
  }

  #settle(asked: Asked): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#acquisition?.[Symbol.dispose]();
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#resolve(asked);
  }
}
