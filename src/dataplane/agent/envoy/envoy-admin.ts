// Asks an Envoy's admin endpoints at its Unix socket, which the agent alone may open.
import http, { type IncomingMessage } from 'node:http';

export interface AdminAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
}

/** 64 MiB: the whole configuration of an Envoy in a large mesh. */
const MAX_BODY_BYTES = 64 * 1_024 * 1_024;
const TIMEOUT_MS = 10_000;

export interface AskOptions {
  readonly method?: 'GET' | 'POST';
  readonly timeoutMs?: number;
}

export class EnvoyAdmin {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** @throws Error when nobody answers, not in time, or too much. */
  ask(path: string, { method = 'GET', timeoutMs = TIMEOUT_MS }: AskOptions = {}) {
    const { promise, resolve, reject } = Promise.withResolvers<AdminAnswer>();
    const request = http.request({
      socketPath: this.#socketPath,
      path,
      method,
      agent: false,
      headers: { host: 'localhost' },
    });
    const timer = setTimeout(
      () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    request.on('error', reject);
    request.on('response', (response) => {
      read(response, (size) => request.destroy(new Error(`more than ${size} bytes came`))).then(
        resolve,
        reject,
      );
    });
    request.end();
    return promise.finally(() => clearTimeout(timer));
  }
}

function read(response: IncomingMessage, tooMuch: (size: number) => void): Promise<AdminAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<AdminAnswer>();
  const parts: Buffer[] = [];
  let size = 0;
  response.on('data', (part: Buffer) => {
    size += part.length;
    if (size > MAX_BODY_BYTES) tooMuch(MAX_BODY_BYTES);
    else parts.push(part);
  });
  response.on('error', reject);
  response.on('end', () =>
    resolve({
      status: response.statusCode ?? 0,
      type: response.headers['content-type'] ?? 'text/plain',
      body: Buffer.concat(parts),
    }),
  );
  return promise;
}
