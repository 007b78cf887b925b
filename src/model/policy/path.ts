// Brings a request's path into the one form that is matched and forwarded, or refuses it.

/** Istio's `pathNormalization.normalization`. */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

export type NormalizedPath =
  /** `target` keeps the query, without fragment: what is forwarded. */
  | { readonly ok: true; readonly target: string }
  | { readonly ok: false; readonly reasonCode: PathRefusal };

export type PathRefusal = 'path-control-byte' | 'path-null' | 'path-dot-parameters';

const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const DOT = 0x2e;
const QUESTION = 0x3f;
const HASH = 0x23;
const SEMICOLON = 0x3b;

const refuse = (reasonCode: PathRefusal): NormalizedPath => ({ ok: false, reasonCode });

/**
 * Normalises a request target (`/path?query#fragment`). The fragment is dropped in every mode and never forwarded
 * (CVE-2021-32779). The query is kept as it is.
 * BASE: unreserved escapes decoded once, `\` to `/`, dot segments resolved (RFC 3986 §5.2.4). MERGE_SLASHES: runs of
 * slashes become one. DECODE_AND_MERGE_SLASHES: `%2f` and `%5c` decoded before that.
 * A null or a control byte, raw or escaped, is refused: no two readers agree on it. So is a dot segment with parameters,
 * `/..;x/`, in every mode but NONE: servlet containers rise by it, others do not (CVE-2026-73553). Parameters elsewhere
 * are part of the path.
 */
export function normalizeTarget(target: string, mode: PathNormalization): NormalizedPath {
  let pathEnd = target.length;
  let end = target.length;
  let isPlain = true;
  for (let at = 0; at < target.length; at++) {
    const code = target.charCodeAt(at);
    if (code <= 0x20 || code === 0x7f)
      return refuse(code === 0 ? 'path-null' : 'path-control-byte');
    if (code === HASH) {
      end = at;
      pathEnd = Math.min(pathEnd, at);
      break;
    }
    if (code === QUESTION && pathEnd === target.length) {
      pathEnd = at;
    } else if (pathEnd === target.length) {
      if (code === PERCENT || code === BACKSLASH) isPlain = false;
      else if (code === SLASH) {
        const next = target.charCodeAt(at + 1);
        if (next === SLASH || next === DOT) isPlain = false;
      }
    }
  }
  if (isPlain || mode === 'NONE') {
    if (mode !== 'NONE' || !target.includes('%00')) {
      return { ok: true, target: end === target.length ? target : target.slice(0, end) };
    }
    return refuse('path-null');
  }
  const path = normalizePath(target.slice(0, pathEnd), mode);
  return path.ok ? { ok: true, target: path.target + target.slice(pathEnd, end) } : path;
}

function normalizePath(raw: string, mode: PathNormalization): NormalizedPath {
  const decoded = decodeOnce(raw, mode === 'DECODE_AND_MERGE_SLASHES');
  if (!decoded.ok) return decoded;
  let path = decoded.target.replaceAll('\\', '/');
  if (hasDotParameters(path)) return refuse('path-dot-parameters');
  const isMerging = mode === 'MERGE_SLASHES' || mode === 'DECODE_AND_MERGE_SLASHES';
  path = resolveDots(path);
  if (isMerging) path = mergeSlashes(path);
  return { ok: true, target: path };
}

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** RFC 3986 §2.3: escapes of these mean the same as the characters and are decoded. */
function isUnreserved(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x61 && code <= 0x7a) ||
    code === 0x2d ||
    code === DOT ||
    code === 0x5f ||
    code === 0x7e
  );
}

function decodeOnce(raw: string, decodesSlashes: boolean): NormalizedPath {
  let out = '';
  let copied = 0;
  for (let at = raw.indexOf('%'); at !== -1; at = raw.indexOf('%', at + 1)) {
    const high = hexValue(raw.charCodeAt(at + 1));
    const low = hexValue(raw.charCodeAt(at + 2));
    /** A percent sign that begins no escape is kept, as Envoy keeps it. */
    if (high === -1 || low === -1) continue;
    const code = high * 16 + low;
    if (code === 0) return refuse('path-null');
    const isSlash = decodesSlashes && (code === SLASH || code === BACKSLASH);
    if (!isUnreserved(code) && !isSlash) continue;
    out += raw.slice(copied, at) + String.fromCharCode(code);
    copied = at + 3;
    at += 2;
  }
  return { ok: true, target: copied === 0 ? raw : out + raw.slice(copied) };
}

function hasDotParameters(path: string): boolean {
  for (let at = path.indexOf('/.'); at !== -1; at = path.indexOf('/.', at + 1)) {
    const end = path.charCodeAt(at + 2) === DOT ? at + 3 : at + 2;
    if (path.charCodeAt(end) === SEMICOLON) return true;
  }
  return false;
}

/** `.` and `..` segments; what would rise above the root stays at it. Empty segments are segments. */
function resolveDots(path: string): string {
  if (!path.includes('/.')) return path;
  const kept: string[] = [];
  const segments = path.split('/');
  segments.forEach((segment, index) => {
    const isLast = index === segments.length - 1;
    if (segment === '.') {
      if (isLast) kept.push('');
    } else if (segment === '..') {
      if (kept.length > 1) kept.pop();
      if (isLast) kept.push('');
    } else kept.push(segment);
  });
  const joined = kept.join('/');
  return joined.startsWith('/') ? joined : `/${joined}`;
}

function mergeSlashes(path: string): string {
  if (!path.includes('//')) return path;
  let out = '';
  for (let at = 0; at < path.length; at++) {
    if (path.charCodeAt(at) === SLASH && path.charCodeAt(at + 1) === SLASH) continue;
    out += path[at] ?? '';
  }
  return out;
}
