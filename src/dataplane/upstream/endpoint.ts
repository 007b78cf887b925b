// One address that serves a destination: its health as seen from here, its load, and its idle connections.
import { formatHostPort } from '@weft/model/host-port';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import { Attempts } from './attempt.ts';
import type { PooledConnection } from './connection.ts';
import type { UpstreamSessions } from '../http2/upstream-sessions.ts';

/**
 * Idle connections kept to one endpoint; the newest are used first, so that the oldest time out. As many as Envoy lets
 * a cluster have: with fewer than callers use at once, each request beyond costs a handshake (`npm run bench:dataplane
 * -- --only "512 connections"`: with 256 three times the CPU).
 */
export const MAX_IDLE = 1_024;
/** 50 s: shorter than the idle limits of common servers (Node 65 s after a change, nginx 75 s; 60 s at load balancers). */
export const IDLE_MS = 50_000;

export class UpstreamEndpoint {
  readonly key: string;
  /** What the control plane says now; replaced on updates. */
  definition: Endpoint;
  /** HTTP/1 requests and TCP connections under way. */
  active = 0;
  /** In a row: failed connections, resets and answers of gateways. */
  failures = 0;
  /** In a row: failures, and any 5xx. */
  errors = 0;
  /** Ejections so far: each lasts longer than the one before. */
  ejections = 0;
  ejectedUntil = 0;
  /** Towards its next turn, where endpoints of different weights take turns. */
  credit = 0;
  readonly idle: PooledConnection[] = [];
  /** Counted up when what was opened until then is not to be used again, be it idle, lent or still on its way. */
  epoch = 0;
  sessions: UpstreamSessions | undefined;
  sessionsGeneration: object | undefined;
  isRemoved = false;
  /** Connections that are being opened. */
  readonly attempts = new Attempts();

  /** Told when a connection has come free, or has ended. */
  readonly #onFree: () => void;

  constructor(definition: Endpoint, onFree: () => void = () => undefined) {
    this.definition = definition;
    this.#onFree = onFree;
    this.key = endpointKey(definition);
  }

  get address(): string {
    return this.key;
  }

  /** Everything under way: HTTP/2 streams are counted by their sessions. */
  get load(): number {
    return this.active + (this.sessions?.inFlight ?? 0);
  }

  /** Open, or being opened. */
  get connections(): number {
    return this.active + this.idle.length + (this.sessions?.connections ?? 0);
  }

  /** A request or a tunnel is over; what it used may be idle now, or gone. */
  end(): void {
    this.active--;
    this.#onFree();
  }

  /** Ends what is idle; what is in flight goes on, and its connection ends after it. */
  closeIdle(): void {
    this.epoch++;
    for (const connection of this.idle.splice(0)) connection.dispose();
    this.sessions?.[Symbol.dispose]();
    this.sessions = undefined;
  }
}

export const endpointKey = ({
  address,
  port,
}: {
  readonly address: string;
  readonly port: number;
}): string => formatHostPort({ host: address, port });
