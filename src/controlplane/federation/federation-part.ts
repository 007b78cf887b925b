// The control plane's part in federation: what it believes of others, what it publishes of itself, and what people are told of both.
import type { Authority } from '@weft/ca/authority';
import type { ForeignRoots } from '@weft/ca/enrolment-messages';
import type { Clock } from '@weft/model/clock';
import { formatBundleDocument } from '@weft/model/federation/bundle-document';
import { formatJwks } from '@weft/model/policy/jwks';
import type { Logger } from 'pino';
import { joinSubscriptions } from '../core/join-subscriptions.ts';
import type { TrustBundle } from '../resources/trust-secret.ts';
import type { BundleEndpoint, BundleEndpointOptions } from './bundle-endpoint.ts';
import { Federations, type FederationState } from './federations.ts';
import { createJoinedBundle } from './joined-bundle.ts';
import type { KeptBundles } from './kept-bundles.ts';

export interface FederationPartOptions {
  readonly authority: Authority;
  /** Over a restart; absent: not. */
  readonly kept?: KeptBundles;
  /** Bounds how often others are asked, for tests. */
  readonly minRefreshMs?: number;
  readonly clock: Clock;
  readonly log: Logger;
}

export class FederationPart implements AsyncDisposable {
  readonly #options: FederationPartOptions;
  readonly #federations: Federations;
  readonly #joined: () => TrustBundle;
  #endpoint: BundleEndpoint | undefined;
  #hasBegun = false;

  constructor(options: FederationPartOptions) {
    this.#options = options;
    const { authority } = options;
    this.#federations = new Federations(options);
    this.#joined = createJoinedBundle({
      trustDomain: authority.trustDomain,
      own: () => authority.bundle(),
      federated: () => this.#federations.bundles,
    });
  }

  /** What proxies are sent. */
  bundle(): TrustBundle {
    return this.#joined();
  }

  /** Called when `bundle` may say something else. */
  onBundleChange(listener: () => void): Disposable {
    const { authority } = this.#options;
    return joinSubscriptions(
      authority.onBundleChange(() => listener()),
      this.#federations.subscribe(listener),
    );
  }

  get source(): Federations {
    return this.#federations;
  }

  states(): readonly FederationState[] {
    return this.#federations.states();
  }

  /** Called when `states` may say something else. */
  subscribe(listener: () => void): Disposable {
    return this.#federations.subscribe(listener);
  }

  /** For renewal streams, by which the agent of an Envoy is told. */
  readonly renewals = {
    roots: (): readonly ForeignRoots[] =>
      [...this.source.bundles]
        .filter(([, { x509Authorities }]) => x509Authorities.length > 0)
        .map(([trustDomain, { x509Authorities: rootsDer }]) => ({ trustDomain, rootsDer })),
    /** Told when they are others, and not of every fetch. */
    subscribe: (listener: () => void): Disposable => {
      let known = this.source.bundles;
      return this.source.subscribe(() => {
        if (known === this.source.bundles) return;
        known = this.source.bundles;
        listener();
      });
    },
  };

  /** JWK sets that tokens of others are verified with, by trust domain. */
  tokenKeys(): ReadonlyMap<string, string> {
    return new Map(
      [...this.#federations.bundles].map(([name, { jwtAuthorities }]) => [
        name,
        formatJwks(jwtAuthorities),
      ]),
    );
  }

  /** Loaded where it is asked for. @throws Error with the cure when the port cannot be bound. */
  async serve(
    options: BundleEndpointOptions | undefined,
    names: { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] },
  ): Promise<void> {
    if (options === undefined) return;
    const { openBundleEndpoint } = await import('./bundle-endpoint.ts');
    const { authority, clock, log } = this.#options;
    this.#endpoint = await openBundleEndpoint(options, { authority, ...names, clock, log });
  }

  /** Where our own bundle is served; absent: nowhere. */
  get address(): string | undefined {
    return this.#endpoint?.address;
  }

  /**
   * After a start, until each trust domain's keys were recalled or asked for once: who served before that would take
   * them from sidecars that have them. Later changes are no reason.
   */
  unready(): readonly string[] {
    if (this.#hasBegun) return [];
    const waiting = this.states().filter(({ bundle, failure }) => !bundle && failure === undefined);
    this.#hasBegun = waiting.length === 0;
    return waiting.map(
      ({ federation }) => `the bundle of ${federation.trustDomain} is being fetched`,
    );
  }

  /** What holds up that a new root signs: others must have had the time to fetch it. */
  waitsFor(): readonly string[] {
    return this.#endpoint?.waitsFor() ?? [];
  }

  /** For the admin endpoint. */
  document(): unknown {
    const { authority } = this.#options;
    const published = authority.publication.current();
    const endpoint = this.#endpoint;
    return {
      trustDomain: authority.trustDomain,
      ...(endpoint && {
        endpoint: {
          address: endpoint.address,
          profile: endpoint.profile,
          ...(published && { sequence: published.sequence }),
        },
      }),
      federations: this.states().map(describeFederation),
    };
  }

  /** Ours, as another trust domain's operators are given it to begin with; it has no number, as it is no publication. */
  bundleDocument(): unknown {
    const { authority } = this.#options;
    const document = formatBundleDocument({
      x509Authorities: authority.bundle().rootsDer,
      jwtAuthorities: authority.tokens.keys(),
    });
    return JSON.parse(document);
  }

  /** For metrics; one series for each federation at the most. */
  scraped(): FederationScrape {
    const nowMs = this.#options.clock.now();
    const ages = this.states().flatMap(({ federation, fetchedAtMs }) =>
      fetchedAtMs === undefined
        ? []
        : [[federation.trustDomain, (nowMs - fetchedAtMs) / 1_000] as const],
    );
    const inForce = this.states().filter((one) => one.isInForce).length;
    return {
      total: this.states().length,
      inForce,
      ageSecondsByTrustDomain: new Map(ages),
      fetches: this.#federations.fetches,
      answers: this.#endpoint?.answers ?? new Map(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#federations[Symbol.dispose]();
    await this.#endpoint?.[Symbol.asyncDispose]();
  }
}

export interface FederationScrape {
  readonly total: number;
  readonly inForce: number;
  readonly ageSecondsByTrustDomain: ReadonlyMap<string, number>;
  readonly fetches: { readonly good: number; readonly failed: number };
  /** Of our own endpoint, by status. */
  readonly answers: ReadonlyMap<number, number>;
}

const timeOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();

function describeFederation(state: FederationState): unknown {
  const { federation, bundle, fetchedAtMs, holdsUntilMs, isInForce, failure } = state;
  const { namespace, name, trustDomain, url, profile } = federation;
  return {
    namespace,
    name,
    trustDomain,
    url,
    profile: profile.kind,
    isInForce,
    fetchedAt: timeOf(fetchedAtMs),
    believedUntil: timeOf(holdsUntilMs),
    sequence: bundle?.sequence,
    roots: bundle?.x509Authorities.length ?? 0,
    tokenKeys: bundle?.jwtAuthorities.length ?? 0,
    failure,
  };
}
