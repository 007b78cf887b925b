// Serves one HTTP/2 connection: judges each request and relays its stream, with trailers, flow control and resets, to an upstream.
import http2, {
  type ClientHttp2Stream,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { grpcHeaders, grpcStatusOf, httpHeaders } from './answer-headers.ts';
import { whenJudged } from '../filters/when-judged.ts';
import {
  editHeaders,
  HEADER_LIST_BYTES_MAX,
  readHead,
  trailersOf,
  type Http2RequestHead,
  type RawHeaders,
} from './header-list.ts';
import {
  SESSION_WINDOW_BYTES,
  STREAM_WINDOW_BYTES,
  type UpstreamSessions,
} from './upstream-sessions.ts';
import {
  CHANGED,
  UNDECIDED,
  type Http2Action,
  type Http2Hooks,
  type Http2Upstream,
} from './http2-contract.ts';
import { RequestReplay } from './request-replay.ts';

export type * from './http2-contract.ts';

/** Limits of one connection; each guards against a published flood (see the tests). */
const SESSION_OPTIONS: http2.ServerSessionOptions = {
  maxDeflateDynamicTableSize: 4_096,
  maxHeaderListPairs: 128,
  maxOutstandingPings: 10,
  maxSettings: 32,
  maxSessionMemory: 32,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  /** CVE-2023-44487: more resets than 1,000 at once or 33 a second end the connection. */
  streamResetBurst: 1_000,
  streamResetRate: 33,
  unknownProtocolTimeout: 5_000,
  settings: {
    maxConcurrentStreams: 256,
    /** Decoded size, cookies included (CVE-2026-47774); `readHead` holds peers to it that acknowledge no settings. */
    maxHeaderListSize: HEADER_LIST_BYTES_MAX,
    initialWindowSize: STREAM_WINDOW_BYTES,
    enableConnectProtocol: false,
  },
};

const MAX_STREAM_ID = 2 ** 31 - 1;
/** 100 ms: a round trip, after which the peer opens no more streams here. */
const GOAWAY_NOTICE_MS = 100;

/** One downstream connection. */
export class Http2Connection {
  readonly #session: ServerHttp2Session;
  readonly #hooks: Http2Hooks;
  readonly #active = new Map<ServerHttp2Stream, Http2RequestHead>();
  readonly #refusesUndelivered: boolean;
  #isDraining = false;

  constructor(
    socket: Duplex,
    hooks: Http2Hooks,
    options: {
      readonly idleTimeoutMs: number;
      /** Whether the client is a sidecar, which sends elsewhere what is refused. Default false. */
      readonly refusesUndelivered?: boolean;
    },
  ) {
    this.#hooks = hooks;
    this.#refusesUndelivered = options.refusesUndelivered === true;
    this.#session = http2.performServerHandshake(socket, SESSION_OPTIONS);
    /** It may be half-open for TCP's sake; a peer that has ended cannot take answers of any length. */
    socket.once('end', () => socket.destroy());
    this.#session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    this.#session.setTimeout(options.idleTimeoutMs, () => {
      if (this.#active.size === 0) this.#session.close();
    });
    this.#session.on('error', () => this.#session.destroy());
    this.#session.on('close', () => hooks.onClose());
    this.#session.on('stream', (stream, _headers, flags, rawHeaders) => {
      this.#serve(stream, flags, rawHeaders);
    });
  }

  /** Cuts the requests that are not allowed any more; the connection stays for others. */
  rejudgeStreams(): void {
    for (const [stream, head] of this.#active) {
      whenJudged(this.#hooks.isStillAllowed(head), (isAllowed) => {
        if (!isAllowed && !stream.destroyed) stream.close(http2.constants.NGHTTP2_CANCEL);
      });
    }
  }

  /**
   * GOAWAY that refuses nothing yet, so that streams already on their way are still served; then the final one, and
   * closed when the streams in flight are done (RFC 9113 §6.8).
   */
  drain(): void {
    const session = this.#session;
    if (this.#isDraining || session.closed || session.destroyed) return;
    this.#isDraining = true;
    session.goaway(http2.constants.NGHTTP2_NO_ERROR, MAX_STREAM_ID);
    setTimeout(() => {
      if (!session.closed && !session.destroyed) session.close();
    }, GOAWAY_NOTICE_MS).unref();
  }

  cut(): void {
    this.#session.destroy();
  }

  #serve(stream: ServerHttp2Stream, flags: number, raw: RawHeaders): void {
    stream.on('error', () => stream.destroy());
    const startedAt = performance.now();
    const reading = readHead(raw);
    const exchange: Exchange = {
      stream,
      head: reading.ok ? reading.head : undefined,
      endStream: (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0,
      status: 0,
      grpcStatus: undefined,
      bytesReceived: 0,
      bytesSent: 0,
      reasonCode: '',
      requestTrailers: undefined,
      responseTrailers: undefined,
    };
    stream.once('close', () => {
      this.#active.delete(stream);
      this.#hooks.onComplete({ ...exchange, durationMs: performance.now() - startedAt });
    });
    if (!reading.ok) {
      respond(exchange, {
        status: reading.status,
        body: reading.status === 431 ? 'headers too large\n' : 'bad request\n',
        reasonCode: reading.reasonCode,
        headers: [],
      });
      return;
    }
    const action = this.#hooks.onRequest(reading.head);
    if (action instanceof Promise) void this.#actLater(exchange, reading.head, action);
    else this.#act(exchange, reading.head, action);
  }

  #act(exchange: Exchange, head: Http2RequestHead, action: Http2Action): void {
    if (action.kind === 'respond') {
      respond(exchange, action);
      return;
    }
    this.#active.set(exchange.stream, head);
    void forward(exchange, editHeaders(head, action.edits), {
      upstream: action.upstream,
      refusesUndelivered: this.#refusesUndelivered,
    });
  }

  /** Until it is decided nothing of the body is read: flow control holds the client back. */
  async #actLater(
    exchange: Exchange,
    head: Http2RequestHead,
    pending: Promise<Http2Action>,
  ): Promise<void> {
    const { stream } = exchange;
    stream.once('trailers', (_trailers, _flags, raw) => {
      exchange.requestTrailers = raw;
    });
    let action = UNDECIDED;
    try {
      action = await pending;
      /** The rules may have changed while the answer was looked for. */
      if (action.kind === 'forward' && !(await this.#hooks.isStillAllowed(head))) action = CHANGED;
    } catch {
      action = UNDECIDED;
    }
    if (stream.destroyed || stream.closed) return;
    this.#act(exchange, head, action);
    if (action.kind === 'respond') stream.resume();
  }
}

/** One request and its answer, as far as they have come. */
interface Exchange {
  readonly stream: ServerHttp2Stream;
  readonly head: Http2RequestHead | undefined;
  readonly endStream: boolean;
  status: number;
  grpcStatus: string | undefined;
  bytesReceived: number;
  bytesSent: number;
  reasonCode: string;
  requestTrailers: RawHeaders | undefined;
  responseTrailers: RawHeaders | undefined;
}

function respond(
  exchange: Exchange,
  answer: {
    readonly status: number;
    readonly body: string;
    readonly reasonCode: string;
    readonly headers: RawHeaders;
  },
): void {
  const { stream } = exchange;
  exchange.reasonCode = answer.reasonCode;
  if (stream.destroyed || stream.headersSent) {
    stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    return;
  }
  const isGrpc =
    exchange.head?.header('content-type')?.[0]?.startsWith('application/grpc') === true;
  if (isGrpc) {
    exchange.status = 200;
    exchange.grpcStatus = grpcStatusOf(answer.status);
    stream.respond(grpcHeaders(exchange.grpcStatus, answer), { endStream: true });
    return;
  }
  exchange.status = answer.status;
  exchange.bytesSent = answer.body.length;
  stream.respond(httpHeaders(answer));
  stream.end(answer.body);
}

async function forward(
  exchange: Exchange,
  headers: string[],
  options: { readonly upstream: Http2Upstream; readonly refusesUndelivered: boolean },
): Promise<void> {
  const { upstream } = options;
  const tried = new Set<UpstreamSessions>();
  const replay = exchange.endStream ? undefined : new RequestReplay(exchange);
  const refusedBy = new Set<UpstreamSessions>();
  let refusals = 0;
  for (let attempt = 0; attempt <= upstream.connectRetries; attempt++) {
    /** Who refused is going away; asked again only when there is nobody else. */
    const others = refusedBy.size > 0 ? upstream.pick(tried.union(refusedBy)) : undefined;
    const sessions = others ?? upstream.pick(tried);
    if (sessions === undefined) break;
    let request: ClientHttp2Stream;
    try {
      request = await sessions.request(headers, { endStream: exchange.endStream });
    } catch {
      tried.add(sessions);
      upstream.report(sessions, false);
      continue;
    }
    if (exchange.stream.destroyed) {
      request.close(http2.constants.NGHTTP2_CANCEL);
      return;
    }
    const report = (isSuccess: boolean): void => upstream.report(sessions, isSuccess);
    const outcome = await relay(exchange, request, { report, replay });
    if (outcome === 'done') return;
    /** Nothing of it was processed (RFC 9113 §8.7): another connection takes it. */
    refusedBy.add(sessions);
    refusals++;
    if (refusals > MAX_REFUSALS) break;
    attempt--;
  }
  const isFailed = tried.size > 0;
  const otherwise = isFailed ? 'upstream-connect-failed' : 'no-healthy-upstream';
  const reasonCode = refusals > 0 ? 'upstream-refused-stream' : otherwise;
  if (options.refusesUndelivered) refuse(exchange, reasonCode);
  else answerUnavailable(exchange, reasonCode);
}

/** Nothing of it was processed (RFC 9113 §8.7): the client may send it elsewhere, whatever its method. */
function refuse(exchange: Exchange, reasonCode: string): void {
  exchange.status = 503;
  exchange.reasonCode = reasonCode;
  exchange.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
}

/** New connections that a request may be moved to when streams are refused. */
const MAX_REFUSALS = 3;

function answerUnavailable(exchange: Exchange, reasonCode: string): void {
  respond(exchange, { status: 503, body: `${reasonCode}\n`, reasonCode, headers: [] });
  /** What is left of the request is read and dropped, so that the stream can end. */
  exchange.stream.resume();
}

/**
 * Passes both directions of one stream until the upstream's end has closed.
 * @returns `refused` when nothing was processed and the whole request can be sent again.
 */
function relay(
  exchange: Exchange,
  upstream: ClientHttp2Stream,
  options: {
    readonly report: (isSuccess: boolean) => void;
    readonly replay: RequestReplay | undefined;
  },
): Promise<'done' | 'refused'> {
  const downstream = exchange.stream;
  const { report, replay } = options;
  const { promise, resolve } = Promise.withResolvers<'done' | 'refused'>();
  /**
   * Trailers end a stream, and Node asks for them on a stream that was cut as well: sent there, they would make
   * half a message look like a whole one.
   */
  upstream.on('wantTrailers', () => {
    if (downstream.readableEnded) upstream.sendTrailers(trailersOf(exchange.requestTrailers));
  });
  replay?.sendTo(upstream);
  upstream.on('headers', (headers) => {
    if (!downstream.destroyed && !downstream.headersSent) downstream.additionalHeaders(headers);
  });
  upstream.on('response', (headers, flags, raw) => {
    report(true);
    replay?.forget();
    exchange.status = headers[':status'] ?? 0;
    const grpcStatus = headers['grpc-status'];
    if (typeof grpcStatus === 'string') exchange.grpcStatus = grpcStatus;
    if (downstream.destroyed) return;
    const endStream = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    downstream.respond([...raw], { endStream, waitForTrailers: !endStream });
    if (!endStream) pump(upstream, downstream, (bytes) => (exchange.bytesSent += bytes));
  });
  upstream.on('trailers', (trailers, _flags, raw) => {
    exchange.responseTrailers = raw;
    const grpcStatus = trailers['grpc-status'];
    if (typeof grpcStatus === 'string') exchange.grpcStatus = grpcStatus;
  });
  downstream.on('wantTrailers', () => {
    const isWhole = upstream.readableEnded && upstream.rstCode === http2.constants.NGHTTP2_NO_ERROR;
    if (isWhole) downstream.sendTrailers(trailersOf(exchange.responseTrailers));
  });
  const cancel = (): void => {
    if (!upstream.destroyed) upstream.close(downstream.rstCode || http2.constants.NGHTTP2_CANCEL);
  };
  downstream.on('close', cancel);
  upstream.on('error', () => upstream.destroy());
  upstream.on('close', () => {
    const isRefused = upstream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM;
    const canRepeat = replay === undefined || replay.isWhole;
    if (isRefused && exchange.status === 0 && canRepeat && !downstream.destroyed) {
      downstream.removeListener('close', cancel);
      resolve('refused');
      return;
    }
    onUpstreamClose(exchange, upstream, report);
    resolve('done');
  });
  return promise;
}

function onUpstreamClose(
  exchange: Exchange,
  upstream: ClientHttp2Stream,
  report: (isSuccess: boolean) => void,
): void {
  const downstream = exchange.stream;
  if (downstream.destroyed || downstream.closed) return;
  if (exchange.status === 0) {
    report(false);
    answerUnavailable(exchange, 'upstream-reset');
  } else if (upstream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) {
    exchange.reasonCode ||= 'upstream-reset';
    downstream.close(upstream.rstCode);
  }
}

/** Data one way with back-pressure; the end is passed on. */
function pump(
  from: ServerHttp2Stream | ClientHttp2Stream,
  to: ServerHttp2Stream | ClientHttp2Stream,
  count: (bytes: number) => void,
): void {
  from.on('data', (chunk: Buffer) => {
    count(chunk.length);
    if (to.destroyed || to.writableEnded) return;
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('end', () => {
    if (!to.destroyed) to.end();
  });
}
