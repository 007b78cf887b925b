// Hands credentials to the application over a Unix socket or loopback: to attested callers alone, as they are now, or once they have changed.
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { errorText } from '@weft/model/error-text';
import { formatHostPort } from '@weft/model/host-port';
import { headersOf } from '@weft/model/http-answer';
import { isLocalHost } from '@weft/model/local-host';
import type { Logger } from 'pino';
import { listenFailure } from '../serve/socket-server.ts';
import { removeOldSocket } from '../serve/unix-socket.ts';
import type { CredentialMetrics } from './credential-metrics.ts';
import type { CredentialStore } from './credential-store.ts';
import type { HandOvers } from './hand-overs.ts';
import type { UrlDelivery } from './options.ts';
import { isAllowedCaller, loadPeerCredentials, type PeerOf } from './peer-credentials.ts';
import { type StartUpToken, writeStartUpToken } from './start-up-token.ts';
import {
  answerOne,
  listOf,
  type Question,
  readQuestion,
  refusal,
  type UrlAnswer,
} from './url-requests.ts';

export interface UrlServerOptions {
  readonly url: UrlDelivery;
  readonly store: CredentialStore;
  readonly handOvers: HandOvers;
  readonly metrics: CredentialMetrics;
  readonly log: Logger;
}

/** An application has a few connections and waits on a few credentials. */
const MAX_CONNECTIONS = 128;
const MAX_WAITING = 64;
/** Of callers who may not ask: they are told so, and keep nobody out who may. */
const MAX_STRANGERS = 8;
const MAX_HEADER_BYTES = 8_192;
const REQUEST_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 60_000;

interface Attested {
  /** For the audit. */
  readonly receiver: string;
}

export class UrlServer implements AsyncDisposable {
  readonly #options: UrlServerOptions;
  readonly #server: Server;
  readonly #peerOf: PeerOf | undefined;
  readonly #token: StartUpToken | undefined;
  readonly #stopped = new AbortController();
  #waiting = 0;
  #strangers = 0;

