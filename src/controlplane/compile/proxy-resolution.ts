// Decides whether a proxy is the workload that it says it is.
import type { SpiffeId } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import { grpcLibraryOf } from '../resources/grpc/grpc-library.ts';
import type { NodeClaim, ProxyResolution } from '../serve/view-source.ts';

/**
 * The node's id must be that of a Pod that is known and runs with the identity that the certificate proves. What a
 * proxy is told of a refusal is what it said itself.
 */
export function resolveProxy(mesh: Mesh, claim: NodeClaim, identity: SpiffeId): ProxyResolution {
  const dot = claim.id.lastIndexOf('.');
  if (dot <= 0 || dot === claim.id.length - 1) {
    return { ok: false, code: 'bad-claim', reason: 'the node id is not POD.NAMESPACE' };
  }
  const workload = mesh.workloads.get(claim.id);
  if (workload === undefined) {
    return {
      ok: false,
      code: 'unknown-workload',
      reason: `no Pod ${claim.id} is known; put it into the manifests`,
    };
  }
  if (workload.identity !== identity) {
    const reason = `${identity} is not the identity of Pod ${claim.id}`;
    return { ok: false, code: 'identity-mismatch', reason };
  }
  const { id, namespace, name } = workload;
  const grpc = grpcLibraryOf(claim);
  return { ok: true, proxy: { id, identity, namespace, workload: name, ...(grpc && { grpc }) } };
}
