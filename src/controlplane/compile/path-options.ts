// How a workload's paths are read: what its Pod says of it and of the application behind, else what holds for the mesh.
import type { MeshSettings } from '@weft/model/mesh/mesh';
import type { PodObject } from '@weft/model/mesh/objects';
import {
  AMBIGUOUS_PATHS,
  APPLICATION_PRESETS,
  type PathOptions,
} from '@weft/model/policy/ambiguous-path';
import type { PathNormalization } from '@weft/model/policy/path';
import { shown } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';

/** Annotations of a Pod. */
const NORMALIZATION = 'weft.dev/path-normalization';
const AMBIGUOUS = 'weft.dev/ambiguous-paths';
const APPLICATION = 'weft.dev/application';

const MODES: readonly PathNormalization[] = [
  'NONE',
  'BASE',
  'MERGE_SLASHES',
  'DECODE_AND_MERGE_SLASHES',
];

/**
 * The mode of its own holds before that of the application, and that before the mesh's. Ambiguous paths are refused
 * where the mesh, the Pod or the application asks for it: no Pod takes back what the mesh refuses. An annotation that
 * cannot be read has every ambiguous path refused.
 */
export function readPathOptions(
  { meta }: PodObject,
  settings: MeshSettings,
): { readonly paths: PathOptions | undefined; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const read = <T>(key: string, known: ReadonlyMap<string, T>): T | undefined => {
    const text = meta.annotations.get(key);
    const value = text === undefined ? undefined : known.get(text);
    if (text !== undefined && value === undefined) {
      problems.push({
        severity: 'error',
        code: 'unknown-value',
        field: `metadata.annotations.${key}`,
        message: `unknown value ${shown(text)}: every ambiguous path is refused until it is known`,
        cure: `write one of ${[...known.keys()].join(', ')}`,
        object: { kind: 'Pod', namespace: meta.namespace, name: meta.name },
      });
    }
    return value;
  };
  const mode = read(NORMALIZATION, new Map(MODES.map((each) => [each, each])));
  const preset = read(APPLICATION, APPLICATION_PRESETS);
  const word = read(
    AMBIGUOUS,
    new Map([
      ['refuse', true],
      ['normalize', false],
    ]),
  );
  const isAll = word === true || settings.ambiguousPaths === 'REFUSE' || problems.length > 0;
  const refused = isAll ? AMBIGUOUS_PATHS : (preset?.refused ?? []);
  const normalization = mode ?? preset?.normalization ?? settings.pathNormalization;
  const isMeshOnly = refused.length === 0 && normalization === settings.pathNormalization;
  return { paths: isMeshOnly ? undefined : { normalization, refused }, problems };
}