  /** @throws Error that names what cannot be had: the address, the kernel's word, the token's file. */
  static async open(options: UrlServerOptions): Promise<UrlServer> {
    const { listen, tokenFile, isForced } = options.url;
    if (listen.kind === 'tcp' && tokenFile === undefined) {
      throw new Error(
        'Cannot serve credentials at a port: nobody says who calls; give a token file',
      );
    }
    const peerOf = listen.kind === 'unix' ? await loadPeerCredentials() : undefined;
    const token = tokenFile && (await writeStartUpToken(tokenFile, { isForced }));
    const server = new UrlServer(options, peerOf, token);
    try {
      await server.#listen();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  private constructor(
    options: UrlServerOptions,
    peerOf: PeerOf | undefined,
    token: StartUpToken | undefined,
  ) {
    this.#options = options;
    this.#peerOf = peerOf;
    this.#token = token;
    this.#server = http.createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: IDLE_TIMEOUT_MS,
      },
      (request, response) => {
        /** Nothing that a caller does may end the sidecar. */
        this.#serve(request, response).catch((error: unknown) => {
          options.log.error(
            { reason: errorText(error) },
            'cannot answer a request for credentials',
          );
          response.destroy();
        });
      },
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket) => {
      socket.on('error', () => socket.destroy());
      if (peerOf !== undefined) this.#boundStrangers(socket);
    });
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  #boundStrangers(socket: Socket): void {
    const peer = this.#peerOf?.(socket);
    if (peer !== undefined && isAllowedCaller(peer, this.#options.url.allowed)) return;
    if (this.#strangers >= MAX_STRANGERS) {
      this.#options.metrics.refused('not-attested');
      socket.destroy();
      return;
    }
    this.#strangers++;
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    socket.once('close', () => this.#strangers--);
  }

  async #listen(): Promise<void> {
    const { listen } = this.#options.url;
    if (listen.kind === 'tcp') {
      try {
        this.#server.listen({ host: listen.host, port: listen.port });
        await once(this.#server, 'listening');
      } catch (error) {
        throw listenFailure(listen, error);
      }
    } else {
      await removeOldSocket(listen.path);
      this.#server.listen({ path: listen.path });
      await once(this.#server, 'listening');
      await chmod(listen.path, listen.mode);
    }
    /** Later errors (no descriptors left) end one accept, not the listener. */
    this.#server.on('error', () => undefined);
  }

  /** `unix:PATH` or `http://HOST:PORT`. */
  get address(): string {
    const address = this.#server.address();
    if (address === null) return '';
    return typeof address === 'string'
      ? `unix:${address}`
      : `http://${formatHostPort({ host: address.address, port: address.port })}`;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => response.destroy());
    request.resume();
    const { metrics, handOvers, log } = this.#options;
    const attested = this.#attest(request);
    const answer = 'status' in attested ? attested : await this.#answer(request);
    if (answer.reason !== undefined) {
      metrics.refused(answer.reason);
      log.warn({ reasonCode: answer.reason, status: answer.status }, 'credential refused');
    }
    if (response.destroyed) return;
    if (answer.credential !== undefined && 'receiver' in attested) {
      handOvers.note(answer.credential, 'url', attested.receiver);
    }
    response.writeHead(answer.status, {
      ...headersOf(answer),
      ...(answer.version !== undefined && { 'weft-credential-version': answer.version }),
      ...(answer.reason === 'not-attested' && { connection: 'close' }),
      ...(answer.status === 401 && { 'www-authenticate': 'Bearer' }),
    });
    response.end(answer.body);
  }

  /** Who calls is known before what is asked is read; nobody else learns even which names there are. */
  #attest(request: IncomingMessage): Attested | UrlAnswer {
    const { url } = this.#options;
    const { host, origin, authorization } = request.headers;
    if (origin !== undefined || (url.listen.kind === 'tcp' && !isLocalHost(host))) {
      return refusal(403, 'not-attested', 'not from a web page');
    }
    let receiver = `port ${request.socket.remotePort ?? 0}`;
    if (url.listen.kind === 'unix') {
      const peer = this.#peerOf?.(request.socket);
      if (peer === undefined || !isAllowedCaller(peer, url.allowed)) {
        const who = peer === undefined ? 'an unknown process' : `uid ${peer.uid} gid ${peer.gid}`;
        return refusal(403, 'not-attested', `${who} may not read credentials here`);
      }
      receiver = `uid ${peer.uid} gid ${peer.gid} pid ${peer.pid}`;
    }
    if (this.#token !== undefined && !this.#token.isShown(authorization)) {
      return refusal(401, 'not-attested', 'show the start-up token: Authorization: Bearer TOKEN');
    }
    return { receiver };
  }

  async #answer(request: IncomingMessage): Promise<UrlAnswer> {
    const { store } = this.#options;
    const question = readQuestion(request.method ?? '', request.url ?? '');
    if ('status' in question) return question;
    if (question.kind === 'list') return listOf(store);
    const first = answerOne(store, question);
    if (question.after === undefined || first.version !== question.after) return first;
    if (question.waitMs === 0) return unchanged(question.after);
    if (this.#waiting >= MAX_WAITING) return refusal(503, 'too-many', 'too many wait already');
    this.#waiting++;
    try {
      return await this.#later(request, question, question.after);
    } finally {
      this.#waiting--;
    }
  }

  /** Answers at the first change of the credential, its going included; 304 when there was none in time. */
  #later(
    request: IncomingMessage,
    question: Extract<Question, { kind: 'one' }>,
    after: string,
  ): Promise<UrlAnswer> {
    const { store } = this.#options;
    return new Promise((resolve) => {
      const end = (answer: UrlAnswer): void => {
        subscription[Symbol.dispose]();
        clearTimeout(timer);
        request.socket.off('close', onGone);
        this.#stopped.signal.removeEventListener('abort', onStopped);
        resolve(answer);
      };
      const onGone = (): void => end(unchanged(after));
      const onStopped = (): void => end(refusal(503, 'too-many', 'the sidecar ends'));
      const subscription = store.onChange(({ changed, removed }) => {
        if (!changed.has(question.name) && !removed.has(question.name)) return;
        const answer = answerOne(store, question);
        if (answer.version !== after) end(answer);
      });
      const timer = setTimeout(onGone, question.waitMs);
      timer.unref();
      request.socket.once('close', onGone);
      this.#stopped.signal.addEventListener('abort', onStopped, { once: true });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    try {
      await this.#token?.[Symbol.asyncDispose]();
    } catch (error) {
      /** Its folder may be another user's by now. The token is good for nothing any more. */
      this.#options.log.warn({ reason: errorText(error) }, 'cannot remove the start-up token');
    }
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

const unchanged = (version: string): UrlAnswer => ({
  status: 304,
  type: 'application/json; charset=utf-8',
  body: '',
  version,
});
