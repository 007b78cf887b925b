// One control plane with its fleet: connects it, changes something and waits for the last acknowledgement, and reads what that cost.
import { setTimeout as delay } from 'node:timers/promises';
import { preciseCpuUsOf } from '../accounting.ts';
import { watchAnswers } from './answers.ts';
import type { Fleet } from '../propagation/fleet-process.ts';
import { type FleetAccount, monotonicMs, type ToFleet } from '../propagation/messages.ts';
import { type BenchMesh, endpointMarker, policyMarker } from './mesh.ts';
import type { Change, Plane } from './planes.ts';
import type { Recorded } from './recorded.ts';
import { expectedHolding } from './verify.ts';

/** After the last acknowledgement was sent: the control plane still reads and books some. */
const SETTLE_MS = 150;
const CONNECT_MS = 300_000;
const CHANGE_MS = 60_000;

export interface ChangeCost {
  /** From just before the change was made until the last proxy acknowledged. */
  readonly lastAckMs: number;
  readonly cpuUs: number;
}

export interface ChurnCost {
  readonly changes: number;
  /** What was done in the time; less than asked for when the source could not be changed so fast. */
  readonly perSecond: number;
  readonly cpuUsPerChange: number;
  readonly bytesPerChange: number;
  readonly responsesPerChange: number;
  /** From the last change until everybody had the last state. */
  readonly settledMs: number;
}

export interface ReconnectCost {
  readonly configuredMs: number;
  readonly cpuUs: number;
  readonly receivedBytes: number;
  /** The slowest answer of `/healthz` meanwhile, ms; absent where there is none. */
  readonly slowestHealthMs: number | undefined;
}

export class PlaneFleet {
  readonly plane: Plane;
  readonly #fleet: Fleet;
  readonly #mesh: BenchMesh;
  readonly #recorded: Recorded;
  #policy = 0;
  readonly #endpoints: number[];

  /** @param options.recorded what this control plane gave before anything was changed */
  constructor(options: {
    readonly plane: Plane;
    readonly fleet: Fleet;
    readonly mesh: BenchMesh;
    readonly recorded: Recorded;
  }) {
    const { plane, fleet, mesh, recorded } = options;
    this.plane = plane;
    this.#fleet = fleet;
    this.#mesh = mesh;
    this.#recorded = recorded;
    this.#endpoints = mesh.changing.map(() => 0);
  }

  /** @returns CPU of the control plane until all are configured. */
  async connect(message: Extract<ToFleet, { kind: 'connect' }>): Promise<number> {
    const before = preciseCpuUsOf(this.plane.pid);
    this.#fleet.tell(message);
    await this.#fleet.next('connected', CONNECT_MS);
    await delay(SETTLE_MS);
    return preciseCpuUsOf(this.plane.pid) - before;
  }

  account(): Promise<FleetAccount> {
    this.#fleet.tell({ kind: 'tell' });
    return this.#fleet.next('account', CHANGE_MS);
  }

  /**
   * How many resources the proxies hold.
   * @throws Error when that is not what is in force, to the byte and on every proxy: something else was measured then
   */
  async check(): Promise<number> {
    const inForce = { policy: this.#policy, endpoints: this.#endpoints };
    const expected = expectedHolding(this.#mesh, this.#recorded, inForce);
    const { resources, digest } = await this.account();
    if (digest === expected.digest) return resources;
    const held = `${resources} of ${expected.resources} resources`;
    throw new Error(
      `Cannot count: proxies of ${this.plane.name} hold ${held}, not what is in force`,
    );
  }

  async changePolicy(): Promise<ChangeCost> {
    const policy = ++this.#policy;
    const marker = policyMarker(policy);
    this.#fleet.tell({ kind: 'expect', marker });
    return this.#change({ policy });
  }

  async #change(what: Change): Promise<ChangeCost> {
    await this.#fleet.next('expecting', CHANGE_MS);
    const change = this.plane.prepare(what);
    const before = preciseCpuUsOf(this.plane.pid);
    const acknowledged = this.#fleet.next('acknowledged', CHANGE_MS);
    const startedAtMs = monotonicMs();
    await change();
    const { lastAtMs } = await acknowledged;
    await delay(SETTLE_MS);
    const cpuUs = preciseCpuUsOf(this.plane.pid) - before;
    return { lastAckMs: lastAtMs - startedAtMs, cpuUs };
  }

  /** Changes endpoints of one Service after the other at a rate, whether the last change has arrived or not. */
  async churn(perSecond: number, seconds: number): Promise<ChurnCost> {
    const changes = Array.from({ length: perSecond * seconds }, (_, n) => {
      const at = n % this.#endpoints.length;
      const version = (this.#endpoints[at] ?? 0) + 1;
      this.#endpoints[at] = version;
      return this.plane.prepare({ endpoint: { at, version } });
    });
    const expected = this.#mesh.changing.map((service, at) => ({
      marker: endpointMarker({ at, version: this.#endpoints[at] ?? 0 }),
      acknowledgements: this.#mesh.callersOf(service),
    }));
    this.#fleet.tell({ kind: 'expect-all', expected });
    await this.#fleet.next('expecting', CHANGE_MS);
    const accountBefore = await this.account();
    const before = preciseCpuUsOf(this.plane.pid);
    const acknowledged = this.#fleet.next('acknowledged', CHANGE_MS);
    const startedAtMs = monotonicMs();
    for (const [at, change] of changes.entries()) {
      await delay(Math.max(0, startedAtMs + (at * 1_000) / perSecond - monotonicMs()));
      await change();
    }
    const endedAtMs = monotonicMs();
    const { lastAtMs } = await acknowledged;
    await delay(SETTLE_MS);
    const cpuUs = preciseCpuUsOf(this.plane.pid) - before;
    const account = await this.account();
    const bytesOf = ({ receivedBytes, sentBytes }: FleetAccount): number =>
      receivedBytes + sentBytes;
    const { length } = changes;
    return {
      changes: length,
      perSecond: (length * 1_000) / (endedAtMs - startedAtMs + 1_000 / perSecond),
      cpuUsPerChange: cpuUs / length,
      bytesPerChange: (bytesOf(account) - bytesOf(accountBefore)) / length,
      responsesPerChange: (account.responses - accountBefore.responses) / length,
      settledMs: Math.max(0, lastAtMs - endedAtMs),
    };
  }

  /** Every proxy loses its connection and comes back at once, with nothing held: as after a roll-out of all of them. */
  async reconnect(): Promise<ReconnectCost> {
    this.#fleet.tell({ kind: 'disconnect' });
    await this.#fleet.next('disconnected', CONNECT_MS);
    await delay(SETTLE_MS);
    const accountBefore = await this.account();
    const { admin } = this.plane;
    const before = preciseCpuUsOf(this.plane.pid);
    const health = admin === undefined ? undefined : watchAnswers(admin, '/healthz');
    this.#fleet.tell({ kind: 'reconnect' });
    const { startedAtMs, lastAtMs } = await this.#fleet.next('reconnected', CONNECT_MS);
    const slowestHealthMs = await health?.stop();
    await delay(SETTLE_MS);
    const cpuUs = preciseCpuUsOf(this.plane.pid) - before;
    const { receivedBytes } = await this.account();
    return {
      configuredMs: lastAtMs - startedAtMs,
      cpuUs,
      receivedBytes: receivedBytes - accountBefore.receivedBytes,
      slowestHealthMs,
    };
  }
}
