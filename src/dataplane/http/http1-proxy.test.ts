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

test('what is sent on: edits in, fields of one hop out, everything else as it came', async () => {
  await using h = await createHttpRig(echo, {
    act: (head, upstream) => ({
      kind: 'forward',
      upstream,
      edits: {
        target: head.path === '/a/../b?q' ? '/b?q' : head.path,
        isRemoved: (name) => name.startsWith('x-weft-') || name === 'x-forwarded-client-cert',
        added: ['x-request-id', 'r1', 'x-forwarded-client-cert', 'URI=spiffe://a'],
      },
    }),
  });
  using client = new RawClient(h.port);
  client.write(
    'GET /a/../b?q HTTP/1.1\r\nHOST: Shop\r\nX-Weft-Peer: me\r\nConnection: x-mine, keep-alive\r\n' +
      'x-mine: 1\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n' +
      'X-Forwarded-Client-Cert: URI=spiffe://admin\r\nx_weft_peer: me\r\nX-Kept:  a b \r\n\r\n',
  );
  const answer = await client.until((text) => text.includes('\r\n\r\n'));
  const line = answer.split('\r\n').find((field) => field.startsWith('x-headers: ')) ?? '';
  assert.deepEqual(JSON.parse(line.slice('x-headers: '.length)), [
    'HOST',
    'Shop',
    'X-Kept',
    'a b',
    'x-request-id',
    'r1',
    'x-forwarded-client-cert',
    'URI=spiffe://a',
  ]);
  assert.match(answer, /x-url: \/b\?q\r\n/);
});

test('pipelined requests are answered in order, one upstream at a time', async () => {
  await using h = await createHttpRig(echo);
  using client = new RawClient(h.port);
  let text = '';
  for (let index = 0; index < 20; index++) {
    const body = 'x'.repeat(index);
    text += `POST /${index} HTTP/1.1\r\nHost: a\r\nContent-Length: ${index}\r\n\r\n${body}`;
  }
  client.write(text);
  const answers = await client.until(
    (all) => all.split('HTTP/1.1 200').length === 21 && all.endsWith('x'.repeat(19)),
  );
  const urls = answers.split('\r\n').filter((line) => line.startsWith('x-url: '));
  assert.deepEqual(
    urls,
    Array.from({ length: 20 }, (_, index) => `x-url: /${index}`),
  );
  assert.equal(h.rig.upstream.all.size, 1);
});

test('a thousand pipelined refusals are answered without recursion', async () => {
  await using h = await createHttpRig(echo, {
    act: () => ({
      kind: 'respond',
      status: 403,
      body: 'no\n',
      reasonCode: 'denied',
      headers: ['x-request-id', 'r'],
    }),
  });
  using client = new RawClient(h.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1_000));
  await client.until((all) => all.split('HTTP/1.1 403 Forbidden').length === 1_001);
  assert.equal(h.rig.completions.length, 1_000);
  assert.equal(h.rig.completions[0]?.reasonCode, 'denied');
  assert.match(
    client.text,
    /^HTTP\/1\.1 403 Forbidden\r\ncontent-type: text\/plain\r\ncontent-length: 3\r\nx-request-id: r\r\n\r\nno\n/,
  );
});

test('chunked bodies pass both ways, with trailers that mean no harm', async () => {
  await using h = await createHttpRig((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (chunk: Buffer) => parts.push(chunk));
    request.on('end', () => {
      response.setHeader('trailer', 'x-sum');
      for (const part of parts) response.write(part);
      response.addTrailers({ 'x-sum': JSON.stringify(request.rawTrailers) });
      response.end();
    });
  });
  using client = new RawClient(h.port);
  client.write(
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;e=1\r\n!\r\n0\r\n' +
      'x-a: 1\r\nX-Weft-Peer: me\r\nAuthorization: me\r\nContent-Length: 7\r\nx-b: 2\r\n\r\n',
  );
  const answer = await client.until(
    (text) => text.includes('\r\n0\r\n') && text.endsWith('\r\n\r\n'),
  );
  assert.match(answer, /hello/);
  assert.match(answer, /0\r\nx-sum: \["x-a","1","x-b","2"\]\r\n\r\n$/);
  assert.equal(h.rig.completions[0]?.bytesReceived, 96);
});

