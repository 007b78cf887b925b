// What the small HTTP answers of Weft's own ports are: their bodies, their headers, and the target that was asked for.

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
}

export const text = (status: number, body: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body,
});

export const json = (status: number, value: unknown): Answer => ({
  status,
  type: 'application/json; charset=utf-8',
  body: `${JSON.stringify(value, undefined, 2)}\n`,
});

/** In Prometheus' text format. */
export const metricsAnswer = (body: string): Answer => ({
  status: 200,
  type: 'text/plain; version=0.0.4; charset=utf-8',
  body,
});

/** It holds for now alone, and is what it says it is: no cache keeps it, and no browser guesses. */
export const headersOf = ({ type, body }: Answer): Readonly<Record<string, string | number>> => ({
  'content-type': type,
  'content-length': Buffer.byteLength(body),
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
});

export interface Target {
  readonly path: string;
  /** Without its question mark. */
  readonly query: string;
}

/** @param url in origin form (RFC 9112 §3.2.1). */
export function targetOf({ url = '/' }: { readonly url?: string | undefined }): Target {
  const at = url.indexOf('?');
  return at === -1
    ? { path: url, query: '' }
    : { path: url.slice(0, at), query: url.slice(at + 1) };
}
