// Asks a sidecar for credentials at its socket or port, as any application can: once, or until they change.
import http from 'node:http';
import { isPlainObject } from '@weft/model/policy/reader';

export interface CredentialSource {
  readonly where:
    | { readonly kind: 'unix'; readonly path: string }
    | { readonly kind: 'tcp'; readonly host: string; readonly port: number };
  /** The start-up token, read anew for each request: the sidecar makes another when it starts again. */
  readonly token: () => Promise<string | undefined>;
}

export interface FetchedCredential {
  readonly version: string;
  /** Those that are text. */
  readonly values: ReadonlyMap<string, string>;
  /** Keys of those that are not. */
  readonly binary: readonly string[];
}

export type Fetched =
  | { readonly kind: 'granted'; readonly credential: FetchedCredential }
  | { readonly kind: 'unchanged' }
  /** The sidecar has said so: not granted, or not this way. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** It could not be asked, or does not know yet. */
  | { readonly kind: 'unavailable'; readonly reason: string };

/** As the sidecar's own bound, and what JSON makes of it. */
const MAX_ANSWER_BYTES = 4_194_304;
const WAIT_SECONDS = 55;
/** Beyond what the sidecar was asked to wait. */
const TIMEOUT_MS = 65_000;
const MAX_REASON = 300;

/** @param after the version that is held; the answer comes when it is another. Never rejects. */
export async function fetchCredential(
  source: CredentialSource,
  name: string,
  { after, signal }: { readonly after?: string | undefined; readonly signal: AbortSignal },
): Promise<Fetched> {
  const query =
    after === undefined ? '' : `?after=${encodeURIComponent(after)}&wait=${WAIT_SECONDS}`;
  try {
    const { status, body } = await get(source, `/v1/credentials/${name}${query}`, signal);
    if (status === 304) return { kind: 'unchanged' };
    const answer: unknown = JSON.parse(body);
    if (status === 200) return readGranted(answer);
    const error = isPlainObject(answer) ? answer['error'] : undefined;
    const reason = typeof error === 'string' ? error.slice(0, MAX_REASON) : `status ${status}`;
    return { kind: status === 503 ? 'unavailable' : 'refused', reason };
  } catch (error) {
    /** A parser's message would show a piece of the answer. */
    const isParsing = error instanceof SyntaxError;
    const reason = error instanceof Error && !isParsing ? error.message : 'the answer is no JSON';
    return { kind: 'unavailable', reason };
  }
}

function readGranted(answer: unknown): Fetched {
  const bad: Fetched = { kind: 'unavailable', reason: 'the answer is no credential' };
  if (!isPlainObject(answer)) return bad;
  const { version, values, base64 } = answer;
  if (typeof version !== 'string' || !isPlainObject(values)) return bad;
  const texts = new Map<string, string>();
  for (const [key, value] of Object.entries(values)) {
    if (typeof value === 'string') texts.set(key, value);
  }
  const binary = isPlainObject(base64) ? Object.keys(base64) : [];
  return { kind: 'granted', credential: { version, values: texts, binary } };
}

async function get(
  { where, token }: CredentialSource,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  const shown = await token();
  const at =
    where.kind === 'unix' ? { socketPath: where.path } : { host: where.host, port: where.port };
  return new Promise((resolve, reject) => {
    const request = http.get(
      {
        ...at,
        path,
        /** Each for itself: the kernel's word is of the connection. */
        agent: false,
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
        headers: {
          host: 'localhost',
          ...(shown !== undefined && { authorization: `Bearer ${shown}` }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) request.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    request.on('error', reject);
  });
}
