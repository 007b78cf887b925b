// Asks one question over HTTP/2 on a connection of a cluster, which many questions and requests share.
import { ERROR } from '../http2/frames.ts';
import type { H2Connection } from '../http2/h2-connection.ts';
import type { H2Stream, ReceivedFields, StreamUser } from '../http2/h2-stream.ts';
import { responseFlaw, trailersFlaw } from '../http2/header-rules.ts';
import type { Http2Upstream } from '../http2/http2-contract.ts';
import type { ConnectionWaiter, UpstreamSessions } from '../http2/upstream-sessions.ts';
import { failed, MAX_REPLY_BYTES, type Asked } from './reply.ts';

export interface Http2Question {
  /** Flat, pseudo-headers first. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
}

/** Never rejects. What is not answered when the signal aborts has failed. */
export async function askOverHttp2(
  upstream: Http2Upstream,
  question: Http2Question,
  signal: AbortSignal,
): Promise<Asked> {
  const tried = new Set<UpstreamSessions>();
  for (let attempt = 0; attempt <= upstream.connectRetries; attempt++) {
    const sessions = upstream.pick({ tried, mayRepeat: false, hash: undefined });
    if (sessions === undefined) break;
    tried.add(sessions);
    const conversation = await begin(sessions, question, signal);
    if (signal.aborted) {
      conversation?.cancel();
      return failed('authorizer-timeout');
    }
    if (conversation === undefined) {
      upstream.report(sessions, 0);
      continue;
    }
    const asked = await conversation.run(signal);
    upstream.report(sessions, asked.ok ? asked.reply.status : 0);
    return asked;
  }
  return failed(tried.size === 0 ? 'no-healthy-upstream' : 'upstream-connect-failed');
}

/** @returns `undefined` when no connection could be made: nothing was sent then. */
function begin(
  sessions: UpstreamSessions,
  question: Http2Question,
  signal: AbortSignal,
): Promise<Conversation | undefined> {
  return new Promise((resolve) => {
    const settle = (conversation: Conversation | undefined): void => {
      signal.removeEventListener('abort', giveUp);
      resolve(conversation);
    };
    const waiter: ConnectionWaiter = {
      onConnection: (connection) => settle(new Conversation(connection, question)),
      onNoConnection: () => settle(undefined),
    };
    const giveUp = (): void => {
      sessions.cancel(waiter);
      settle(undefined);
    };
    signal.addEventListener('abort', giveUp, { once: true });
    sessions.take(waiter);
  });
}

type Pairs = readonly (readonly [string, string])[];

/** One stream, from the question to the end of the reply. */
class Conversation implements StreamUser {
  readonly #stream: H2Stream;
  readonly #settled = Promise.withResolvers<Asked>();
  readonly #parts: Buffer[] = [];
  #size = 0;
  #status = 0;
  #headers: Pairs = [];
  #trailers: Pairs = [];

  constructor(connection: H2Connection, { headers, body }: Http2Question) {
    const fields = { raw: headers, neverIndexed: undefined };
    this.#stream = connection.open(this, fields, body === undefined);
    if (body !== undefined) this.#stream.sendData(Buffer.from(body), true);
  }

  async run(signal: AbortSignal): Promise<Asked> {
    const onAbort = (): void => this.#settled.resolve(failed('authorizer-timeout'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const asked = await this.#settled.promise;
    signal.removeEventListener('abort', onAbort);
    if (!asked.ok) this.cancel();
    return asked;
  }

  cancel(): void {
    this.#stream.reset(ERROR.cancel);
  }

  #fail(): void {
    this.#settled.resolve(failed('authorizer-answer-bad'));
  }

  onHead(_stream: H2Stream, fields: ReceivedFields): void {
    const isTrailers = this.#status !== 0;
    const flaw = isTrailers ? trailersFlaw(fields) : responseFlaw(fields);
    if (flaw !== undefined || fields.isTooLarge) this.#fail();
    else if (isTrailers) this.#trailers = pairsOf(fields.raw);
    else if (Number(fields.raw[1]) >= 200) {
      this.#status = Number(fields.raw[1]);
      this.#headers = pairsOf(fields.raw);
    }
  }

  onData(stream: H2Stream, slice: Buffer): void {
    stream.credit(slice.length);
    this.#size += slice.length;
    if (this.#size > MAX_REPLY_BYTES) this.#fail();
    else this.#parts.push(Buffer.from(slice));
  }

  onSent(): void {
    // Nobody waits for the question's bytes.
  }

  onClose(stream: H2Stream): void {
    const isWhole = this.#status !== 0 && stream.isRemoteEnded;
    const body = Buffer.concat(this.#parts);
    const reply = { status: this.#status, headers: this.#headers, body, trailers: this.#trailers };
    this.#settled.resolve(isWhole ? { ok: true, reply } : failed('authorizer-reset'));
  }
}

/** Without pseudo-headers. */
function pairsOf(raw: readonly string[]): Pairs {
  const pairs: (readonly [string, string])[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? '';
    if (!name.startsWith(':')) pairs.push([name, raw[at + 1] ?? '']);
  }
  return pairs;
}
