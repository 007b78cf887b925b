// The HTTPS server that the API server calls: takes reviews within bounds, has them decided, and answers every one of them.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { keepServerContext, type ServerContextOptions } from '@weft/ca/server-context';
import { errorText } from '@weft/model/error-text';
import { type Clock, systemClock } from '@weft/model/clock';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Logger } from 'pino';
import { listenOn } from '../serve/listen.ts';
import { type AdmissionDecision, readReview, writeReview } from './admission-review.ts';

/** Decides one request of an AdmissionReview. */
export type Review = (request: PlainObject) => AdmissionDecision | Promise<AdmissionDecision>;

export type ReviewOutcome = 'allowed' | 'denied' | 'refused' | 'failed';

export interface WebhookServerOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly authority: ServerContextOptions['authority'];
  /** Names at which the API server dials: `weft-control-plane.weft-system.svc`. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** By path: `/inject`, `/validate`. */
  readonly reviews: ReadonlyMap<string, Review>;
  /**
   * How each request ended: `allowed` or `denied`, `refused` when it was no review to be answered, `failed` when
   * deciding it did. `path` is one of `reviews`, or empty.
   */
  readonly onOutcome?: (path: string, outcome: ReviewOutcome, durationMs: number) => void;
  readonly limits?: Partial<WebhookLimits>;
  readonly clock?: Clock;
  readonly log: Logger;
}

export interface WebhookLimits {
  /** The API server's own bound of an object, and that of its old version. */
  readonly bodyBytes: number;
  /** Of all bodies that are being read. */
  readonly heldBytes: number;
  readonly connections: number;
  /** For a whole request, and for deciding it: below the 10 s that the API server waits. */
  readonly requestMs: number;
  readonly reviewMs: number;
}

const LIMITS: WebhookLimits = {
  bodyBytes: 3 * 1_048_576,
  heldBytes: 32 * 1_048_576,
  connections: 512,
  requestMs: 5_000,
  reviewMs: 4_000,
};
/** Longer than an API server is idle between Pods: a new connection costs a handshake. */
const KEEP_ALIVE_MS = 60_000;
const MAX_HEADER_BYTES = 16_384;

export interface WebhookServer extends AsyncDisposable {
  readonly address: AddressInfo;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly outcome: ReviewOutcome;
}

const refusal = (status: number, reason: string): Answer => ({
  status,
  body: reason,
  outcome: 'refused',
});

class Reviewing {
  readonly #options: WebhookServerOptions;
  readonly #limits: WebhookLimits;
  readonly #clock: Clock;
  #heldBytes = 0;
  /** Connections are given up after what is on them. */
  isEnding = false;

  constructor(options: WebhookServerOptions, limits: WebhookLimits) {
    this.#options = options;
    this.#limits = limits;
    this.#clock = options.clock ?? systemClock;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAtMs = performance.now();
    const target = request.url ?? '';
    const query = target.indexOf('?');
    // The API server adds ?timeout=10s.
    const path = query === -1 ? target : target.slice(0, query);
    const review = this.#options.reviews.get(path);
    const { status, body, outcome } =
      review === undefined
        ? refusal(
            404,
            `no webhook is at this path: use ${[...this.#options.reviews.keys()].join(', ')}`,
          )
        : await this.#take(request, review);
    const known = review === undefined ? '' : path;
    this.#options.onOutcome?.(known, outcome, performance.now() - startedAtMs);
    if (outcome === 'refused') {
      const from = request.socket.remoteAddress;
      this.#options.log.warn({ path: known, status, reason: body, from }, 'no review to answer');
    }
    const type = status === 200 ? 'application/json' : 'text/plain; charset=utf-8';
    // What was not read to its end is not waited for.
    const close = request.complete && !this.isEnding ? {} : { connection: 'close' };
    response.writeHead(status, { 'content-type': type, ...close }).end(body);
  }

