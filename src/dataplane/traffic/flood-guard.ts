// Notices clients that do too much of something, and says what is to happen to them: noted, held up, or turned away.
import { compileCidr, type IpAddress, parseCidr, parseIp } from '@weft/model/ip';
import { FLOOD_EVENTS, type FloodEvent } from '@weft/model/traffic/types';
import type { FloodsConfig } from '@weft/xds/resources/traffic';
import type { Socket } from 'node:net';
import { ClientScores } from './client-scores.ts';

/** A client that is flooding, and what it did just now. */
export interface Flood {
  readonly event: FloodEvent;
  readonly action: FloodsConfig['action'];
  /** The first time of late: to be logged. */
  readonly isNew: boolean;
}

export interface Ends {
  readonly sourceAddress: string;
  readonly destinationAddress: string;
}

/** 1 s: how long what a client does is held up that is to be slowed. */
export const SLOWED_MS = 1_000;
/** What is held up at one time; more is turned away, for each holds its memory. */
const MAX_SLOWED = 10_000;
/** 1 s: how often it is looked whether clients take what they asked for. */
const SWEEP_MS = 1_000;
/** 5 s without a byte taken count as one slow read. */
const STALLED_SWEEPS = 5;

interface Watched {
  readonly socket: Pick<Socket, 'writableLength' | 'bytesWritten'>;
  readonly ends: Ends;
  readonly cut: () => void;
  pending: number;
  stalledSweeps: number;
}

export interface FloodTools {
  readonly now?: () => number;
  readonly sweepMs?: number;
}

export class FloodGuard {
  readonly #config: FloodsConfig;
  readonly #now: () => number;
  readonly #sweepMs: number;
  readonly #scores: ClientScores;
  readonly #exempt: readonly ((ip: IpAddress) => boolean)[];
  readonly #watched = new Map<string, Set<Watched>>();
  #timer: NodeJS.Timeout | undefined;
  #slowed = 0;
  /** Of slow reads, which nobody else sees. */
  onFlood: (flood: Flood, ends: Ends) => void = () => undefined;

  constructor(
    config: FloodsConfig,
    { now = () => performance.now(), sweepMs = SWEEP_MS }: FloodTools = {},
  ) {
    this.#config = config;
    this.#now = now;
    this.#sweepMs = sweepMs;
    const { windowMs, maxClients } = config;
    const thresholds = FLOOD_EVENTS.map((event) => config.thresholds[event] ?? Infinity);
    this.#scores = new ClientScores({ windowMs, maxClients, thresholds });
    this.#exempt = config.exempt.flatMap((text) => {
      const range = parseCidr(text);
      return range === undefined ? [] : [compileCidr(range)];
    });
  }

  get bytes(): number {
    return this.#scores.bytes;
  }

  /** @returns what is to happen; `undefined` when all is well with the client. */
  note(ends: Ends, event: FloodEvent): Flood | undefined {
    const client = this.#clientOf(ends);
    if (client === undefined) return undefined;
    const { isFlooding, isNew } = this.#scores.note(
      client,
      FLOOD_EVENTS.indexOf(event),
      this.#now(),
    );
    if (!isFlooding) return undefined;
    const { action } = this.#config;
    // Not at once: what reports this is still busy with the connection.
    if (isNew && action === 'drop') setImmediate(() => this.#cutAll(client));
    return { event, action, isNew };
  }

  /** `undefined`: it is never counted. Who has IPv6 has a whole network of addresses, and is counted by it. */
  #clientOf({ sourceAddress, destinationAddress }: Ends): string | undefined {
    const ip = parseIp(sourceAddress);
    // What comes from within the Pod, and the kubelet's forwarded ports.
    if (ip === undefined || isLoopback(ip) || sourceAddress === destinationAddress)
      return undefined;
    for (const isIn of this.#exempt) if (isIn(ip)) return undefined;
    return ip.family === 4 ? String(ip.word) : `${ip.words[0]}:${ip.words[1]}`;
  }

  /** An open connection: cut when its client floods and is to be dropped, and looked at whether the client reads. */
  watch(socket: Watched['socket'] & Pick<Socket, 'once'>, ends: Ends, cut: () => void): void {
    const client = this.#clientOf(ends);
    if (client === undefined) return;
    const watched = { socket, ends, cut, pending: 0, stalledSweeps: 0 };
    const own = this.#watched.get(client) ?? new Set();
    this.#watched.set(client, own.add(watched));
    socket.once('close', () => {
      own.delete(watched);
      if (own.size === 0 && this.#watched.get(client) === own) this.#watched.delete(client);
    });
    if (this.#config.thresholds.slowReads !== undefined) this.#sweepLater();
  }

  #cutAll(client: string): void {
    for (const { cut } of this.#watched.get(client) ?? []) cut();
  }

  #sweepLater(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sweep();
      if (this.#watched.size > 0) this.#sweepLater();
    }, this.#sweepMs).unref();
  }

  #sweep(): void {
    for (const own of this.#watched.values()) {
      for (const watched of own) {
        const { socket, ends } = watched;
        const taken = socket.bytesWritten - socket.writableLength;
        const isStalled = socket.writableLength > 0 && taken === watched.pending;
        watched.pending = taken;
        watched.stalledSweeps = isStalled ? watched.stalledSweeps + 1 : 0;
        if (watched.stalledSweeps < STALLED_SWEEPS) continue;
        watched.stalledSweeps = 0;
        const flood = this.note(ends, 'slowReads');
        if (flood !== undefined) this.onFlood(flood, ends);
      }
    }
  }

  /** @returns whether it will be called; else there are too many waiting. */
  slow(then: () => void): boolean {
    if (this.#slowed >= MAX_SLOWED) return false;
    this.#slowed++;
    setTimeout(() => {
      this.#slowed--;
      then();
    }, SLOWED_MS).unref();
    return true;
  }
}

/** 127.0.0.1 and ::1. */
const isLoopback = (ip: IpAddress): boolean =>
  ip.family === 4
    ? ip.word === 0x7f_00_00_01
    : ip.words.every((word, at) => word === (at === 3 ? 1 : 0));
