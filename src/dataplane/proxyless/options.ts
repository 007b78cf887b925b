// What the agent of gRPC programs without a proxy is told at its start.
import type { Owner } from '../credentials/options.ts';
import type { AllowedCallers } from '../credentials/options.ts';
import type { MeshSidecarOptions } from '../options.ts';

/** How the programs reach the control plane. */
export type GrpcDiscovery =
  /** By a Unix socket of the agent, which carries their streams over its own mutual TLS. */
  | { readonly kind: 'agent'; readonly allowed: AllowedCallers }
  /** By themselves, with the certificate of the files (gRFC A65): not every library can. */
  | { readonly kind: 'direct' };

export interface GrpcOptions {
  /** Where the bootstrap is written; beside it, in `FILE.d`, what it names: certificates, key, bundle and the socket. */
  readonly bootstrapFile: string;
  readonly discovery: GrpcDiscovery;
  /** Whose files they are; absent: the agent's own user's. */
  readonly owner: Owner | undefined;
}

export type ProxylessOptions = MeshSidecarOptions & { readonly grpc: GrpcOptions };
