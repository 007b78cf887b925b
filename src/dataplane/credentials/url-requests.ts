// Answers one request of the credentials' URL: which credential, which key, after which version.
import type { Credential } from './credential.ts';
import type { CredentialStore } from './credential-store.ts';
import type { RefusalReason } from './credential-metrics.ts';

/** `GET /v1/credentials[/NAME[/raw/KEY]][?after=VERSION[&wait=SECONDS]]`. */
export type Question =
  | { readonly kind: 'list' }
  | {
      readonly kind: 'one';
      readonly name: string;
      /** Absent: all of it, as JSON. */
      readonly key: string | undefined;
      /** Answered once the version is another. */
      readonly after: string | undefined;
      readonly waitMs: number;
    };

export interface UrlAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer | string;
  readonly version?: string;
  /** Of a refusal. */
  readonly reason?: RefusalReason;
  /** What was handed over. */
  readonly credential?: Credential;
}

const ROOT = '/v1/credentials';
/** 30 s unless asked otherwise; at most a minute, so that who has gone is not waited on for long. */
const DEFAULT_WAIT_MS = 30_000;
const MAX_WAIT_MS = 60_000;
const JSON_TYPE = 'application/json; charset=utf-8';
const MAX_TARGET = 1_024;

export function json(status: number, value: unknown): UrlAnswer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify(value)}\n` };
}

export const refusal = (status: number, reason: RefusalReason, error: string): UrlAnswer => ({
  ...json(status, { error }),
  reason,
});

/** @returns an answer where there is nothing to look up. */
export function readQuestion(method: string, target: string): Question | UrlAnswer {
  if (method !== 'GET') return refusal(405, 'bad-request', 'use GET');
  if (target.length > MAX_TARGET) return refusal(414, 'bad-request', 'the address is too long');
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  if (path === ROOT || path === `${ROOT}/`) return { kind: 'list' };
  const segments = path.startsWith(`${ROOT}/`) ? path.slice(ROOT.length + 1).split('/') : [];
  const [name = '', raw, key] = segments;
  const isShape = segments.length === 1 || (segments.length === 3 && raw === 'raw');
  if (!isShape || name === '' || key === '') {
    return refusal(404, 'bad-request', `ask for ${ROOT}/NAME or ${ROOT}/NAME/raw/KEY`);
  }
  const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
  const wait = query.get('wait');
  const seconds = wait === null ? DEFAULT_WAIT_MS / 1_000 : Number(wait);
  if (!Number.isInteger(seconds) || seconds < 0) {
    return refusal(400, 'bad-request', 'wait is a number of seconds');
  }
  const waitMs = Math.min(seconds * 1_000, MAX_WAIT_MS);
  return { kind: 'one', name, key, after: query.get('after') ?? undefined, waitMs };
}

/** The names that may be had here, with their versions. */
export const listOf = (store: CredentialStore): UrlAnswer =>
  json(200, {
    credentials: store
      .all()
      .filter(({ ways }) => ways.has('url'))
      .map(({ name, version, values }) => ({ name, version, keys: [...values.keys()] })),
  });

/** What there is now. */
export function answerOne(
  store: CredentialStore,
  { name, key }: Extract<Question, { kind: 'one' }>,
): UrlAnswer {
  const credential = store.get(name);
  if (credential === undefined && !store.isComplete) {
    return refusal(503, 'not-granted', 'what is granted is not known yet; try again');
  }
  if (credential === undefined) {
    return refusal(404, 'not-granted', 'no such credential is granted to this workload');
  }
  if (!credential.ways.has('url')) {
    return refusal(403, 'way-not-granted', 'its binding does not let it be read here');
  }
  const { version, values } = credential;
  if (key === undefined) return { ...json(200, bodyOf(credential)), version, credential };
  const value = values.get(key);
  if (value === undefined) return refusal(404, 'not-granted', 'the credential has no such key');
  return { status: 200, type: 'application/octet-stream', body: value, version, credential };
}

/** What is no text is in `base64`. */
function bodyOf({ name, version, values }: Credential): unknown {
  const texts: Record<string, string> = Object.create(null);
  const encoded: Record<string, string> = Object.create(null);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for (const [key, value] of values) {
    try {
      texts[key] = decoder.decode(value);
    } catch {
      /** Not UTF-8: bytes. */
      encoded[key] = value.toString('base64');
    }
  }
  const isText = Object.keys(encoded).length === 0;
  return { name, version, values: texts, ...(!isText && { base64: encoded }) };
}
