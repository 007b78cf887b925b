// What a control plane is told, whatever it runs on, and what differs with where it runs.
import type { Attestor } from '@weft/ca/attest/attestor';
import type { AuthorityOptions } from '@weft/ca/authority';
import type { BroughtCa } from '@weft/ca/brought';
import type { PhaseGate } from '@weft/ca/rotation';
import type { CaStore } from '@weft/ca/store/store';
import type { Clock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import type { Logger } from 'pino';
import type { Membership } from '../compile/mesh-settings.ts';
import type { CredentialSource } from '../credentials/sources/source.ts';
import type { SourceConfig } from '../credentials/sources/source-config.ts';
import type { BundleEndpointOptions } from '../federation/bundle-endpoint.ts';
import type { KeptBundles } from '../federation/kept-bundles.ts';
import type { Source } from '../registry/source.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** What every control plane is told, whatever it runs on. */
export interface CoreOptions {
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  /** Port 0 takes a free one, here and below. */
  readonly xds: ListenAddress;
  readonly enrolment: ListenAddress;
  /** Health, metrics and documents, for callers on this machine; absent: over the Unix socket alone. */
  readonly admin?: ListenAddress;
  /** Health and metrics alone, for callers from outside. */
  readonly health?: ListenAddress;
  readonly svidTtlMs: number;
  /** How often proxies report who called whom; whole seconds, default 10 s. */
  readonly reportIntervalMs?: number;
  /** How long requests on older connections may take before a previous root is retired. */
  readonly rotationGraceMs?: number;
  /** Where credentials are, besides the Secrets of a cluster; absent: nowhere. */
  readonly credentialSources?: readonly SourceConfig[];
  /** `https://...`: what tokens name as their issuer, and where others find their keys. */
  readonly tokenIssuer?: string;
  /** Where others fetch our keys; absent: nowhere. */
  readonly bundleEndpoint?: BundleEndpointOptions;
  /** Further names at which clients dial, for their TLS. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly version: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

/** What differs with where it runs. Disposing of them is their opener's. */
export interface CoreParts {
  readonly source: Source;
  readonly store: CaStore;
  /** Issues in place of a CA of our own. */
  readonly brought?: BroughtCa;
  readonly attestors: readonly Attestor[];
  /** What is fetched of federated trust domains, over a restart; absent: it is fetched again. */
  readonly keptBundles?: KeptBundles;
  /** Whom nothing is issued any more, and why; absent: nobody. */
  readonly heldBack?: AuthorityOptions['heldBack'];
  /** Of a cluster, for credentials; opened when somebody is granted any. */
  readonly secrets?: () => Promise<CredentialSource>;
  /** The admin endpoints that may change things, mode 0600. */
  readonly adminSocketPath: string;
  /** Which Pods have a sidecar; default: all. */
  readonly membership?: Membership;
  /** Whether this one takes the steps of a rotation; absent: it is alone. */
  readonly isLeader?: () => boolean;
  /** What other control planes of this mesh hold a rotation up with; absent: there are none. */
  readonly elsewhere?: (gate: PhaseGate) => readonly string[];
  /** Whether there are any that may have issued what is still valid. */
  readonly hasOthers?: () => boolean;
  /** Why it should get no traffic now; absent: it always may. */
  readonly unready?: () => readonly string[];
}
