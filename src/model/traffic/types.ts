// TrafficPolicies as they were written and found valid: what of a workload's traffic is held back, limited or disturbed.
import type { Rule } from '../policy/types.ts';
import type { CallSections } from './call-types.ts';

/** A Service of the policy's own namespace. */
export interface ServiceRef {
  readonly name: string;
}

/**
 * A part that is not there says nothing, and the next wider policy's holds: Service or selector, then namespace, then
 * mesh (see `compose.ts`).
 */
export interface TrafficPolicy extends TrafficSections {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  /** Absent: every workload of the namespace; in the root namespace of the mesh. Never together with targets. */
  readonly selector: ReadonlyMap<string, string> | undefined;
  readonly targetRefs: readonly ServiceRef[];
}

/** The sections of `spec`, each read in its own file: `parse-SECTION.ts`. */
export interface TrafficSections extends CallSections {
  readonly faults?: readonly Fault[];
  readonly throttling?: readonly Throttle[];
  readonly floods?: Floods;
  readonly limits?: RequestLimits;
}

/** What happens to a share of requests on purpose. */
export interface Fault {
  /** For metrics and logs; no other fault of the policy has it. */
  readonly name: string;
  /** One of these must match; absent: every request. */
  readonly rules: readonly Rule[] | undefined;
  readonly delay?: { readonly percent: number; readonly durationMs: number };
  readonly abort?: { readonly percent: number; readonly status: number };
  /** From then on nothing happens, by the sidecar's clock. */
  readonly untilMs?: number;
}

/** What a request is counted under, each part by itself. `rule`: which of the throttle's rules matched. */
export type ThrottleKey =
  | { readonly kind: 'caller' | 'address' | 'host' | 'method' | 'path' | 'rule' }
  /** Its name in lower case. */
  | { readonly kind: 'header'; readonly name: string };

/** A token bucket for each key: `burst` at most, filled by `requests` each `intervalMs`. */
export interface Throttle {
  readonly name: string;
  readonly rules: readonly Rule[] | undefined;
  /** Empty: one bucket for all. */
  readonly key: readonly ThrottleKey[];
  readonly requests: number;
  readonly intervalMs: number;
  readonly burst: number;
  /** Buckets that are kept apart; see docs/traffic-limits.md for what happens beyond. */
  readonly maxKeys: number;
}

export const FLOOD_EVENTS = [
  'connections',
  'handshakes',
  'requests',
  'resets',
  'slowReads',
] as const;
export type FloodEvent = (typeof FLOOD_EVENTS)[number];

/** Clients that do too much of something, by their address. */
export interface Floods {
  readonly action: 'log' | 'slow' | 'drop';
  /** The time over which events are counted: an event counts e⁻¹ after it. */
  readonly windowMs: number;
  /** How many within the window are a flood. */
  readonly thresholds: { readonly [K in FloodEvent]?: number };
  /** Clients that are never counted, besides the mesh's own probes: networks in canonical text. */
  readonly exempt: readonly string[];
  readonly maxClients: number;
}

export interface RequestLimits {
  /** Of all header fields and the pseudo-headers: names and values. 431 beyond. */
  readonly maxHeaderBytes?: number;
  readonly maxHeaders?: number;
  /** 413 beyond, also where no length was declared. */
  readonly maxBodyBytes?: number;
  /** How long a client may take from its head to the end of its body; 408 beyond. */
  readonly bodyTimeoutMs?: number;
  /** 405 for others. */
  readonly methods?: readonly string[];
  /** Media types that bodies may have, in lower case; `type/*` allows all of a type. 415 for others. */
  readonly contentTypes?: readonly string[];
}
