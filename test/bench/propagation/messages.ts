// What the benchmark and its fleet of proxies say to each other.
import type { ResourceKind } from '@weft/xds/resource';
import type { Variant } from './response.ts';

/** Names by kind. */
export type Wanted = { readonly [K in ResourceKind]?: readonly string[] };

export interface FleetMember {
  /** `app-7.shop`, the Pod it is. */
  readonly node: string;
  /** What it says its `node.cluster` is; default `bench`. */
  readonly cluster?: string;
  readonly keyPem: string;
  readonly chainPem: string;
  /** What it asks for; default its inbound listener. */
  readonly wanted?: Wanted;
  /** Whether it asks for what its inbound listener names as well, as a sidecar does; default unless `wanted` is given. */
  readonly isFollowing?: boolean;
}

/** A text that so many proxies are to acknowledge. */
export interface Expected {
  readonly marker: string;
  readonly acknowledgements: number;
}

export type ToFleet =
  | {
      readonly kind: 'connect';
      readonly xds: string;
      readonly bundlePem: string;
      readonly controlPlaneId: string;
      readonly members: readonly FleetMember[];
      /** Default `delta`. */
      readonly variant?: Variant;
      /** Proxies that connect at once; default 25. */
      readonly atOnce?: number;
    }
  /** Tell when everybody, or as many as are named, has acknowledged a response that holds the text. */
  | { readonly kind: 'expect'; readonly marker: string }
  | { readonly kind: 'expect-all'; readonly expected: readonly Expected[] }
  /** Close every connection, and tell; then connect again all at once, with nothing held. */
  | { readonly kind: 'disconnect' | 'reconnect' }
  /** Tell what was read and written so far, and what is held. */
  | { readonly kind: 'tell' };

export interface FleetAccount {
  /** In messages of the protocol with their prefixes, of all streams since the start. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly responses: number;
  /** Of every resource that every proxy holds: equal digests mean equal bytes everywhere. */
  readonly digest: string;
  readonly resources: number;
}

export type FromFleet =
  | { readonly kind: 'started' | 'connected' | 'expecting' | 'disconnected' }
  | { readonly kind: 'lost'; readonly reason: string }
  | ({ readonly kind: 'account' } & FleetAccount)
  /** Times are of the machine's monotonic clock, which all its processes share. */
  | { readonly kind: 'reconnected'; readonly startedAtMs: number; readonly lastAtMs: number }
  | { readonly kind: 'acknowledged'; readonly firstAtMs: number; readonly lastAtMs: number };

export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;
