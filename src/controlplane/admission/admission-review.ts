// Reads what the API server asks a webhook, AdmissionReview v1, and writes the answer; what is not one is refused with what is wrong.
import { isPlainObject, type PlainObject, shown } from '@weft/model/policy/reader';

export const REVIEW_VERSION = 'admission.k8s.io/v1';
/** Objects of Kubernetes are some 30 levels deep, with the bookkeeping of their fields. */
const MAX_DEPTH = 128;
/** A UUID, with room. */
const MAX_UID = 128;
/** Kubernetes cuts warnings that are longer, and all of them together at 4 KiB. */
const MAX_WARNING = 256;
const MAX_WARNINGS = 16;
const MAX_MESSAGE = 8_192;

/** What is decided of one request. */
export interface AdmissionDecision {
  readonly allowed: boolean;
  /** JSON Patch, RFC 6902. Absent or empty: nothing is changed. */
  readonly patch?: readonly object[];
  /** Why it is not allowed, with fields and cures. */
  readonly message?: string;
  /** HTTP status of a refusal: 403 unless the object itself is wrong (422) or we are (500). */
  readonly code?: 403 | 422 | 500;
  /** Shown by kubectl to whoever asked. */
  readonly warnings: readonly string[];
  /** For the API server's audit log. */
  readonly auditAnnotations: Readonly<Record<string, string>>;
}

export type ReadReview =
  | { readonly ok: true; readonly uid: string; readonly request: PlainObject }
  | { readonly ok: false; readonly reason: string };

const no = (reason: string): ReadReview => ({ ok: false, reason });

export function readReview(body: Uint8Array): ReadReview {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return no('the body is no UTF-8');
  }
  if (isTooDeep(text)) return no(`the body has more than ${MAX_DEPTH} levels`);
  let review: unknown;
  try {
    review = JSON.parse(text);
  } catch (error) {
    return no(`the body is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isPlainObject(review)) return no('the body is no JSON object');
  const { kind, apiVersion, request } = review;
  if (kind !== 'AdmissionReview') return no('the body is no AdmissionReview');
  if (apiVersion !== REVIEW_VERSION) {
    const version = typeof apiVersion === 'string' ? shown(apiVersion) : 'no version';
    return no(
      `the AdmissionReview is of ${version}, and ${REVIEW_VERSION} alone is answered: set admissionReviewVersions: ["v1"] in the webhook configuration`,
    );
  }
  if (!isPlainObject(request)) return no('the AdmissionReview has no request');
  const { uid } = request;
  if (typeof uid !== 'string' || uid === '' || uid.length > MAX_UID) {
    return no('the request of the AdmissionReview has no uid');
  }
  return { ok: true, uid, request };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Looked at before the parser sees it: what is walked later is walked by recursion. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  let isInText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isInText) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) isInText = false;
    } else if (code === QUOTE) isInText = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}

const cut = (text: string, limit: number): string =>
  text.length > limit ? `${text.slice(0, limit - 1)}…` : text;

/** As the API server takes it. */
export function writeReview(uid: string, decision: AdmissionDecision): string {
  const { allowed, patch, message, code, warnings, auditAnnotations } = decision;
  const status = allowed
    ? undefined
    : {
        message: cut(message ?? 'refused without a reason', MAX_MESSAGE),
        code: code ?? 403,
        reason: code === 422 ? 'Invalid' : code === 500 ? 'InternalError' : 'Forbidden',
      };
  const response = {
    uid,
    allowed,
    ...(status && { status }),
    ...(allowed &&
      patch !== undefined &&
      patch.length > 0 && {
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }),
    ...(warnings.length > 0 && {
      warnings: warnings.slice(0, MAX_WARNINGS).map((text) => cut(text, MAX_WARNING)),
    }),
    ...(Object.keys(auditAnnotations).length > 0 && { auditAnnotations }),
  };
  return JSON.stringify({ apiVersion: REVIEW_VERSION, kind: 'AdmissionReview', response });
}
