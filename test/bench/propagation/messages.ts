// What the benchmark and its fleet of proxies say to each other.

export interface FleetMember {
  /** `app-7.shop`, the Pod it is. */
  readonly node: string;
  readonly keyPem: string;
  readonly chainPem: string;
}

export type ToFleet =
  | {
      readonly kind: 'connect';
      readonly xds: string;
      readonly bundlePem: string;
      readonly controlPlaneId: string;
      readonly members: readonly FleetMember[];
    }
  /** Tell when everybody has acknowledged a listener that holds this text. */
  | { readonly kind: 'expect'; readonly marker: string };

export type FromFleet =
  | { readonly kind: 'started' | 'connected' | 'expecting' }
  | { readonly kind: 'lost'; readonly reason: string }
  /** On the machine's monotonic clock, which all its processes share. */
  | { readonly kind: 'acknowledged'; readonly firstAtMs: number; readonly lastAtMs: number };

export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;
