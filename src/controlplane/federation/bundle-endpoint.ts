// Serves the trust domain's public keys as a SPIFFE bundle document over HTTPS, to whoever asks: to be federated with.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import type { Authority } from '@weft/ca/authority';
import { keepServerContext } from '@weft/ca/server-context';
import type { Clock } from '@weft/model/clock';
import { formatBundleDocument } from '@weft/model/federation/bundle-document';
import { formatHostPort } from '@weft/model/host-port';
import type { Logger } from 'pino';
import { listenOn } from '../serve/listen.ts';
import { keepWebContext, type WebCertificate } from './web-context.ts';

export interface BundleEndpointOptions {
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Files of a certificate that everybody believes (https_web); absent: our own SVID (https_spiffe). */
  readonly web?: WebCertificate;
  /** How often others are to ask. Default {@link REFRESH_HINT_SECONDS}. */
  readonly refreshHintSeconds?: number;
}

export interface BundleEndpoint extends AsyncDisposable {
  readonly address: string;
  readonly profile: 'https_web' | 'https_spiffe';
  /** Requests by the status that they were answered with. */
  readonly answers: ReadonlyMap<number, number>;
  /** What holds up the use of a new root: others have not had the time to hear of it. */
  waitsFor(): readonly string[];
}

interface Parts {
  readonly authority: Authority;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a handshake or a request may take; tests wait for less. Default {@link REQUEST_TIMEOUT_MS}. */
  readonly requestTimeoutMs?: number;
}

/** 5 min, as the SPIFFE federation document has it where nothing is said. */
export const REFRESH_HINT_SECONDS = 300;
/** What is published is looked at again so often, besides changes of roots: keys of tokens grow old by themselves. */
const LOOK_MS = 60_000;
/** After a store that did not take it. */
const RETRY_MS = 5_000;
/** Longer than any healthy handshake or request without a body. */
const REQUEST_TIMEOUT_MS = 5_000;
/** How late a connection may be ended that says nothing. */
const CHECK_MS = 1_000;
const MAX_HEADER_BYTES = 8_192;
/** Others ask once in minutes. */
const MAX_CONNECTIONS = 256;
const MAX_REQUESTS = 16;
/** Who has just missed a document hears of the next one after one hint; twice that is a fetch that failed once. */
const HINTS_TO_WAIT = 2;

