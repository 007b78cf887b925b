// HTTP/1.1 through the proxy on real sockets: exchanges, bodies, order, back-pressure.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import { createRig, listen, RawClient, type Rig, type RigOptions } from './http1-rig.ts';

interface HttpRig extends AsyncDisposable {
  readonly rig: Rig;
  readonly port: number;
}

/** A backend of node:http, and the proxy in front of it. */
async function createHttpRig(
  serve: http.RequestListener,
  rigOptions: RigOptions = {},
): Promise<HttpRig> {
  const server = http.createServer(serve);
  const rig = await createRig(await listen(server), rigOptions);
  return {
    rig,
    port: rig.port,
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const echo: http.RequestListener = (request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (chunk: Buffer) => parts.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    response.setHeader('x-method', request.method ?? '');
    response.setHeader('x-url', request.url ?? '');
    response.setHeader('x-headers', JSON.stringify(request.rawHeaders));
    response.setHeader('content-length', body.length);
    response.end(body);
  });
};

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
}

async function send(
  port: number,
  options: http.RequestOptions,
  body?: string | Buffer | readonly Buffer[],
): Promise<Answer> {
  const request = http.request({ port, host: '127.0.0.1', ...options });
  if (Array.isArray(body)) for (const part of body) request.write(part);
  else if (body !== undefined) request.write(body);
  request.end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const parts: Buffer[] = [];
  response.on('data', (chunk: Buffer) => parts.push(chunk));
  await once(response, 'end');
  const { statusCode = 0, headers, trailers } = response;
  return { status: statusCode, headers, trailers, body: Buffer.concat(parts) };
}

test('keep-alive: many requests on one connection each way', async () => {
  await using h = await createHttpRig(echo);
  using agent = Object.assign(new http.Agent({ keepAlive: true, maxSockets: 1 }), {
    [Symbol.dispose]() {
      agent.destroy();
    },
  });
  for (let round = 0; round < 50; round++) {
    const get = await send(h.port, { agent, path: `/a?n=${round}` });
    assert.deepEqual([get.status, get.headers['x-url']], [200, `/a?n=${round}`]);
    const post = await send(h.port, { agent, method: 'POST', path: '/b' }, `body ${round}`);
    assert.deepEqual([post.status, String(post.body)], [200, `body ${round}`]);
  }
  assert.equal(h.rig.sockets.length, 1);
  assert.equal(h.rig.upstream.all.size, 1);
  assert.equal(h.rig.upstream.released, 100);
  const completion = h.rig.completions.at(-1);
  assert.equal(completion?.reasonCode, '');
  assert.equal(completion?.status, 200);
  assert.equal(completion?.head?.path, '/b');
});
