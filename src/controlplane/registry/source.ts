// Where the registry's objects come from: the newest state of a source, and word of each change.
import type { Snapshot } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';

export interface SourceState {
  readonly snapshot: Snapshot;
  /** What is wrong with what the source was given; in the order of files, lines and fields. */
  readonly problems: readonly Problem[];
  /** When the newest of what changed last was written, by the writer's clock; absent when the source cannot tell. */
  readonly writtenAtMs?: number;
}

export interface Source extends AsyncDisposable {
  /** Newest state; the first one is there when the source has been opened. */
  readonly state: SourceState;
  /** Called after each change of snapshot or problems, coalesced. */
  subscribe(listener: () => void): Disposable;
}