test('HEAD, 204 and 304 have no body, whatever their fields say', async () => {
  await using h = await createHttpRig((request, response) => {
    const status = Number(request.url?.slice(1));
    response.writeHead(status, status === 204 ? {} : { 'content-length': 10 });
    response.end(request.method === 'GET' && status === 200 ? '0123456789' : undefined);
  });
  using agent = Object.assign(new http.Agent({ keepAlive: true, maxSockets: 1 }), {
    [Symbol.dispose]() {
      agent.destroy();
    },
  });
  const head = await send(h.port, { agent, method: 'HEAD', path: '/200' });
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '10', 0]);
  const none = await send(h.port, { agent, path: '/204' });
  assert.equal(none.status, 204);
  const same = await send(h.port, { agent, path: '/304' });
  assert.equal(same.status, 304);
  const get = await send(h.port, { agent, path: '/200' });
  assert.equal(String(get.body), '0123456789');
  assert.equal(h.rig.sockets.length, 1);
});

test('a refusal of HEAD has no body', async () => {
  await using h = await createHttpRig(echo, {
    act: () => ({ kind: 'respond', status: 403, body: 'no\n', reasonCode: 'denied', headers: [] }),
  });
  using client = new RawClient(h.port);
  client.write('HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.until((text) => text.split('\r\n\r\n').length === 3);
  assert.ok(client.text.endsWith('content-length: 3\r\n\r\n'));
});

test('large bodies pass both ways unharmed', async () => {
  await using h = await createHttpRig(echo);
  const parts = Array.from({ length: 64 }, (_, index) => Buffer.alloc(100_000, index));
  const whole = Buffer.concat(parts);
  const chunked = await send(h.port, { method: 'POST', path: '/' }, parts);
  assert.ok(chunked.body.equals(whole));
  const headers = { 'content-length': whole.length };
  const sized = await send(h.port, { method: 'POST', path: '/', headers }, whole);
  assert.ok(sized.body.equals(whole));
  assert.equal(h.rig.completions[1]?.bytesReceived, whole.length);
  assert.equal(h.rig.completions[1]?.bytesSent, whole.length);
});

test('Expect: 100-continue is passed on, and so is the 100', async () => {
  await using h = await createHttpRig(echo);
  using client = new RawClient(h.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n');
  await client.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
  client.take();
  client.write('hello');
  const answer = await client.until((text) => text.endsWith('hello'));
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(answer, /connection: close/);
});

test('a final answer instead of 100 closes, as nobody knows whether the body comes', async () => {
  await using h = await createHttpRig(echo, {
    act: () => ({ kind: 'respond', status: 403, body: 'no\n', reasonCode: 'denied', headers: [] }),
  });
  using client = new RawClient(h.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n');
  const answer = await client.ended();
  assert.match(answer, /^HTTP\/1\.1 403 .*connection: close\r\n\r\nno\n$/s);
});

test('other interim answers are passed on (103 Early Hints)', async () => {
  await using h = await createHttpRig((_request, response) => {
    response.writeEarlyHints({ link: '</a>; rel=preload' });
    response.end('x');
  });
  using client = new RawClient(h.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const answer = await client.until((text) => text.includes('HTTP/1.1 200'));
  assert.match(
    answer,
    /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>; rel=preload\r\n\r\nHTTP\/1\.1 200/,
  );
});

test('a decision that must be waited for is waited for, with the body kept back', async () => {
  const decision = Promise.withResolvers<undefined>();
  const asked = Promise.withResolvers<undefined>();
  await using h = await createHttpRig(echo, {
    act: (head, upstream) => {
      asked.resolve(undefined);
      return decision.promise.then(() => ({
        kind: 'forward',
        upstream,
        edits: { target: head.path, isRemoved: () => false, added: [] },
      }));
    },
  });
  using client = new RawClient(h.port);
  client.write('POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe');
  await asked.promise;
  client.write('llo');
  decision.resolve(undefined);
  await client.until((text) => text.endsWith('hello'));
});

test('a decision that fails is a refusal', async () => {
  await using h = await createHttpRig(echo, { act: () => Promise.reject(new Error('lost')) });
  using client = new RawClient(h.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.until((text) => text.includes('503') && text.endsWith('decision-failed\n'));
});
