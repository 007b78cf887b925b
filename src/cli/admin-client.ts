// Asks the admin endpoints of control plane and sidecar, and says plainly when nobody answers.
import http from 'node:http';
import type { HostPort } from './parse.ts';

export interface AdminAnswer {
  readonly status: number;
  readonly body: string;
}

const TIMEOUT_MS = 5_000;
/** A config dump of a large mesh fits; anything beyond is not an answer of ours. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

/** Over TCP, or over the control plane's own Unix socket. */
export type AdminTarget = HostPort | { readonly socketPath: string };

export function describeTarget(target: AdminTarget): string {
  return 'socketPath' in target ? target.socketPath : `${target.host}:${target.port}`;
}

/**
 * @throws Error with what to check when there is no answer.
 */
export function askAdmin(
  target: AdminTarget,
  path: string,
  method: 'GET' | 'POST' = 'GET',
): Promise<AdminAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<AdminAnswer>();
  const fail = (cause: Error): void => {
    const where = describeTarget(target);
    reject(
      new Error(
        `Cannot ask ${where}${path.split('?', 1)[0] ?? ''}: ${cause.message}; is it running, and is this its ${'socketPath' in target ? 'state directory' : 'admin address'}?`,
        { cause },
      ),
    );
  };
  const request = http.request(
    { ...target, path, method, agent: false, timeout: TIMEOUT_MS },
    (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on('data', (part: Buffer) => {
        size += part.length;
        if (size > MAX_ANSWER_BYTES)
          request.destroy(new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`));
        else parts.push(part);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString() }),
      );
      response.on('error', fail);
    },
  );
  request.on('timeout', () => request.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
  request.on('error', fail);
  request.end();
  return promise;
}

/** The same, read as JSON. @throws Error when the answer is an error or no JSON. */
export async function askAdminJson(
  target: AdminTarget,
  path: string,
  method: 'GET' | 'POST' = 'GET',
): Promise<unknown> {
  const { status, body } = await askAdmin(target, path, method);
  if (status === 404 && !path.includes('?')) {
    throw new Error(
      `Cannot get ${path} from ${describeTarget(target)}: it has none; ${path.startsWith('/v1/') ? "a control plane's admin address is needed (by default 127.0.0.1:15014)" : "a sidecar's admin address is needed (by default 127.0.0.1:15000)"}`,
    );
  }
  if (status < 200 || status >= 300) {
    throw new Error(
      `Cannot get ${path} from ${describeTarget(target)}: it answered ${status}: ${body.trim()}`,
    );
  }
  try {
    const value: unknown = JSON.parse(body);
    return value;
  } catch (cause) {
    throw new Error(
      `Cannot read the answer of ${describeTarget(target)}: it is no JSON; is this the admin address of a control plane or sidecar?`,
      { cause },
    );
  }
}
