// Whether a Pod gets a sidecar, and the Pod with it: Pod in, Pod out, and the same again for a Pod that has one already.
import { Reader, type PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { checkPod } from './check-pod.ts';
import { isInForce } from './in-force.ts';
import {
  ANNOTATIONS,
  INJECTED_ANNOTATION,
  type PodAnnotations,
  readAnnotations,
} from './annotations.ts';
import { buildParts, CAPTURE_NAME, type InjectedParts } from './containers.ts';
import { withCredentials } from './credentials-volume.ts';
import { hasNoProxy, withGrpc } from './grpc-parts.ts';
import { type InjectedRecord, readRecord, templateOf } from './injected-record.ts';
import { annotationsOf, checkShape, containersOf, listAt, objectAt, textAt } from './pod-shape.ts';
import { probesAsTheyAre, rewriteProbes, type RewrittenProbes } from './probes.ts';
import { readOpt } from './opt.ts';
import type { InjectionSettings } from './settings.ts';
import { uninjectPod } from './uninject-pod.ts';
import { withWorkloadApi } from './workload-api-volume.ts';

export type InjectOutcome =
  | {
      readonly kind: 'injected';
      readonly pod: PlainObject;
      /** What its author should know; each a sentence without a full stop. */
      readonly warnings: readonly string[];
    }
  | Left
  | Refusal;

export interface Left {
  readonly kind: 'left';
  readonly reason: string;
  /** It has its sidecar: nothing is missing. */
  readonly isDone: boolean;
}

export interface Refusal {
  readonly kind: 'refused';
  /** The problems as one sentence. */
  readonly reason: string;
  readonly problems: readonly Problem[];
}

export const refused = (problems: readonly Problem[]): Refusal => ({
  kind: 'refused',
  problems,
  reason: problems
    .map(({ field, message, cure }) =>
      [field === undefined ? message : `${field}: ${message}`, cure]
        .filter((part) => part !== undefined)
        .join(' — '),
    )
    .join('; '),
});

const left = (reason: string): Left => ({ kind: 'left', reason, isDone: false });

/** @param pod a Pod, or a workload's template: `metadata` and `spec` */
export function injectPod(pod: PlainObject, settings: InjectionSettings): InjectOutcome {
  const reader = new Reader();
  checkShape(reader, pod);
  if (reader.problems.length > 0) return refused(reader.problems);
  if (readOpt(reader, pod) === false) return left(OPTED_OUT);
  if (reader.problems.length > 0) return refused(reader.problems);
  const reason = whyLeft(objectAt(pod, 'spec'));
  if (reason !== undefined) return left(reason);
  const before = uninjectPod(pod);
  const bare = before.kind === 'uninjected' ? before.pod : pod;
  const warnings: string[] = [];
  const asked = readAnnotations(reader, annotationsOf(bare), 'metadata.annotations', (text) =>
    warnings.push(text),
  );
  checkPod({ pod: bare, asked, settings, reader, warn: (text) => warnings.push(text) });
  if (reader.problems.length > 0) return refused(reader.problems);
  const injected = assemble(bare, asked, settings);
  // Nothing that was asked for is missing: what others added since (defaults, labels, mounts) stays as it is.
  if (readRecord(pod) !== undefined && isInForce(pod, injected.pod)) {
    return { kind: 'left', reason: 'it has its sidecar already', isDone: true };
  }
  return { ...injected, kind: 'injected', warnings: [...warnings, ...injected.warnings] };
}

const OPTED_OUT = `it says ${ANNOTATIONS.inject.name}: "false"`;

function whyLeft(spec: PlainObject): string | undefined {
  if (spec['hostNetwork'] === true) {
    return 'it uses the network of its node (hostNetwork: true): turning its traffic would turn that of the whole node';
  }
  if (textAt(objectAt(spec, 'os'), 'name') === 'windows') return 'it runs on Windows';
  return undefined;
}

interface Assembled {
  readonly pod: PlainObject;
  readonly warnings: readonly string[];
}

function assemble(pod: PlainObject, asked: PodAnnotations, settings: InjectionSettings): Assembled {
  const spec = objectAt(pod, 'spec');
  const direct = new Set(asked.excludeInboundPorts);
  const rewritten = hasNoProxy(asked)
    ? probesAsTheyAre
    : rewriteProbes(containersOf(spec), (port) => direct.has(port));
  const parts = buildParts({ settings, asked, spec, probes: rewritten.probes });
  const metadata = objectAt(pod, 'metadata');
  const annotations = {
    ...annotationsOf(pod),
    [INJECTED_ANNOTATION]: JSON.stringify(recordOf(parts, rewritten, settings)),
  };
  return {
    pod: {
      ...pod,
      metadata: { ...metadata, annotations },
      spec: {
        ...spec,
        ...placed(spec, parts, rewritten.containers, asked),
        volumes: [...listAt(spec, 'volumes'), ...parts.volumes],
      },
    },
    warnings: rewritten.warnings,
  };
}

/**
 * Native: first the redirect, then the sidecar, then the Pod's own init containers, which so have both. Classic: the
 * Pod's own come first, since with the redirect and without a sidecar they would reach nobody.
 */
function placed(
  spec: PlainObject,
  { capture, sidecar }: InjectedParts,
  changed: ReadonlyMap<string, PlainObject>,
  asked: PodAnnotations,
): PlainObject {
  const isClassic = asked.sidecarMode === 'classic';
  const own = (key: string): readonly PlainObject[] =>
    listAt(spec, key).map((container) => {
      const probed = changed.get(textAt(container, 'name') ?? '') ?? container;
      return withGrpc(withWorkloadApi(withCredentials(probed, asked), asked), asked);
    });
  const step = capture === undefined ? [] : [capture];
  const init = own('initContainers');
  const initContainers = isClassic ? [...init, ...step] : [...step, sidecar, ...init];
  const containers = own('containers');
  return {
    ...(initContainers.length === 0 ? {} : { initContainers }),
    containers: isClassic ? [sidecar, ...containers] : containers,
  };
}

function recordOf(
  { capture, sidecar, volumes }: InjectedParts,
  { originals }: RewrittenProbes,
  settings: InjectionSettings,
): InjectedRecord {
  const nameOf = (entry: PlainObject): string => textAt(entry, 'name') ?? '';
  return {
    version: settings.version,
    template: templateOf(settings, sidecar['image']),
    containers: [...(capture === undefined ? [] : [CAPTURE_NAME]), nameOf(sidecar)],
    volumes: volumes.map(nameOf),
    ...(Object.keys(originals).length === 0 ? {} : { probes: originals }),
  };
}
