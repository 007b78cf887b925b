// The seam between what the mesh is (compile, resources) and who is served (streams): who a proxy is, and its view.
import type { SpiffeId } from '@weft/model/identity';
import type { OpaqueKind, ResourceView } from '@weft/xds/resource';

/** What a stream's first request says of its proxy. Claims only: nothing here is believed unchecked. */
export interface NodeClaim {
  /** `POD.NAMESPACE`. */
  readonly id: string;
  readonly cluster: string;
  /** From `node.metadata`; strings only, others are dropped. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly userAgent: string;
}

/** A proxy whose claim was found to agree with the identity its certificate proves. */
export interface ProxyRef {
  readonly id: string;
  readonly identity: SpiffeId;
  readonly namespace: string;
  readonly workload: string;
  /** It is a gRPC library and no proxy, which is told resources of another form. Absent: a proxy. */
  readonly grpc?: GrpcLibrary;
}

/** `go` takes more than every library does; `core` (C++, Python, Ruby, …) keeps time in its own way. */
export const GRPC_LIBRARIES = ['core', 'go', 'other'] as const;
export type GrpcLibrary = (typeof GRPC_LIBRARIES)[number];

export type ProxyResolution =
  | { readonly ok: true; readonly proxy: ProxyRef }
  /** `reason` is for the log and the proxy alike: it names no other workload's facts. */
  | {
      readonly ok: false;
      readonly code: 'unknown-workload' | 'identity-mismatch' | 'bad-claim';
      readonly reason: string;
    };

/** What may be other than before; what is not named is what it was. */
export interface ViewChange {
  /** Everything may be. */
  readonly isAll: boolean;
  /** Proxies whose own workload has changed: who they are, and what they let in. */
  readonly proxies: ReadonlySet<string>;
  /** Of resources that are anybody's, whatever their kind. */
  readonly names: ReadonlySet<string>;
}

export interface ViewSource {
  resolve(claim: NodeClaim, identity: SpiffeId): ProxyResolution;
  /** The proxy's view at the newest revision; cheap, for it is asked at every change. */
  viewFor(proxy: ProxyRef): ResourceView;
  /** Whether views hold resources of a type that nothing here reads; absent: of none. */
  readonly servesType?: (typeUrl: OpaqueKind) => boolean;
  /** Called after every new revision, already coalesced. */
  subscribe(listener: (change: ViewChange) => void): Disposable;
}
