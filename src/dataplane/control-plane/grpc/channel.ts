// A gRPC client of one server: connects with its first call, carries all calls on one connection of HTTP/2, and connects anew when that has gone.
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectPlain, type Socket } from 'node:net';
import tls from 'node:tls';
import { Call, type CallHandlers } from './call.ts';
import { CallFailure, STATUS } from './status.ts';

export interface ChannelOptions {
  readonly address: { readonly host: string; readonly port: number };
  /** Absent: without TLS. */
  readonly tls?: {
    readonly context: tls.SecureContext;
    readonly serverName: string;
    readonly checkServerIdentity: NonNullable<tls.ConnectionOptions['checkServerIdentity']>;
  };
  /** What calls name as their `:authority`; default: host and port. */
  readonly authority?: string;
  readonly userAgent: string;
  /** Of one message that comes. */
  readonly maxMessageBytes: number;
  /** Asks an idle connection with calls whether it is there. Absent: it does not. */
  readonly keepalive?: { readonly everyMs: number; readonly answerWithinMs: number };
}

/** 16 MiB: what Node may hold of one connection; two messages of the control plane. */
const MAX_SESSION_MB = 16;

/** What failed calls are told, when `close()` came before the connection did. */
export const CLOSED_EARLY = 'closed before there was a connection';
const GONE = 'the connection was closed';

interface Connection {
  readonly session: ClientHttp2Session;
  isConnected: boolean;
  /** Takes no further calls. */
  isLeaving: boolean;
  whyGone: string | undefined;
}

export class Channel {
  readonly #options: ChannelOptions;
  #connection: Connection | undefined;
  #isClosed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** The server has answered, by its settings, and the connection is still there. */
  get isConnected(): boolean {
    return this.#connection?.isConnected === true;
  }

  /** A call with any number of messages each way. */
  open(path: string, handlers: CallHandlers): Call {
    if (this.#isClosed) throw new Error(`Cannot call ${path}: the channel is closed`);
    const connection = this.#connect();
    const { maxMessageBytes } = this.#options;
    const stream = this.#request(connection, path);
    const whyGone = (): string | undefined =>
      connection.whyGone ?? (connection.session.destroyed ? GONE : undefined);
    return new Call({ ...handlers, stream, maxMessageBytes, whyGone });
  }

  /** A call with one message each way. @throws CallFailure when it failed, or was not answered in time. */
  async ask(path: string, message: Uint8Array, timeoutMs: number): Promise<Buffer> {
    const answer = Promise.withResolvers<Buffer>();
    let only: Buffer | undefined;
    const call = this.open(path, {
      onMessage: (bytes) => {
        only = bytes;
      },
      onEnd: (failure) => {
        const none = new CallFailure(STATUS.INTERNAL, 'the answer has no message');
        if (failure !== undefined || only === undefined) answer.reject(failure ?? none);
        else answer.resolve(only);
      },
    });
    const late = new CallFailure(STATUS.DEADLINE_EXCEEDED, `no answer within ${timeoutMs} ms`);
    const timer = setTimeout(() => call.giveUp(late), timeoutMs);
    try {
      call.end(message);
      return await answer.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Calls that run may end; where there is no connection yet they fail now. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const connection = this.#connection;
    if (connection === undefined) return;
    if (connection.isConnected) {
      connection.session.close();
      return;
    }
    connection.whyGone ??= CLOSED_EARLY;
    connection.session.destroy();
  }

  #connect(): Connection {
    const known = this.#connection;
    if (known !== undefined && !known.isLeaving) return known;
    const { address, authority = `${address.host}:${address.port}` } = this.#options;
    const socket = this.#openSocket();
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    const session = http2.connect(`${scheme}://${authority}`, {
      createConnection: () => socket,
      settings: { enablePush: false },
      maxSessionMemory: MAX_SESSION_MB,
    });
    const connection = { session, isConnected: false, isLeaving: false, whyGone: undefined };
    this.#watch(connection, socket);
    this.#connection = connection;
    return connection;
  }

  #openSocket(): Socket {
    const { address, tls: secure } = this.#options;
    if (secure === undefined) return connectPlain(address);
    return tls.connect({
      ...address,
      secureContext: secure.context,
      servername: secure.serverName,
      checkServerIdentity: secure.checkServerIdentity,
      ALPNProtocols: ['h2'],
    });
  }

  #watch(connection: Connection, socket: Socket): void {
    const { session } = connection;
    let keepalive: Disposable | undefined;
    const gone = (why: string): void => {
      connection.whyGone ??= why;
      connection.isLeaving = true;
      connection.isConnected = false;
      keepalive?.[Symbol.dispose]();
    };
    socket.on('error', (error) => gone(error.message));
    session.on('error', (error) => gone(error.message));
    socket.on('close', () => gone(GONE));
    session.on('close', () => gone(GONE));
    session.once('remoteSettings', () => {
      connection.isConnected = true;
      keepalive = this.#keepAlive(connection, gone);
    });
    session.on('goaway', () => {
      connection.isLeaving = true;
    });
  }

  #keepAlive(connection: Connection, gone: (why: string) => void): Disposable | undefined {
    const { keepalive } = this.#options;
    if (keepalive === undefined) return undefined;
    const { session } = connection;
    let answer: NodeJS.Timeout | undefined;
    const ask = (): void => {
      answer ??= setTimeout(() => {
        gone('the server does not answer any more');
        session.destroy();
      }, keepalive.answerWithinMs).unref();
      session.ping(() => {
        clearTimeout(answer);
        answer = undefined;
      });
    };
    const timer = setInterval(ask, keepalive.everyMs).unref();
    return {
      [Symbol.dispose]() {
        clearInterval(timer);
        clearTimeout(answer);
      },
    };
  }

  #request({ session }: Connection, path: string): ClientHttp2Stream {
    return session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': this.#options.userAgent,
    });
  }
}