/** @throws Error with the cure when the address cannot be bound, or the certificate cannot be read. */
export async function openBundleEndpoint(
  options: BundleEndpointOptions,
  parts: Parts,
): Promise<BundleEndpoint> {
  await using stack = new AsyncDisposableStack();
  const { authority, clock, log, requestTimeoutMs = REQUEST_TIMEOUT_MS } = parts;
  const { listen, web, refreshHintSeconds = REFRESH_HINT_SECONDS } = options;
  let server: https.Server | undefined;
  const replace = (context: SecureContextOptions): void => server?.setSecureContext(context);
  const context =
    web === undefined
      ? stack.use(keepServerContext({ ...parts, isMutual: false }, replace))
      : stack.use(await keepWebContext({ files: web, clock, log }, replace));
  const published = stack.use(new PublishedDocument({ authority, clock, log, refreshHintSeconds }));
  await published.refresh();
  const answers = new Map<number, number>();
  server = stack.adopt(
    createServer({ ...context.first, ...limitsOf(requestTimeoutMs) }, published, answers),
    close,
  );
  const bound = await listenOn(server, listen);
  const address = formatHostPort({ host: listen.host, port: bound.port });
  log.info({ address, profile: web ? 'https_web' : 'https_spiffe' }, 'bundle endpoint is open');
  const owned = stack.move();
  return {
    address,
    profile: web === undefined ? 'https_spiffe' : 'https_web',
    answers,
    waitsFor: () => published.waitsFor(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Held {
  readonly text: string;
  readonly etag: string;
}

interface DocumentOptions extends Pick<Parts, 'authority' | 'clock' | 'log'> {
  readonly refreshHintSeconds: number;
}

/** Made when keys change, and never because somebody asks. */
class PublishedDocument implements Disposable {
  readonly #options: DocumentOptions;
  readonly #subscription: Disposable;
  #timer: Disposable | undefined;
  #isDisposed = false;
  #held: Held | undefined;

  constructor(options: DocumentOptions) {
    this.#options = options;
    this.#subscription = options.authority.onBundleChange(() => void this.refresh());
  }

  get held(): Held | undefined {
    return this.#held;
  }

  /** Never rejects; what was held stays until it is true no more. */
  async refresh(): Promise<void> {
    const { authority, clock, log, refreshHintSeconds } = this.#options;
    let delayMs = LOOK_MS;
    try {
      const published = await authority.publication.publish();
      if (published === undefined) throw new Error('its number cannot be kept');
      const { sequence, rootsDer, tokenKeys } = published;
      const text = formatBundleDocument({
        sequence,
        refreshHintSeconds,
        x509Authorities: rootsDer,
        jwtAuthorities: tokenKeys,
      });
      this.#held = { text, etag: `"${sequence}-${refreshHintSeconds}"` };
    } catch (error) {
      delayMs = RETRY_MS;
      if (!this.#isDisposed) log.error({ err: error }, 'trust bundle not published to others');
    }
    this.#timer?.[Symbol.dispose]();
    if (!this.#isDisposed) this.#timer = clock.setTimeout(() => void this.refresh(), delayMs);
  }

  waitsFor(): readonly string[] {
    const { authority, clock, refreshHintSeconds } = this.#options;
    const published = authority.publication.current();
    if (published === undefined) return ['the next root is not published to federated meshes yet'];
    const endMs = published.publishedAtMs + HINTS_TO_WAIT * refreshHintSeconds * 1_000;
    if (clock.now() >= endMs) return [];
    return [`federated meshes have until ${new Date(endMs).toISOString()} to fetch the next root`];
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#subscription[Symbol.dispose]();
    this.#timer?.[Symbol.dispose]();
  }
}

const limitsOf = (timeoutMs: number): https.ServerOptions => ({
  handshakeTimeout: timeoutMs,
  headersTimeout: timeoutMs,
  requestTimeout: timeoutMs,
  /** By itself Node looks for what has taken too long every half minute. */
  connectionsCheckingInterval: Math.min(timeoutMs, CHECK_MS),
  keepAliveTimeout: timeoutMs,
});

function createServer(
  context: https.ServerOptions,
  published: PublishedDocument,
  answers: Map<number, number>,
): https.Server {
  const server = https.createServer(
    {
      ...context,
      maxHeaderSize: MAX_HEADER_BYTES,
      ALPNProtocols: ['http/1.1'],
    },
    (request, response) => {
      answer(request, response, published.held);
      answers.set(response.statusCode, (answers.get(response.statusCode) ?? 0) + 1);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.maxRequestsPerSocket = MAX_REQUESTS;
  server.on('clientError', (_error, socket) => socket.destroy());
  return server;
}

function answer(request: IncomingMessage, response: ServerResponse, held: Held | undefined): void {
  const { method, url, headers } = request;
  const hasBody =
    headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined;
  const refuse = (status: number, more: Record<string, string> = {}): void => {
    response.writeHead(status, { ...more, 'content-length': 0, connection: 'close' }).end();
  };
  if (method !== 'GET') return refuse(405, { allow: 'GET' });
  if (hasBody) return refuse(413);
  if (url !== '/') return refuse(404);
  if (held === undefined) return refuse(503, { 'retry-after': '5' });
  /** Caches may keep it, and ask each time whether it still holds: a key that was taken back is taken back at once. */
  const caching = { 'cache-control': 'no-cache', etag: held.etag };
  if (isKnown(headers['if-none-match'], held.etag)) {
    response.writeHead(304, caching).end();
    return;
  }
  response
    .writeHead(200, {
      ...caching,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(held.text),
      'x-content-type-options': 'nosniff',
    })
    .end(held.text);
}

/** RFC 9110 §13.1.2: compared weakly. */
function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const named = ifNoneMatch.split(',').map((part) => part.trim());
  return named.some((part) => part === '*' || part === etag || part === `W/${etag}`);
}

async function close(server: https.Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
