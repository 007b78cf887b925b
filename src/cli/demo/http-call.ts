// Makes one HTTP call as any application would, and says what came back.
import http from 'node:http';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  readonly requestId: string;
}

const TIMEOUT_MS = 5_000;

/** @throws Error when the connection is refused, cut or silent. */
export function callHttp(
  address: string,
  path: string,
  options: { readonly agent?: http.Agent; readonly host?: string } = {},
): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const colon = address.lastIndexOf(':');
  const request = http.get(
    {
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      path,
      agent: options.agent ?? false,
      timeout: TIMEOUT_MS,
      ...(options.host !== undefined && { headers: { host: options.host } }),
    },
    (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => {
        const id = response.headers['x-request-id'];
        resolve({
          status: response.statusCode ?? 0,
          body: body.trim(),
          requestId: typeof id === 'string' ? id : '',
        });
      });
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('the answer was cut')));
    },
  );
  request.on('timeout', () => request.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
  request.on('error', reject);
  return promise;
}
