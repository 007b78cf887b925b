// Serves the small HTTP answers of a sidecar's own ports: how they are written, how long somebody may take, and whom the admin port hears.
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { errorText } from '@weft/model/error-text';
import { type Answer, headersOf, json, text } from '@weft/model/http-answer';
import { isLocalHost } from '@weft/model/local-host';
import { listenFailure, type ListenAddress } from '../serve/socket-server.ts';

export interface Readiness {
  readonly isReady: boolean;
  /** What is still missing, or why it is not ready any more. */
  readonly reasons: readonly string[];
}

/** Slow readers and senders of these small messages are not worth keeping. */
const REQUEST_TIMEOUT_MS = 10_000;

export const readinessAnswer = ({ isReady, reasons }: Readiness): Answer =>
  isReady ? text(200, 'LIVE\n') : text(503, `NOT READY: ${reasons.join('; ')}\n`);

/**
 * What every admin port answers before all else: nobody that a name of somewhere else has led here (DNS rebinding), and
 * a drain to whoever asks for it in so many words.
 * @returns `undefined` for every other request.
 */
export function guardedAnswer(
  request: IncomingMessage,
  path: string,
  drain: () => void,
): Answer | undefined {
  const { host, origin } = request.headers;
  if (!isLocalHost(host)) return json(403, { error: `Host ${host} is not this machine` });
  if (path !== '/drain') return undefined;
  if (request.method !== 'POST') return json(405, { error: 'use POST /drain' });
  if (origin !== undefined) return json(403, { error: 'not from a web page' });
  drain();
  return json(202, { draining: true });
}

/** @returns `undefined` for a request that only asks. */
export const unlessRead = ({ method }: IncomingMessage, path: string): Answer | undefined =>
  method === 'GET' || method === 'HEAD' ? undefined : json(405, { error: `use GET ${path}` });

export interface SmallHttpServer extends AsyncDisposable {
  readonly address: AddressInfo;
  /** Answers on a connection that came by another port. */
  adopt(socket: Socket): void;
}

export interface SmallHttpOptions extends ListenAddress {
  readonly maxConnections: number;
  /** What it throws is told to who asked, as 500. */
  readonly answer: (request: IncomingMessage) => Answer | Promise<Answer>;
}

/**
 * Dispose closes it and its connections.
 * @throws Error naming the address and the cure when it cannot be bound.
 */
export async function openSmallHttp(options: SmallHttpOptions): Promise<SmallHttpServer> {
  const server = http.createServer((request, response) => {
    request.resume();
    void answered(options, request).then((answer) => respond(request, response, answer));
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = options.maxConnections;
  server.on('clientError', (_error, socket) => socket.destroy());
  server.listen(options.port, options.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw listenFailure(options, error);
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('Cannot serve: no port');
  return {
    address,
    adopt: (socket) => void server.emit('connection', socket),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

async function answered({ answer }: SmallHttpOptions, request: IncomingMessage): Promise<Answer> {
  try {
    return await answer(request);
  } catch (error) {
    return json(500, { error: errorText(error) });
  }
}

function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, headersOf(answer));
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}
