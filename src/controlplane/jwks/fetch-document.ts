// Fetches one small document from an address that a policy names, from nowhere else, and in bounded time and size.
import { parseHttpUri, type HttpUri } from '@weft/model/http-uri';
import { MAX_JWKS_BYTES } from '@weft/model/policy/jwks';
import { type GuardedOptions, requestGuarded } from '../fetch/guarded-request.ts';

export interface FetchOptions
  extends Pick<GuardedOptions, 'isAllowed' | 'signal' | 'resolve' | 'ca'> {
  readonly timeoutMs: number;
}

export type Fetched =
  | { readonly ok: true; readonly body: string }
  | { readonly ok: false; readonly reason: string };

/** Within one host: `/keys` to `/keys/`. */
const MAX_REDIRECTS = 3;

const failed = (reason: string): Fetched => ({ ok: false, reason });

/**
 * Redirects stay with scheme, host and port, and are checked again.
 * @returns what was answered with 200, or why there is nothing; never the answer's own words.
 */
export async function fetchDocument(text: string, options: FetchOptions): Promise<Fetched> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  let uri = parseHttpUri(text);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    if (uri === undefined) return failed('is no address that can be fetched from');
    const answer = await requestGuarded(uri, { ...options, signal, maxBytes: MAX_JWKS_BYTES });
    if (!answer.ok) return answer;
    const { status, headers, body } = answer;
    if (status === 200) return { ok: true, body: body.toString('utf8') };
    const isRedirect = status >= 300 && status < 400 && headers.location !== undefined;
    if (!isRedirect) return failed(`the answer is ${status}`);
    const next = parseHttpUri(absolute(headers.location ?? '', uri));
    if (next === undefined || !isSameOrigin(next, uri)) return failed('redirects to another host');
    uri = next;
  }
  return failed('redirects too often');
}

const absolute = (location: string, { isTls, host, port }: HttpUri): string => {
  if (!location.startsWith('/') || location.startsWith('//')) return location;
  const name = host.includes(':') ? `[${host}]` : host;
  return `${isTls ? 'https' : 'http'}://${name}:${port}${location}`;
};

const isSameOrigin = (a: HttpUri, b: HttpUri): boolean =>
  a.isTls === b.isTls && a.host === b.host && a.port === b.port;
