// A Pod as it was before injection, from what injection wrote down in it.
import type { PlainObject } from '@weft/model/policy/reader';
import { INJECTED_ANNOTATION } from './annotations.ts';
import { RESERVED_CONTAINERS, RESERVED_VOLUMES } from './containers.ts';
import { withoutCredentials } from './credentials-volume.ts';
import { withoutGrpc } from './grpc-parts.ts';
import { readRecord } from './injected-record.ts';
import { annotationsOf, listAt, objectAt, textAt, without, withPart } from './pod-shape.ts';
import { restoreProbes } from './probes.ts';
import { withoutWorkloadApi } from './workload-api-volume.ts';

export type UninjectOutcome =
  | { readonly kind: 'uninjected'; readonly pod: PlainObject }
  /** Nothing to undo. */
  | { readonly kind: 'left'; readonly reason: string };

/**
 * Takes away only what has a name of Weft's, whatever the record says: a record is text that anybody may have written.
 * Lists and mappings that end up empty go too.
 */
export function uninjectPod(pod: PlainObject): UninjectOutcome {
  const record = readRecord(pod);
  if (record === undefined) {
    return { kind: 'left', reason: `it has no annotation ${INJECTED_ANNOTATION}` };
  }
  const originals = record === 'unreadable' ? {} : (record.probes ?? {});
  const spec = objectAt(pod, 'spec');
  const keep =
    (reserved: readonly string[]) =>
    (entry: PlainObject): boolean =>
      !reserved.includes(textAt(entry, 'name') ?? '');
  const containers = (key: string): readonly PlainObject[] =>
    listAt(spec, key)
      .filter(keep(RESERVED_CONTAINERS))
      .map((container) =>
        withoutGrpc(withoutWorkloadApi(withoutCredentials(restoreProbes(container, originals)))),
      );
  let bare = withPart(spec, 'initContainers', containers('initContainers'));
  bare = withPart(bare, 'containers', containers('containers'));
  bare = withPart(bare, 'volumes', listAt(spec, 'volumes').filter(keep(RESERVED_VOLUMES)));
  const metadata = withPart(
    objectAt(pod, 'metadata'),
    'annotations',
    without(annotationsOf(pod), INJECTED_ANNOTATION),
  );
  return { kind: 'uninjected', pod: { ...withPart(pod, 'metadata', metadata), spec: bare } };
}
