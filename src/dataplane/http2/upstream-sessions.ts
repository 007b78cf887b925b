// HTTP/2 connections towards one endpoint: shared by many requests, replaced when they go away, closed when idle.
import type { Socket } from 'node:net';
import { H2Connection } from './h2-connection.ts';

/** Opens a connection that is ready for HTTP/2; rejects when it cannot. */
export type OpenConnection = () => Promise<Socket>;

/** Who wants to begin a request. */
export interface ConnectionWaiter {
  /** It has room for a stream; to be used at once or not at all. */
  onConnection(connection: H2Connection): void;
  /** None could be made: nothing was sent. */
  onNoConnection(): void;
}

/** More connections than this to one endpoint do not help; requests then wait for the end of others. */
const MAX_CONNECTIONS = 8;
/** 2 min: shorter than servers' own idle limits. */
const IDLE_MS = 120_000;

export class UpstreamSessions implements Disposable {
  readonly #open: OpenConnection;
  /** Those that take requests. */
  #connections: readonly H2Connection[] = [];
  /** Those that only end what they have begun. */
  readonly #retired = new Set<H2Connection>();
  #waiting: ConnectionWaiter[] = [];
  #isOpening = false;
  #isDisposed = false;
  /** Streams that the endpoint takes at once, as its last connection said: a new one is believed to take as many. */
  #knownConcurrency: number | undefined;

  constructor(open: OpenConnection) {
    this.#open = open;
  }

  /** Open, or being opened. */
  get connections(): number {
    return this.#connections.length + this.#retired.size + (this.#isOpening ? 1 : 0);
  }

  /** Streams in flight over all connections. */
  get inFlight(): number {
    let sum = 0;
    for (const connection of this.#connections) sum += connection.streams.size;
    for (const connection of this.#retired) sum += connection.streams.size;
    return sum;
  }

  /** Gives a connection at once where one has room; else when there is one. */
  take(waiter: ConnectionWaiter): void {
    const connection = this.#waiting.length === 0 ? this.#free() : undefined;
    if (connection !== undefined) {
      waiter.onConnection(connection);
      return;
    }
    this.#waiting.push(waiter);
    this.#openMore();
  }

  /** It wants none any more. */
  cancel(waiter: ConnectionWaiter): void {
    this.#waiting = this.#waiting.filter((one) => one !== waiter);
  }

  /** The least loaded. */
  #free(): H2Connection | undefined {
    let best: H2Connection | undefined;
    for (const connection of this.#connections) {
      if (!connection.hasRoom || !connection.isTaking) continue;
      if (best === undefined || connection.streams.size < best.streams.size) best = connection;
    }
    return best;
  }

  /** One connection is opened at a time; requests that come meanwhile share it. */
  #openMore(): void {
    if (this.#isOpening || this.#connections.length >= MAX_CONNECTIONS) return;
    this.#isOpening = true;
    this.#open().then(
      (socket) => this.#onOpen(socket),
      () => this.#onFailure(),
    );
  }

  #onOpen(socket: Socket): void {
    this.#isOpening = false;
    const connection = new H2Connection({
      socket,
      role: 'client',
      idleTimeoutMs: IDLE_MS,
      owner: {
        onStream: (stream) => connection.refuseMalformed(stream),
        onRetired: () => this.#onRetired(connection),
        onSettings: () => {
          this.#knownConcurrency = connection.settings.maxConcurrentStreams;
          this.#serveWaiting();
        },
        onRoom: () => this.#serveWaiting(),
        onClosed: () => this.#retired.delete(connection),
      },
    });
    if (this.#knownConcurrency !== undefined) {
      connection.settings.maxConcurrentStreams = this.#knownConcurrency;
    }
    socket.unref();
    this.#connections = [...this.#connections, connection];
    this.#serveWaiting();
    if (this.#isDisposed) connection.retire();
  }

  /** While others are open, who waits gets the next room in them: the endpoint is there. */
  #onFailure(): void {
    this.#isOpening = false;
    if (this.#connections.length > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting) waiter.onNoConnection();
  }

  #onRetired(connection: H2Connection): void {
    this.#connections = this.#connections.filter((one) => one !== connection);
    this.#retired.add(connection);
    this.#serveWaiting();
  }

  #serveWaiting(): void {
    while (this.#waiting.length > 0) {
      const connection = this.#free();
      if (connection === undefined) {
        this.#openMore();
        return;
      }
      this.#waiting.shift()?.onConnection(connection);
    }
  }

  /** Lets requests in flight end; no new ones are taken, but those that wait are served. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const connection of this.#connections) connection.retire();
  }
}
