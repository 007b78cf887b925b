// Serves the Workload API at a Unix socket: the kernel says who calls, and only those who may are told anything.
import { once } from 'node:events';
import { chmod, chown } from 'node:fs/promises';
import http2, {
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import net, { type Server, type Socket } from 'node:net';
import { errorText } from '@weft/model/error-text';
import type { Logger } from 'pino';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import {
  isAllowedCaller,
  loadPeerCredentials,
  type PeerOf,
  type PeerProcess,
} from '../credentials/peer-credentials.ts';
import { removeOldSocket } from '../serve/unix-socket.ts';
import { ApiCall } from './api-call.ts';
import type { ApiRefusal, WorkloadApiMetrics } from './metrics.ts';
import type { WorkloadApiOptions } from './options.ts';

/** Answers an attested caller. What it throws is told: a CallFailure as it is, anything else as our failure. */
export type Method = (call: ApiCall, request: Buffer, caller: string) => Promise<void> | void;

export interface ApiServerOptions {
  readonly api: WorkloadApiOptions;
  /** By path: `/SpiffeWorkloadAPI/FetchX509SVID`. */
  readonly methods: ReadonlyMap<string, Method>;
  readonly metrics: WorkloadApiMetrics;
  readonly log: Logger;
}

/** An application has one connection for each of its processes, and a few streams on it. */
const MAX_CONNECTIONS = 128;
const MAX_CALLS_PER_CONNECTION = 32;
/** Of callers who may not ask: they are told so, and keep nobody out who may. */
const MAX_STRANGERS = 8;
const STRANGER_MS = 10_000;
const MAX_HEADER_BYTES = 8_192;
/** 1 MB: what Node may hold of one connection. */
const MAX_SESSION_MB = 1;
/** Of the Workload API's specification, 5: a request that somebody else was talked into does not have it. */
const SECURITY_HEADER = 'workload.spiffe.io';

/** A refusal with the reason that is counted. */
export class Refused extends CallFailure {
  readonly reason: ApiRefusal;

  constructor(reason: ApiRefusal, code: number, details: string) {
    super(code, details);
    this.reason = reason;
  }
}

export class ApiServer implements Disposable {
  readonly #options: ApiServerOptions;
  readonly #server: Server;
  readonly #peerOf: PeerOf;
  readonly #sessions = new Set<ServerHttp2Session>();
  #strangers = 0;
  #calls = 0;

  /** @throws Error that says what cannot be had: the socket's place, its owner, the kernel's word. */
  static async open(options: ApiServerOptions): Promise<ApiServer> {
    const server = new ApiServer(options, await loadPeerCredentials());
    try {
      await server.#listen();
    } catch (error) {
      server[Symbol.dispose]();
      throw error;
    }
    return server;
  }

  private constructor(options: ApiServerOptions, peerOf: PeerOf) {
    this.#options = options;
    this.#peerOf = peerOf;
    this.#server = net.createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  async #listen(): Promise<void> {
    const { path, mode, owner } = this.#options.api;
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
    const isAllowed = peer !== undefined && isAllowedCaller(peer, this.#options.api.allowed);
    if (!isAllowed && !this.#admitStranger(socket)) return;
    const session = http2.performServerHandshake(socket, {
      maxSessionMemory: MAX_SESSION_MB,
      settings: {
        maxConcurrentStreams: MAX_CALLS_PER_CONNECTION,
        maxHeaderListSize: MAX_HEADER_BYTES,
      },
    });
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    session.on('error', () => session.destroy());
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      const call = new ApiCall(stream);
      this.#count(call);
      /** Nothing that a caller does may end the sidecar. */
      this.#serve(call, headers, isAllowed ? peer : describe(peer)).catch((error: unknown) =>
        this.#failed(call, error),
      );
    });
  }

  #admitStranger(socket: Socket): boolean {
    if (this.#strangers >= MAX_STRANGERS) {
      this.#options.metrics.refused('too-many');
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

  #count(call: ApiCall): void {
    const { metrics } = this.#options;
    metrics.open(++this.#calls);
    call.onClose(() => metrics.open(--this.#calls));
  }

  /** Who calls is known before what is asked is read. @param caller the text of one who may not. */
  async #serve(
    call: ApiCall,
    headers: IncomingHttpHeaders,
    caller: PeerProcess | string,
  ): Promise<void> {
    if (typeof caller === 'string') {
      const details = `${caller} may not use the Workload API here`;
      throw new Refused('not-attested', STATUS.PERMISSION_DENIED, details);
    }
    if (headers[SECURITY_HEADER] !== 'true') {
      const details = `the metadata ${SECURITY_HEADER}: true is missing`;
      throw new Refused('no-security-header', STATUS.INVALID_ARGUMENT, details);
    }
    const path = headers[':path'] ?? '';
    const method = headers[':method'] === 'POST' ? this.#options.methods.get(path) : undefined;
    if (method === undefined) {
      throw new Refused('not-served', STATUS.UNIMPLEMENTED, 'there is no such method here');
    }
    const request = await call.request();
    await method(call, request, describe(caller));
  }

  #failed(call: ApiCall, error: unknown): void {
    const { metrics, log } = this.#options;
    if (call.isOver) return;
    if (error instanceof CallFailure) {
      const reason = error instanceof Refused ? error.reason : 'bad-request';
      metrics.refused(reason);
      log.warn({ reasonCode: reason, reason: error.details }, 'call of the workload API refused');
      call.fail(error);
      return;
    }
    log.error({ reason: errorText(error) }, 'cannot answer a call of the workload API');
    call.fail(new CallFailure(STATUS.INTERNAL, 'the sidecar failed'));
  }

  [Symbol.dispose](): void {
    this.#server.close();
    for (const session of this.#sessions) session.destroy();
  }
}

const describe = (peer: PeerProcess | undefined): string =>
  peer === undefined ? 'an unknown process' : `uid ${peer.uid} gid ${peer.gid} pid ${peer.pid}`;
