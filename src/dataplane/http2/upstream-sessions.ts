// HTTP/2 sessions towards one endpoint: shared by many requests, replaced when they go away, closed when idle.
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';

/** Opens a connection that is ready for HTTP/2; rejects when it cannot. */
export type OpenConnection = () => Promise<Duplex>;

/** More sessions than this to one endpoint do not help; requests then queue in the least loaded one. */
const MAX_SESSIONS = 8;
/** What a peer that says nothing is believed to take at once. */
const DEFAULT_CONCURRENCY = 100;
/** 2 min: shorter than servers' own idle limits. */
const IDLE_MS = 120_000;
/** 1 MiB a stream and 16 MiB a session keep one fast stream busy without letting a slow reader hoard. */
export const STREAM_WINDOW_BYTES = 1_048_576;
export const SESSION_WINDOW_BYTES = 16_777_216;

interface Entry {
  readonly session: ClientHttp2Session;
  inFlight: number;
  /** No new requests; closed after the last one under way. */
  isRetired: boolean;
}

export class UpstreamSessions implements Disposable {
  readonly #open: OpenConnection;
  readonly #entries = new Set<Entry>();
  #opening: Promise<Entry> | undefined;

  constructor(open: OpenConnection) {
    this.#open = open;
  }

  /** Streams in flight over all sessions. */
  get inFlight(): number {
    let sum = 0;
    for (const entry of this.#entries) sum += entry.inFlight;
    return sum;
  }

  /**
   * Starts a request. Rejects when no connection could be made: nothing was sent then.
   * @param headers flat list, pseudo-headers included.
   */
  async request(
    headers: string[],
    options: { readonly endStream: boolean },
  ): Promise<ClientHttp2Stream> {
    const entry = this.#free() ?? (await this.#connect());
    const stream = entry.session.request(headers, {
      endStream: options.endStream,
      waitForTrailers: !options.endStream,
    });
    entry.inFlight++;
    entry.session.ref();
    stream.once('close', () => {
      entry.inFlight--;
      if (entry.inFlight > 0) return;
      if (entry.isRetired) entry.session.close();
      else entry.session.unref();
    });
    return stream;
  }

  #free(): Entry | undefined {
    let best: Entry | undefined;
    for (const entry of this.#entries) {
      if (entry.session.closed || entry.session.destroyed) continue;
      if (best === undefined || entry.inFlight < best.inFlight) best = entry;
    }
    if (best === undefined) return undefined;
    const limit = best.session.remoteSettings?.maxConcurrentStreams ?? DEFAULT_CONCURRENCY;
    return best.inFlight < limit || this.#entries.size >= MAX_SESSIONS ? best : undefined;
  }

  /** One connection is opened at a time; requests that come meanwhile share it. */
  #connect(): Promise<Entry> {
    this.#opening ??= this.#create().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #create(): Promise<Entry> {
    const socket = await this.#open();
    /** It may be half-open for TCP's sake; a peer that has ended cannot answer. */
    socket.once('end', () => socket.destroy());
    const session = http2.connect('http://upstream', {
      createConnection: () => socket,
      settings: { initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
      maxHeaderListPairs: 256,
    });
    const entry: Entry = { session, inFlight: 0, isRetired: false };
    this.#entries.add(entry);
    const forget = (): void => {
      this.#entries.delete(entry);
    };
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    session.setTimeout(IDLE_MS, () => {
      if (entry.inFlight === 0) this.#retire(entry);
    });
    session.on('goaway', forget);
    session.on('close', forget);
    session.on('error', () => {
      forget();
      session.destroy();
    });
    session.unref();
    return entry;
  }

  /** Lets requests in flight end; no new ones are taken. */
  [Symbol.dispose](): void {
    for (const entry of this.#entries) this.#retire(entry);
  }

  /**
   * A session that is closed refuses requests that it has taken and not yet put on the wire: it is closed when
   * nothing is under way.
   */
  #retire(entry: Entry): void {
    this.#entries.delete(entry);
    entry.isRetired = true;
    if (entry.inFlight === 0) entry.session.close();
  }
}
