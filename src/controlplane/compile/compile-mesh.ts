// Compiles a snapshot into the mesh from nothing: what keeping it compiled must come to, too.
import type { Mesh } from '@weft/model/mesh/mesh';
import type { Snapshot } from '@weft/model/mesh/objects';
import type { FetchedKeys } from '@weft/model/policy/token-rules';
import { MeshCompiler } from './mesh-compiler.ts';
import type { MeshIdentity } from './mesh-settings.ts';

export interface MeshInput extends Snapshot {
  /** Keys of token issuers, as far as they were fetched. */
  readonly keys?: FetchedKeys;
}

/**
 * The same objects give the same mesh, in whatever order they come; `previous` decides only which objects are
 * shared with it, never what they say.
 */
export const compileMesh = (input: MeshInput, identity: MeshIdentity, previous?: Mesh): Mesh =>
  new MeshCompiler(identity, previous).compile(input);
