// Keeps the addresses of one name: asked for when somebody calls, held for as long as the answer says, guarded and bounded.
import { createDialGuard } from '@weft/model/egress/dial-guard';
import { errorText } from '@weft/model/error-text';
import type { DnsDiscovery } from '@weft/xds/resources/egress';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import type { ResolveHost } from './resolve-host.ts';

/** Addresses of one name that are used: more help nobody. */
const MAX_ADDRESSES = 64;
/** An answer that has just run out is used once more while the next one is on its way. */
const STALE_WHILE_ASKING_MS = 30_000;
/** While DNS does not answer the last addresses stay: an outage of it is none of the host's. */
const STALE_WHILE_FAILING_MS = 10 * 60_000;
/** After a failure nobody asks for so long: callers are told at once. */
const FAILURE_HOLDS_MS = 1_000;

export interface NameFollowerOptions {
  readonly resolve: ResolveHost;
  readonly now: () => number;
  readonly setEndpoints: (endpoints: readonly Endpoint[]) => void;
  /** An answer that may not be used, or none. */
  readonly onProblem: (problem: NameProblem) => void;
}

export interface NameProblem {
  readonly host: string;
  readonly reasonCode: 'address-forbidden' | 'name-not-resolved' | 'upstream-tls-unusable';
  readonly detail: string;
}

export class NameFollower {
  readonly #options: NameFollowerOptions;
  #discovery: DnsDiscovery;
  #isAllowed: (address: string) => boolean;
  #freshUntil = 0;
  #goodUntil = 0;
  #retryAt = 0;
  #hasAddresses = false;
  #asking: Promise<void> | undefined;

  constructor(discovery: DnsDiscovery, options: NameFollowerOptions) {
    this.#options = options;
    this.#discovery = discovery;
    this.#isAllowed = createDialGuard(discovery.allowedNetworks);
  }

  update(discovery: DnsDiscovery): void {
    if (JSON.stringify(discovery) === JSON.stringify(this.#discovery)) return;
    this.#discovery = discovery;
    this.#isAllowed = createDialGuard(discovery.allowedNetworks);
    // What was allowed or meant before may not be so now.
    this.#forget();
  }

  #forget(): void {
    this.#hasAddresses = false;
    this.#freshUntil = 0;
    this.#retryAt = 0;
    this.#asking = undefined;
    this.#options.setEndpoints([]);
  }

  /** To be called before each use. @returns what has to be waited for; it never rejects. */
  ready(): Promise<void> | undefined {
    const now = this.#options.now();
    if (this.#hasAddresses && now < this.#freshUntil) return undefined;
    if (this.#hasAddresses && now >= this.#goodUntil) this.#forget();
    if (now >= this.#retryAt) this.#asking ??= this.#ask(this.#discovery);
    const isUsable = this.#hasAddresses && now < this.#freshUntil + STALE_WHILE_ASKING_MS;
    return isUsable || this.#asking === undefined ? undefined : this.#asking;
  }

  async #ask(discovery: DnsDiscovery): Promise<void> {
    const { resolve, now, onProblem } = this.#options;
    const { host, minTtlMs, maxTtlMs } = discovery;
    try {
      const { addresses, ttlMs = minTtlMs } = await resolve(host);
      if (discovery !== this.#discovery) return;
      const usable = addresses.filter((address) => this.#isAllowed(address));
      const refused = addresses.find((address) => !this.#isAllowed(address));
      if (refused !== undefined) {
        onProblem({ host, reasonCode: 'address-forbidden', detail: refused });
      }
      this.#freshUntil = now() + Math.min(maxTtlMs, Math.max(minTtlMs, ttlMs));
      this.#goodUntil = this.#freshUntil + STALE_WHILE_FAILING_MS;
      this.#hasAddresses = true;
      this.#options.setEndpoints(endpointsOf(usable, discovery.port));
    } catch (error) {
      if (discovery !== this.#discovery) return;
      this.#retryAt = now() + FAILURE_HOLDS_MS;
      onProblem({ host, reasonCode: 'name-not-resolved', detail: errorText(error) });
    } finally {
      if (discovery === this.#discovery) this.#asking = undefined;
    }
  }
}

const endpointsOf = (addresses: readonly string[], port: number): readonly Endpoint[] =>
  [...new Set(addresses)]
    .sort()
    .slice(0, MAX_ADDRESSES)
    .map((address) => ({ address, port, health: 'healthy', weight: 1, tlsMode: 'disabled' }));
