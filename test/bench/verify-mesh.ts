// Verifies a pair in the words of what is measured through it: HTTP/1.1, HTTP/2 and gRPC, or TCP.
import type { Pair } from './peers/pairs.ts';
import type { MeshSpec } from './scenario.ts';
import { verifyHttp2Pair } from './verify-http2.ts';
import { type Verified, type VerifyOptions, verifyPair } from './verify-pair.ts';
import { verifyTcpPair } from './verify-tcp.ts';

/** @throws Error that says which check failed. */
export function verifyMeshPair(
  pair: Pair,
  options: VerifyOptions & { readonly mesh: MeshSpec },
): Promise<Verified> {
  const { app } = options.mesh;
  switch (app) {
    case 'http1':
      return verifyPair(pair, options);
    case 'h2c':
    case 'grpc':
      return verifyHttp2Pair(pair, options);
    case 'tcp':
      return verifyTcpPair(pair, options);
    default:
      return app satisfies never;
  }
}
