// What a transparent sidecar makes of redirected connections that are no traffic: proofs of interception, and probes that came by it.
import type { Socket } from 'node:net';
import { ARRIVAL_PROOF_PORT } from '../listener/capture.ts';
import {
  type Direction,
  familiesInUse,
  InterceptionCheck,
} from '../listener/interception-check.ts';
import type { Destination } from '../listener/original-dst.ts';
import type { SidecarOptions } from '../options.ts';

export interface InterceptionOptions {
  readonly sidecar: Pick<SidecarOptions, 'transparent' | 'podIp' | 'clock' | 'log'>;
  /** Answers a probe on this connection. */
  readonly onProbe: (socket: Socket) => void;
  /** After every round of proofs. */
  readonly onResult: (isProven: Readonly<Record<Direction, boolean>>) => void;
}

export class Interception implements Disposable {
  readonly #check: InterceptionCheck | undefined;
  readonly #onProbe: (socket: Socket) => void;

  constructor({ sidecar, onProbe, onResult }: InterceptionOptions) {
    this.#onProbe = onProbe;
    const { transparent, podIp, clock, log } = sidecar;
    if (transparent?.proofPeriodMs === undefined) return;
    const check: InterceptionCheck = new InterceptionCheck({
      families: () => familiesInUse(podIp),
      ports: { inbound: transparent.inbound.port, outbound: transparent.outbound.port },
      periodMs: transparent.proofPeriodMs,
      clock,
      log: log.child({ component: 'interception' }),
      onResult: () =>
        onResult({ inbound: check.isProven('inbound'), outbound: check.isProven('outbound') }),
    });
    this.#check = check;
  }

  /** Why traffic may pass the sidecar by; empty when nothing does, and where no proof is asked for. */
  get reasons(): readonly string[] {
    return this.#check?.reasons ?? [];
  }

  /** Once the ports are open. */
  start(): void {
    this.#check?.start();
  }

  /** @returns whether the connection was no traffic of the workload; then it has been dealt with. */
  took(direction: Direction, socket: Socket, destination: Destination): boolean {
    if (this.#check?.arrived(direction, socket, destination) === true) return true;
    if (direction !== 'inbound' || destination.port !== ARRIVAL_PROOF_PORT) return false;
    this.#onProbe(socket);
    return true;
  }

  [Symbol.dispose](): void {
    this.#check?.[Symbol.dispose]();
  }
}