  async #take(request: IncomingMessage, review: Review): Promise<Answer> {
    const { method, headers } = request;
    if (method !== 'POST') return refusal(405, 'reviews are asked for by POST');
    const [type = ''] = (headers['content-type'] ?? '').split(';');
    if (type.trim().toLowerCase() !== 'application/json') {
      return refusal(415, 'the body must be application/json');
    }
    if (headers['content-encoding'] !== undefined) {
      return refusal(415, 'the body must not be compressed');
    }
    const body = await this.#read(request);
    if ('status' in body) return body;
    const read = readReview(body.bytes);
    return read.ok ? this.#decide(read, review) : refusal(400, read.reason);
  }

  /** Bytes are given back when the body is whole: deciding holds few, and one after another. */
  async #read(request: IncomingMessage): Promise<{ readonly bytes: Uint8Array } | Answer> {
    const { bodyBytes, heldBytes } = this.#limits;
    const tooLarge = refusal(413, `the body has more than ${bodyBytes} bytes`);
    if (Number(request.headers['content-length'] ?? 0) > bodyBytes) return tooLarge;
    const chunks: Uint8Array[] = [];
    let size = 0;
    try {
      // Destroyed by what is given up here, the request could not be answered any more.
      for await (const chunk of request.iterator({ destroyOnReturn: false })) {
        if (!(chunk instanceof Uint8Array)) return refusal(400, 'the body is no bytes');
        size += chunk.length;
        this.#heldBytes += chunk.length;
        if (size > bodyBytes) return tooLarge;
        if (this.#heldBytes > heldBytes)
          return refusal(503, 'too much is asked at once: try again');
        chunks.push(chunk);
      }
      return { bytes: Buffer.concat(chunks) };
    } catch (error) {
      return refusal(400, `the body did not come whole: ${errorText(error)}`);
    } finally {
      this.#heldBytes -= size;
    }
  }

  async #decide(
    { uid, request }: { readonly uid: string; readonly request: PlainObject },
    review: Review,
  ): Promise<Answer> {
    const { log } = this.#options;
    const { promise: late, reject } = Promise.withResolvers<never>();
    using _timer = this.#clock.setTimeout(
      () => reject(new Error(`Cannot decide: it took over ${this.#limits.reviewMs} ms`)),
      this.#limits.reviewMs,
    );
    try {
      const decision = await Promise.race([review(request), late]);
      const outcome = decision.allowed ? 'allowed' : 'denied';
      return { status: 200, body: writeReview(uid, decision), outcome };
    } catch (error) {
      // Whatever fails here fails closed, also where the webhook's configuration says otherwise.
      log.error({ err: error, uid }, 'review failed');
      const body = writeReview(uid, {
        allowed: false,
        code: 500,
        message: `weft could not decide: ${errorText(error)}`,
        warnings: [],
        auditAnnotations: {},
      });
      return { status: 200, body, outcome: 'failed' };
    }
  }
}

/** Reviews that are being decided are answered: a Pod's creation hangs on each. */
async function end(server: Server, reviewing: Reviewing, options: Ending): Promise<void> {
  reviewing.isEnding = true;
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  using _timer = options.clock.setTimeout(() => server.closeAllConnections(), options.graceMs);
  await closed;
}

interface Ending {
  readonly clock: Clock;
  readonly graceMs: number;
}

/**
 * It serves when this returns. Disposing ends it after what it is asked now.
 * @throws Error with the cure when the address cannot be bound.
 */
export async function openWebhookServer(options: WebhookServerOptions): Promise<WebhookServer> {
  const { address, authority, dnsNames, ipAddresses = [], clock = systemClock, log } = options;
  const limits = { ...LIMITS, ...options.limits };
  await using stack = new AsyncDisposableStack();
  const names = { authority, dnsNames, ipAddresses, isMutual: false, clock, log };
  let server: Server | undefined;
  const context = stack.use(keepServerContext(names, (next) => server?.setSecureContext(next)));
  const reviewing = new Reviewing(options, limits);
  server = createServer(
    {
      ...context.first,
      handshakeTimeout: limits.requestMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: limits.requestMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      // Who goes away while being answered needs no answer.
      response.on('error', () => undefined);
      reviewing.answer(request, response).catch((error: unknown) => {
        log.error({ err: error }, 'answer to a review failed');
        response.destroy();
      });
    },
  );
  stack.adopt(server, (one) => end(one, reviewing, { clock, graceMs: limits.requestMs }));
  server.maxConnections = limits.connections;
  server.on('tlsClientError', (error) => log.debug({ err: error }, 'no TLS with a webhook caller'));
  const bound = await listenOn(server, address);
  const owned = stack.move();
  return { address: bound, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
