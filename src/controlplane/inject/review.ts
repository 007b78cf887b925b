// The injector's answer to one admission request of the API server: what is patched, refused or left, and what is said about it.
import { isPlainObject, type PlainObject, Reader } from '@weft/model/policy/reader';
import { ANNOTATIONS, INJECTION_LABEL } from './annotations.ts';
import { injectPod } from './inject-pod.ts';
import { jsonPatchOf, type PatchOperation } from './json-patch.ts';
import { readOpt } from './opt.ts';
import { objectAt, textAt } from './pod-shape.ts';
import { type InjectionSettings, whyNever } from './settings.ts';

/** The parts of an AdmissionReview's response that the injector decides. */
export interface InjectionReview {
  readonly allowed: boolean;
  /** Absent: nothing is changed. */
  readonly patch?: readonly PatchOperation[];
  /** Why it is not allowed, with fields and cures. */
  readonly message?: string;
  /** HTTP status of a refusal: the object itself is wrong. */
  readonly code?: 422;
  /** Shown by kubectl to whoever creates the Pod. */
  readonly warnings: readonly string[];
  /** For the API server's audit log; it puts the webhook's name before each key. */
  readonly auditAnnotations: Readonly<Record<string, string>>;
}

/** Kubernetes asks for warnings of at most this length, and cuts what is longer. */
const MAX_WARNING = 256;
const MAX_WARNINGS = 16;
/** An audit annotation is for a line in a log. */
const MAX_AUDIT = 1_024;

const audited = (text: string): Readonly<Record<string, string>> => ({
  injection: text.slice(0, MAX_AUDIT),
});

const left = (reason: string, isSaid: boolean): InjectionReview => ({
  allowed: true,
  warnings: isSaid ? [`weft: this Pod gets no sidecar: ${reason}`.slice(0, MAX_WARNING)] : [],
  auditAnnotations: audited(`left: ${reason}`),
});

/**
 * The API server asks only for Pods that its webhook configuration selects, so that being asked is a reason to inject:
 * what the control plane knows of a namespace may be older than the label that the API server went by. Only a word
 * against it counts: the Pod's own, or `disabled` of the namespace where the Pod says nothing.
 * @param request the `request` of an AdmissionReview v1
 * @param namespaceLabels as far as they are known
 */
export function reviewInjection(
  request: PlainObject,
  settings: InjectionSettings,
  namespaceLabels: ReadonlyMap<string, string> | undefined,
): InjectionReview {
  const pod = request['object'];
  if (!isCreationOfPod(request) || !isPlainObject(pod)) {
    return left('the request is not to create a Pod', false);
  }
  const namespace = textAt(request, 'namespace') ?? '';
  const reader = new Reader();
  const opt = readOpt(reader, pod);
  const never = whyNever(namespace, settings);
  if (never !== undefined) return left(never, opt === true);
  if (opt === undefined && reader.problems.length === 0) {
    const label = namespaceLabels?.get(INJECTION_LABEL);
    if (label === 'disabled') return left(`its namespace is labelled ${INJECTION_LABEL}`, false);
  }
  return answer(pod, settings, opt);
}

function answer(
  pod: PlainObject,
  settings: InjectionSettings,
  opt: boolean | undefined,
): InjectionReview {
  const outcome = injectPod(pod, settings);
  switch (outcome.kind) {
    case 'left':
      return left(outcome.reason, opt !== false && !outcome.isDone);
    case 'refused':
      return {
        allowed: false,
        code: 422,
        message: `${outcome.reason}; or opt the Pod out: ${ANNOTATIONS.inject.name}: "false"`,
        warnings: [],
        auditAnnotations: audited(`refused: ${outcome.reason}`),
      };
    case 'injected':
      return {
        allowed: true,
        patch: jsonPatchOf(pod, outcome.pod),
        warnings: outcome.warnings
          .slice(0, MAX_WARNINGS)
          .map((text) => `weft: ${text}`.slice(0, MAX_WARNING)),
        auditAnnotations: audited('injected'),
      };
  }
  return outcome satisfies never;
}

function isCreationOfPod(request: PlainObject): boolean {
  const target = objectAt(request, 'resource');
  return (
    request['operation'] === 'CREATE' &&
    textAt(target, 'resource') === 'pods' &&
    (textAt(target, 'group') ?? '') === '' &&
    (textAt(request, 'subResource') ?? '') === ''
  );
}
