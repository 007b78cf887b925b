// Asks one address over HTTP or HTTPS for whoever may name it: only where it may lead, and in bounded time and size.
import { lookup } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import type { HttpUri } from '@weft/model/http-uri';

export type Resolve = (host: string) => Promise<readonly string[]>;

export interface GuardedOptions {
  readonly signal: AbortSignal;
  /** Asked of every address that a name leads to. */
  readonly isAllowed: (address: string) => boolean;
  readonly maxBytes: number;
  /** Besides those of every request. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: the system's resolver. */
  readonly resolve?: Resolve;
  /** Further roots for https, PEM; default: Node's own. */
  readonly ca?: string;
  /**
   * Looks at the certificate (DER) of who answers, in place of its name.
   * @returns why it is not the one that is meant
   */
  readonly whyNot?: (certificate: Buffer) => string | undefined;
}

export type GuardedAnswer =
  | {
      readonly ok: true;
      readonly status: number;
      readonly headers: http.IncomingHttpHeaders;
      /** Empty for a redirect. */
      readonly body: Buffer;
    }
  /** Never the answer's own words. */
  | { readonly ok: false; readonly reason: string };

/** Addresses of one name that are tried. */
const MAX_ADDRESSES = 4;
const MAX_HEADER_BYTES = 16_384;

/**
 * The address is looked up once, checked, and the very address that was checked is called: a name that leads elsewhere
 * a moment later changes nothing. Redirects are not followed.
 */
export async function requestGuarded(
  uri: HttpUri,
  options: GuardedOptions,
): Promise<GuardedAnswer> {
  const { signal, resolve = resolveBySystem, isAllowed } = options;
  const failed = (reason: string): GuardedAnswer => ({ ok: false, reason });
  let addresses: readonly string[];
  try {
    addresses = await withSignal(resolve(uri.host), signal);
  } catch (error) {
    return failed(`${uri.host} cannot be resolved: ${reasonOf(error)}`);
  }
  const refused = addresses.find((address) => !isAllowed(address));
  if (refused !== undefined) return failed(`${uri.host} leads to ${refused}, which is not public`);
  let last = failed(`${uri.host} has no address`);
  for (const address of addresses.slice(0, MAX_ADDRESSES)) {
    try {
      return await call(uri, address, options);
    } catch (error) {
      last = failed(`${uri.host} cannot be read: ${reasonOf(error)}`);
      if (signal.aborted) break;
    }
  }
  return last;
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

function call(uri: HttpUri, address: string, options: GuardedOptions): Promise<GuardedAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<GuardedAnswer>();
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
      accept: 'application/json',
      ...options.headers,
      host: port === (isTls ? 443 : 80) ? name : `${name}:${port}`,
      'accept-encoding': 'identity',
      'user-agent': 'weft',
      connection: 'close',
    },
  };
  /** The certificate is checked for the name, though the address is called. */
  const { ca, whyNot } = options;
  const tls = {
    /** No address is named by SNI; the certificate is still checked for it. */
    servername: isIP(host) === 0 ? host : '',
    ...(ca !== undefined && { ca }),
    ...(whyNot && { checkServerIdentity: judgedBy(whyNot) }),
  };
  const request = isTls ? https.request({ ...common, ...tls }) : http.request(common);
  request.on('error', reject);
  request.on('response', (response) => {
    response.on('error', reject);
    readAnswer(response, options.maxBytes).then(resolve, reject);
    response.once('close', () => request.destroy());
  });
  request.end();
  return promise;
}

class NotTheOne extends Error {}

const judgedBy =
  (whyNot: (certificate: Buffer) => string | undefined) =>
  (_host: string, { raw }: { readonly raw: Buffer }): Error | undefined => {
    const reason = whyNot(raw);
    return reason === undefined ? undefined : new NotTheOne(reason);
  };

async function readAnswer(
  response: http.IncomingMessage,
  maxBytes: number,
): Promise<GuardedAnswer> {
  const { statusCode: status = 0, headers } = response;
  if (status >= 300 && status < 400) {
    response.destroy();
    return { ok: true, status, headers, body: Buffer.alloc(0) };
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes) {
      response.destroy();
      return { ok: false, reason: `the answer is longer than ${maxBytes} bytes` };
    }
    parts.push(part);
  }
  return { ok: true, status, headers, body: Buffer.concat(parts) };
}

/** Names of failures, not their texts: those may repeat what was answered. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error instanceof NotTheOne) return error.message;
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'it takes too long';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
