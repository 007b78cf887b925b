// Where the registry's objects come from: the newest state of a source, and word of each change.
import type { KubeResource } from '@weft/kube/resource';
import type { Snapshot } from '@weft/model/mesh/objects';
import type { PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';

/** Which object of a cluster a policy was read from, and how that went: what its status is about. */
export interface ObjectOrigin {
  readonly resource: KubeResource;
  readonly uid: string;
  /** Of the newest version: the one in force when `isGood`. */
  readonly generation: number;
  readonly resourceVersion: string;
  /** The newest version could be read. Errors among `problems` may keep it out of force all the same. */
  readonly isGood: boolean;
  readonly problems: readonly Problem[];
  /** As it stands in the cluster. */
  readonly status: PlainObject | undefined;
}

export interface SourceState {
  readonly snapshot: Snapshot;
  /** What is wrong with what the source was given; in the order of files, lines and fields. */
  readonly problems: readonly Problem[];
  /** When the newest of what changed last was written, by the writer's clock; absent when the source cannot tell. */
  readonly writtenAtMs?: number;
  /** Of policies and MeshConfigs, by `KIND/NAMESPACE/NAME`; of two kinds' objects of one name Weft's own. */
  readonly origins?: ReadonlyMap<string, ObjectOrigin>;
}

export interface Source extends AsyncDisposable {
  /** Newest state; the first one is there when the source has been opened. */
  readonly state: SourceState;
  /** Called after each change of snapshot, problems or origins, coalesced. */
  subscribe(listener: () => void): Disposable;
}
