// Fetches one small document from an address that a policy names, from nowhere else, and in bounded time and size.
import { lookup } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import { parseHttpUri, type HttpUri } from '@weft/model/http-uri';
import { MAX_JWKS_BYTES } from '@weft/model/policy/jwks';

export interface FetchOptions {
  readonly timeoutMs: number;
  /** Asked of every address that a name leads to. */
  readonly isAllowed: (address: string) => boolean;
  readonly signal: AbortSignal;
  /** Default: the system's resolver. */
  readonly resolve?: Resolve;
  /** Further roots for https, PEM; default: Node's own. */
  readonly ca?: string;
}

export type Resolve = (host: string) => Promise<readonly string[]>;

export type Fetched =
  | { readonly ok: true; readonly body: string }
  | { readonly ok: false; readonly reason: string };

/** Within one host: `/keys` to `/keys/`. */
const MAX_REDIRECTS = 3;
/** Addresses of one name that are tried. */
const MAX_ADDRESSES = 4;
const MAX_HEADER_BYTES = 16_384;

const failed = (reason: string): Fetched => ({ ok: false, reason });

/**
 * The address is looked up once, checked, and the very address that was checked is called: a name that leads elsewhere
 * a moment later changes nothing. Redirects stay with scheme, host and port, and are checked again.
 * @returns what was answered with 200, or why there is nothing; never the answer's own words.
 */
export async function fetchDocument(text: string, options: FetchOptions): Promise<Fetched> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  let uri = parseHttpUri(text);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    if (uri === undefined) return failed('is no address that can be fetched from');
    const answer = await fetchOnce(uri, { ...options, signal });
    if (answer.kind !== 'redirect') return answer.fetched;
    const next = parseHttpUri(absolute(answer.location, uri));
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

type Answer =
  | { readonly kind: 'done'; readonly fetched: Fetched }
  | { readonly kind: 'redirect'; readonly location: string };

const done = (fetched: Fetched): Answer => ({ kind: 'done', fetched });

async function fetchOnce(uri: HttpUri, options: FetchOptions): Promise<Answer> {
  const { signal, resolve = resolveBySystem, isAllowed } = options;
  let addresses: readonly string[];
  try {
    addresses = await withSignal(resolve(uri.host), signal);
  } catch (error) {
    return done(failed(`${uri.host} cannot be resolved: ${reasonOf(error)}`));
  }
  const refused = addresses.find((address) => !isAllowed(address));
  if (refused !== undefined) {
    return done(failed(`${uri.host} leads to ${refused}, which is not public`));
  }
  let last = failed(`${uri.host} has no address`);
  for (const address of addresses.slice(0, MAX_ADDRESSES)) {
    try {
      return await call(uri, address, options);
    } catch (error) {
      last = failed(`${uri.host} cannot be read: ${reasonOf(error)}`);
      if (signal.aborted) break;
    }
  }
  return done(last);
}

const resolveBySystem: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** A resolver cannot be told to stop; nobody waits for it longer. */
function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  return Promise.race([promise, aborted]).finally(() =>
    signal.removeEventListener('abort', onAbort),
  );
}

function call(uri: HttpUri, address: string, options: FetchOptions): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { isTls, host, port, target } = uri;
  const name = host.includes(':') ? `[${host}]` : host;
  const common: http.RequestOptions = {
    host: address,
    port,
    path: target,
    agent: false,
    signal: options.signal,
    maxHeaderSize: MAX_HEADER_BYTES,
    headers: {
      host: port === (isTls ? 443 : 80) ? name : `${name}:${port}`,
      accept: 'application/json',
      'accept-encoding': 'identity',
      'user-agent': 'weft',
      connection: 'close',
    },
  };
  /** The certificate is checked for the name, though the address is called. */
  const tls = { servername: host, ...(options.ca !== undefined && { ca: options.ca }) };
  const request = isTls ? https.request({ ...common, ...tls }) : http.request(common);
  request.on('error', reject);
  request.on('response', (response) => {
    response.on('error', reject);
    readAnswer(response).then(resolve, reject);
    response.once('close', () => request.destroy());
  });
  request.end();
  return promise;
}

async function readAnswer(response: http.IncomingMessage): Promise<Answer> {
  const { statusCode = 0, headers } = response;
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
    response.destroy();
    return { kind: 'redirect', location: headers.location };
  }
  if (statusCode !== 200) {
    response.destroy();
    return done(failed(`the answer is ${statusCode}`));
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_JWKS_BYTES) {
      response.destroy();
      return done(failed(`the answer is longer than ${MAX_JWKS_BYTES} bytes`));
    }
    parts.push(part);
  }
  return done({ ok: true, body: Buffer.concat(parts).toString('utf8') });
}

/** Names of failures, not their texts: those may repeat what was answered. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'it takes too long';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return code;
}
