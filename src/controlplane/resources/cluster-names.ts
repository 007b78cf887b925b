// How clusters are named: by where they lead.

/** Where the client was going in the first place. */
export const PASSTHROUGH_CLUSTER = 'passthrough';
/** Nowhere. */
export const BLACKHOLE_CLUSTER = 'blackhole';

/** The workload's own application. */
export const inboundClusterName = (port: number): string => `inbound|${port}||`;

/** One address, called as such. */
export const endpointClusterName = (port: number, ip: string): string => `endpoint|${port}||${ip}`;

/** Nowhere, for hosts outside that are known and that the caller may not call. */
export const FORBIDDEN_CLUSTER = 'forbidden';
