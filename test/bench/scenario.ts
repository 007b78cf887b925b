// Decides what a scenario of the data plane is: a mesh, a load, and which of our load drivers makes it; plain data, so that a run's JSON says it all.
import type { PairName } from './peers/pairs.ts';

/** What answers behind the proxies. */
export type AppName = 'http1' | 'h2c' | 'grpc' | 'tcp';
/** Who makes the load: `load/drivers.ts` has them by name. */
export type DriverName = 'generator' | 'h2load' | 'grpc' | 'tcp' | 'connections';

/** What the pairs are set up for; scenarios of one mesh are measured on the same processes. */
export interface MeshSpec {
  /** One word for tables: `two policies`. */
  readonly name: string;
  readonly app: AppName;
  /** The Service port's name, which says the protocol: `http`, `http2-api`, `grpc-api`, `tcp-lines`. */
  readonly port: string;
  /** `two`: one DENY by path, one ALLOW by caller and method. A number: so many, the last one decides. */
  readonly rules: 'two' | number;
  /** Every request needs a valid token of the benchmark's issuer. */
  readonly isJwtRequired?: boolean;
  /** Sections of a TrafficPolicy for the called workload, by which nothing is refused. */
  readonly traffic?: Readonly<Record<string, unknown>>;
}

/** What a driver is asked for; each reads the fields that mean something to it. */
export interface LoadSpec {
  readonly path: string;
  readonly connections: number;
  /** In flight on each connection; HTTP/2 and gRPC. Default 1. */
  readonly streams?: number;
  /** Requests a second over all connections; absent: as many as are answered. */
  readonly rate?: number;
  /** Sends a body of this size by PUT. */
  readonly uploadBytes?: number;
  /** `each`: a connection to the caller's proxy for each request. `handshake`: mutual TLS straight to the called one's. */
  readonly newConnection?: 'each' | 'handshake';
  /** What a driver's own scenarios need more: `{ shape: 'stream' }`. */
  readonly more?: Readonly<Record<string, string | number>>;
}

export interface Scenario {
  readonly name: string;
  readonly mesh: MeshSpec;
  /** The first that can be had here is used, and named in the result. */
  readonly drivers: readonly DriverName[];
  readonly load: LoadSpec;
  /** What is counted; default `request`. CPU is µs of one. */
  readonly unit?: 'request' | 'message' | 'connection' | 'MB';
  /** Default: all that can serve the mesh. */
  readonly pairs?: readonly PairName[];
  /** CPU is counted of the called proxy alone; default: of both together. */
  readonly isCalledOnly?: boolean;
  /** Rounds of at least this, where setting up takes a part of one that would be counted as work. */
  readonly minRoundMs?: number;
  /** Part of `--quick`. */
  readonly isQuick?: boolean;
}

/** @param only parts of names, `gRPC` or `100 B, 32`, case aside; one that fits is enough */
export function chosenOf(
  scenarios: readonly Scenario[],
  how: { readonly only: readonly string[]; readonly isQuick: boolean },
): readonly Scenario[] {
  const wanted = how.only.map((text) => text.toLowerCase());
  const chosen = scenarios.filter(({ name, mesh, isQuick }) => {
    const text = `${name}, ${mesh.name}`.toLowerCase();
    const isNamed = wanted.length === 0 || wanted.some((part) => text.includes(part));
    return isNamed && (!how.isQuick || isQuick === true);
  });
  if (chosen.length === 0) {
    const names = scenarios.map(({ name, mesh }) => `${name} (${mesh.name})`).join('\n  ');
    throw new Error(`Cannot measure ${how.only.join(', ')}: no such scenario\n  ${names}`);
  }
  return chosen;
}
