// Serves one HTTP/2 connection: judges each request and relays its stream, with trailers, flow control and resets, to an upstream.
import type { Socket } from 'node:net';
import { whenJudged } from '../filters/when-judged.ts';
import { Exchange, type ExchangeHost } from './exchange.ts';
import { H2Connection, type ConnectionOwner } from './h2-connection.ts';
import type { H2Stream, ReceivedFields } from './h2-stream.ts';
import { readHead, type Http2RequestHead } from './header-list.ts';
import { requestFlaw } from './header-rules.ts';
import type { Http2Completion, Http2Hooks } from './http2-contract.ts';

export type * from './http2-contract.ts';

/** 100 ms: a round trip, after which the peer opens no more streams here. */
const GOAWAY_NOTICE_MS = 100;

/** One downstream connection. */
export class Http2Connection implements ConnectionOwner, ExchangeHost {
  readonly refusesUndelivered: boolean;
  readonly #connection: H2Connection;
  readonly #hooks: Http2Hooks;
  #isDraining = false;

  constructor(
    socket: Socket,
    hooks: Http2Hooks,
    options: {
      readonly idleTimeoutMs: number;
      /** Whether the client is a sidecar, which sends elsewhere what is refused. Default false. */
      readonly refusesUndelivered?: boolean;
    },
  ) {
    const { idleTimeoutMs } = options;
    this.#hooks = hooks;
    this.refusesUndelivered = options.refusesUndelivered === true;
    this.#connection = new H2Connection({ socket, role: 'server', owner: this, idleTimeoutMs });
  }

  /** Cuts the requests that are not allowed any more; the connection stays for others. */
  rejudgeStreams(): void {
    for (const { user: exchange } of this.#connection.streams.values()) {
      if (!(exchange instanceof Exchange) || !exchange.isForwarded) continue;
      const { head } = exchange;
      if (head === undefined) continue;
      whenJudged(this.#hooks.isStillAllowed(head), (isAllowed) => {
        if (!isAllowed) exchange.cut();
      });
    }
  }

  /**
   * GOAWAY that refuses nothing yet, so that streams already on their way are still served; then the final one, and
   * closed when the streams in flight are done (RFC 9113 §6.8).
   */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#connection.announceRetirement();
    setTimeout(() => this.#connection.retire(), GOAWAY_NOTICE_MS).unref();
  }

  cut(): void {
    this.#connection.cut();
  }

  onStream(stream: H2Stream, fields: ReceivedFields): void {
    const reading = fields.isTooLarge ? TOO_LARGE : readFlawless(fields);
    const head = reading.ok ? reading.head : undefined;
    const exchange = new Exchange(this, stream, { head, fields });
    if (!reading.ok && reading.status === undefined) exchange.refuse(reading.reasonCode);
    else if (!exchange.isLengthPossible()) exchange.refuse('content-length-mismatch');
    else if (!reading.ok) {
      const { status = 400, reasonCode } = reading;
      const body = status === 431 ? 'headers too large\n' : 'bad request\n';
      exchange.respond({ status, body, reasonCode, headers: [] });
    } else {
      const action = this.#hooks.onRequest(reading.head);
      if (action instanceof Promise) void exchange.actLater(action);
      else exchange.act(action);
    }
  }

  isStillAllowed(head: Http2RequestHead): boolean | Promise<boolean> {
    return this.#hooks.isStillAllowed(head);
  }

  refuseMalformed(stream: H2Stream): void {
    this.#connection.refuseMalformed(stream);
  }

  onComplete(completion: Http2Completion): void {
    this.#hooks.onComplete(completion);
  }

  onRetired(): void {
    this.#isDraining = true;
  }

  onSettings(): void {
    // A server's streams are opened by its peer.
  }

  onRoom(): void {
    // Nobody waits for room here.
  }

  onClosed(): void {
    this.#hooks.onClose();
  }
}

type Reading =
  | { readonly ok: true; readonly head: Http2RequestHead }
  /** Without a status it is malformed, and there is no answer to it (RFC 9113 §8.1.1). */
  | { readonly ok: false; readonly reasonCode: string; readonly status: number | undefined };

const TOO_LARGE: Reading = { ok: false, reasonCode: 'head-too-large', status: 431 };

function readFlawless(fields: ReceivedFields): Reading {
  const flaw = requestFlaw(fields);
  if (flaw !== undefined) return { ok: false, reasonCode: flaw, status: undefined };
  const reading = readHead(fields.raw);
  /** Such a path is malformed too (RFC 9113 §8.3.1). */
  const isMalformed = !reading.ok && reading.reasonCode === 'path-without-slash';
  return isMalformed ? { ...reading, status: undefined } : reading;
}
