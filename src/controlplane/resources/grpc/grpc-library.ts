// Which gRPC library asks, told by what it says of itself: what its resources may hold depends on it.
import type { GrpcLibrary, NodeClaim } from '../../serve/view-source.ts';

/** What the libraries' `user_agent_name` begins with: `gRPC Go`, `gRPC Node Pure JS`, `gRPC C-core linux`, `gRPC Java`. */
const AGENT_PREFIX = 'grpc ';
const GO_PREFIX = 'grpc go';
const CORE_PREFIX = 'grpc c-core';

/**
 * A claim, and no proof: it chooses the form of what the workload may be told anyway.
 * @returns `undefined` for proxies.
 */
export function grpcLibraryOf({
  userAgent,
}: Pick<NodeClaim, 'userAgent'>): GrpcLibrary | undefined {
  const agent = userAgent.toLowerCase();
  if (!agent.startsWith(AGENT_PREFIX)) return undefined;
  if (agent.startsWith(CORE_PREFIX)) return 'core';
  return agent.startsWith(GO_PREFIX) ? 'go' : 'other';
}
