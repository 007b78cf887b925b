// Proves, at the start and again and again, that traffic of this network namespace really passes through the sidecar.
import net, { type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';
import {
  type Family,
  INBOUND_CHAIN,
  INBOUND_PROOF_PORT,
  OUTBOUND_CHAIN,
  OUTBOUND_PROOF_PORT,
  PROOF_ADDRESS,
} from './capture.ts';
import type { Destination } from './original-dst.ts';

export type Direction = 'inbound' | 'outbound';

/** A call that must come back. */
interface Proof {
  readonly direction: Direction;
  readonly family: Family;
  readonly address: string;
  readonly port: number;
}

/** A proof under way. */
interface Call {
  readonly proof: Proof;
  readonly socket: Socket;
  readonly arrived: () => void;
}

/** Of a connection that arrived: the port that it was made from. */
export interface Arrived {
  readonly remotePort?: number | undefined;
  destroy(): unknown;
}

export interface InterceptionCheckOptions {
  /** Of the addresses that the workload has. */
  readonly families: () => readonly Family[];
  /** The ports that redirected connections must come to. */
  readonly ports: Readonly<Record<Direction, number>>;
  /** How often they are made again while all is well. */
  readonly periodMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: a call by the system. */
  readonly connect?: (address: string, port: number) => Socket;
  /** After every round. */
  readonly onResult: () => void;
}

/** Loopback takes microseconds; what is not back by then is not coming. */
const PROOF_TIMEOUT_MS = 1_000;
/** While something is wrong: the cure is noticed soon. */
const RETRY_MS = 1_000;
/** One lost call of a starved process is no loss of interception; two in a row are. */
const FAILURES_UNTIL_UNPROVEN = 2;

const DIRECTIONS: readonly Direction[] = ['outbound', 'inbound'];
const PROOF_PORT: Readonly<Record<Direction, number>> = {
  outbound: OUTBOUND_PROOF_PORT,
  inbound: INBOUND_PROOF_PORT,
};
const CHAIN: Readonly<Record<Direction, string>> = {
  outbound: OUTBOUND_CHAIN,
  inbound: INBOUND_CHAIN,
};

export class InterceptionCheck implements Disposable {
  readonly #options: InterceptionCheckOptions;
  readonly #calls = new Set<Call>();
  readonly #failures = new Map<string, { readonly reason: string; readonly count: number }>();
  readonly #proven = new Set<string>();
  readonly #ended = new AbortController();
  #round: Disposable | undefined;
  #reasons: readonly string[] = [];
  #unproven: ReadonlySet<Direction> = new Set(DIRECTIONS);

  constructor(options: InterceptionCheckOptions) {
    this.#options = options;
    this.#conclude();
  }

  /** Why traffic may pass the sidecar by; empty when nothing does. */
  get reasons(): readonly string[] {
    return this.#reasons;
  }

  isProven(direction: Direction): boolean {
    return !this.#unproven.has(direction);
  }

  start(): void {
    if (!this.#ended.signal.aborted) void this.#run();
  }

  /**
   * To be asked of every redirected connection first.
   * @returns whether it was made to the address of the proofs; then it has been dealt with, whoever made it.
   */
  arrived(direction: Direction, socket: Arrived, destination: Destination): boolean {
    if (destination.port !== PROOF_PORT[direction]) return false;
    if (destination.address !== PROOF_ADDRESS[4] && destination.address !== PROOF_ADDRESS[6]) {
      return false;
    }
    /** Known by its port: the rules change where a call goes to, not where it comes from. */
    const { remotePort } = socket;
    socket.destroy();
    for (const call of this.#calls) {
      const { proof } = call;
      const isOurs = call.socket.localPort !== undefined && call.socket.localPort === remotePort;
      if (isOurs && proof.direction === direction && proof.address === destination.address) {
        call.arrived();
      }
    }
    return true;
  }

  async #run(): Promise<void> {
    const { clock, families, onResult, periodMs } = this.#options;
    const proofs = DIRECTIONS.flatMap((direction) =>
      families().map((family): Proof => {
        return { direction, family, address: PROOF_ADDRESS[family], port: PROOF_PORT[direction] };
      }),
    );
    const outcomes = await Promise.all(proofs.map((proof) => this.#prove(proof)));
    if (this.#ended.signal.aborted) return;
    for (const [index, proof] of proofs.entries()) this.#note(proof, outcomes[index]);
    this.#conclude();
    onResult();
    const isWell = this.#failures.size === 0;
    this.#round = clock.setTimeout(
      () => void this.#run(),
      isWell ? periodMs : Math.min(RETRY_MS, periodMs),
    );
  }

  /** @returns what went wrong, or `undefined`. */
  #prove(proof: Proof): Promise<string | undefined> {
    const { clock, connect = callOut } = this.#options;
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const socket = connect(proof.address, proof.port);
    const end = (failure: string | undefined): void => {
      timer[Symbol.dispose]();
      this.#ended.signal.removeEventListener('abort', onEnded);
      this.#calls.delete(call);
      socket.destroy();
      resolve(failure);
    };
    const call: Call = { proof, socket, arrived: () => end(undefined) };
    this.#calls.add(call);
    const onEnded = (): void => end('the check has ended');
    const timer = clock.setTimeout(() => end('no answer'), PROOF_TIMEOUT_MS);
    this.#ended.signal.addEventListener('abort', onEnded);
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    return promise;
  }

  #note(proof: Proof, failure: string | undefined): void {
    const key = `${proof.direction}/${proof.family}`;
    if (failure === undefined) {
      this.#proven.add(key);
      this.#failures.delete(key);
      return;
    }
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    this.#failures.set(key, { reason: this.#explain(proof, failure), count });
    if (count >= FAILURES_UNTIL_UNPROVEN) this.#proven.delete(key);
  }

  #explain(proof: Proof, failure: string): string {
    const { direction, address, port, family } = proof;
    const target = family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
    const iptables = family === 6 ? 'ip6tables' : 'iptables';
    return `${direction} interception not proven: ${target} did not come back through port ${this.#options.ports[direction]} (${failure}); is weft-capture's ${iptables} chain ${CHAIN[direction]} in place?`;
  }

  #conclude(): void {
    const before = this.#reasons.join();
    const keys = DIRECTIONS.flatMap((direction) =>
      this.#options.families().map((family) => ({ direction, key: `${direction}/${family}` })),
    );
    const missing = keys.filter(({ key }) => !this.#proven.has(key));
    this.#unproven = new Set(missing.map(({ direction }) => direction));
    this.#reasons = missing.map(
      ({ direction, key }) =>
        this.#failures.get(key)?.reason ?? `${direction} interception not proven yet`,
    );
    const { log } = this.#options;
    if (this.#reasons.join() === before) return;
    if (this.#reasons.length === 0) log.info('interception is proven');
    else if (this.#failures.size > 0) log.error({ reasons: this.#reasons }, 'not intercepted');
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
    this.#round?.[Symbol.dispose]();
  }
}

const callOut = (host: string, port: number): Socket => net.connect({ host, port });

/** Of the Pod's own address (default: IPv4), and of every other that reaches beyond this host. */
export function familiesInUse(podIp = ''): readonly Family[] {
  const found = new Set<Family>([podIp.includes(':') ? 6 : 4]);
  for (const address of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
    if (address.internal || address.address.startsWith('fe80:')) continue;
    found.add(address.family === 'IPv6' ? 6 : 4);
  }
  return [...found].sort((a, b) => a - b);
}
