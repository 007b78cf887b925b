// Serves HTTP/2 at a Unix socket, and says of every stream which process called: the kernel's word, not the caller's.
import { once } from 'node:events';
import { chmod, chown } from 'node:fs/promises';
import http2, {
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import net, { type Server, type Socket } from 'node:net';
import type { AllowedCallers, Owner } from '../credentials/options.ts';
import {
  isAllowedCaller,
  loadPeerCredentials,
  type PeerOf,
  type PeerProcess,
} from '../credentials/peer-credentials.ts';
import { removeOldSocket } from './unix-socket.ts';

/** Where a socket is, and who may do anything there. */
export interface AttestedSocket {
  readonly path: string;
  readonly mode: number;
  readonly owner: Owner | undefined;
  /** At least one list is not empty. */
  readonly allowed: AllowedCallers;
}

/** Who is at the other end; one who may not call is told so, and nothing else. */
export interface Caller {
  readonly isAllowed: boolean;
  /** For the log and the caller itself. */
  readonly text: string;
}

export interface AttestedHttp2Options {
  readonly socket: AttestedSocket;
  /** 1 MB by default: what Node may hold of one connection. */
  readonly maxSessionMb?: number;
  readonly onStream: (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    caller: Caller,
  ) => void;
  /** One more who may not call is sent away without a word. */
  readonly onTooMany: () => void;
}

/** An application has one connection for each of its processes, and a few streams on it. */
const MAX_CONNECTIONS = 128;
const MAX_STREAMS_PER_CONNECTION = 32;
/** Of callers who may not ask: they are told so, and keep nobody out who may. */
const MAX_STRANGERS = 8;
const STRANGER_MS = 10_000;
const MAX_HEADER_BYTES = 8_192;
const MAX_SESSION_MB = 1;
/** Of `sun_path` in `struct sockaddr_un`, with its end. */
const MAX_PATH_BYTES = 107;

export class AttestedHttp2 implements Disposable {
  readonly #options: AttestedHttp2Options;
  readonly #server: Server;
  readonly #peerOf: PeerOf;
  readonly #sessions = new Set<ServerHttp2Session>();
  #strangers = 0;

  /** @throws Error that says what cannot be had: the socket's place, its owner, the kernel's word. */
  static async open(options: AttestedHttp2Options): Promise<AttestedHttp2> {
    const opened = new AttestedHttp2(options, await loadPeerCredentials());
    try {
      await opened.#listen();
    } catch (error) {
      opened[Symbol.dispose]();
      throw error;
    }
    return opened;
  }

  private constructor(options: AttestedHttp2Options, peerOf: PeerOf) {
    this.#options = options;
    this.#peerOf = peerOf;
    this.#server = net.createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  async #listen(): Promise<void> {
    const { path, mode, owner } = this.#options.socket;
    /** A longer one would be cut, and be somebody else's place. */
    if (Buffer.byteLength(path) > MAX_PATH_BYTES)
      throw new Error(`Cannot listen on ${path}: it is longer than ${MAX_PATH_BYTES} bytes`);
    await removeOldSocket(path);
    this.#server.listen({ path });
    await once(this.#server, 'listening');
    await chmod(path, mode);
    if (owner !== undefined) await chown(path, owner.uid, owner.gid);
    /** Later errors (no descriptors left) end one accept, not the listener. */
    this.#server.on('error', () => undefined);
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const peer = this.#peerOf(socket);
    const isAllowed = peer !== undefined && isAllowedCaller(peer, this.#options.socket.allowed);
    if (!isAllowed && !this.#admitStranger(socket)) return;
    const { maxSessionMb = MAX_SESSION_MB, onStream } = this.#options;
    const session = http2.performServerHandshake(socket, {
      maxSessionMemory: maxSessionMb,
      settings: {
        maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION,
        maxHeaderListSize: MAX_HEADER_BYTES,
      },
    });
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    session.on('error', () => session.destroy());
    const caller: Caller = { isAllowed, text: describe(peer) };
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) =>
      onStream(stream, headers, caller),
    );
  }

  #admitStranger(socket: Socket): boolean {
    if (this.#strangers >= MAX_STRANGERS) {
      this.#options.onTooMany();
      socket.destroy();
      return false;
    }
    this.#strangers++;
    const timer = setTimeout(() => socket.destroy(), STRANGER_MS);
    timer.unref();
    socket.once('close', () => {
      clearTimeout(timer);
      this.#strangers--;
    });
    return true;
  }

  /** The socket goes with it. */
  [Symbol.dispose](): void {
    this.#server.close();
    for (const session of this.#sessions) session.destroy();
  }
}

const describe = (peer: PeerProcess | undefined): string =>
  peer === undefined ? 'an unknown process' : `uid ${peer.uid} gid ${peer.gid} pid ${peer.pid}`;
