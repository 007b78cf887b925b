// What is fetched and what is not, from real servers: the address that is called is the one that was checked.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import { MAX_JWKS_BYTES } from '@weft/model/policy/jwks';
import { fetchDocument, type FetchOptions } from './fetch-document.ts';
import { createAddressGuard } from '../fetch/guard-address.ts';

interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly asked: string[];
}

async function serve(handle: http.RequestListener): Promise<TestServer> {
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(`${request.headers.host} ${request.url}`);
    response.on('error', () => response.destroy());
    handle(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return {
    port: address.port,
    asked,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function fetched(uri: string, options: Partial<FetchOptions> = {}): Promise<string> {
  const answer = await fetchDocument(uri, {
    timeoutMs: 5_000,
    signal: new AbortController().signal,
    isAllowed: createAddressGuard(['127.0.0.0/8']),
    resolve: async () => ['127.0.0.1'],
    ...options,
  });
  return answer.ok ? `ok ${answer.body}` : answer.reason;
}

test('a document is fetched by its name, from the address that was checked', async () => {
  await using server = await serve((_request, response) => response.end('keys'));
  let lookups = 0;
  const resolve = async (): Promise<readonly string[]> => {
    lookups++;
    return ['127.0.0.1'];
  };
  assert.equal(await fetched(`http://keys.test:${server.port}/a?b`, { resolve }), 'ok keys');
  assert.deepEqual(server.asked, [`keys.test:${server.port} /a?b`]);
  assert.equal(lookups, 1, 'a second look could lead elsewhere (DNS rebinding)');
});

test('a name that leads to an address that is not public is not called (CVE-2026-41413)', async () => {
  await using server = await serve((_request, response) => response.end('secret'));
  const isAllowed = createAddressGuard([]);
  for (const addresses of [['127.0.0.1'], ['1.1.1.1', '127.0.0.1'], ['::ffff:127.0.0.1']]) {
    const reason = await fetched(`http://keys.test:${server.port}/`, {
      isAllowed,
      resolve: async () => addresses,
    });
    assert.match(reason, /which is not public/);
  }
  assert.match(
    await fetched(`http://127.0.0.1:${server.port}/`, { isAllowed }),
    /which is not public/,
  );
  assert.deepEqual(server.asked, []);
});

test('redirects stay with their host', async () => {
  await using other = await serve((_request, response) => response.end('other'));
  await using server = await serve((request, response) => {
    const target = new URLSearchParams(request.url?.split('?')[1]).get('to') ?? '';
    if (target === '') response.end('here');
    else response.writeHead(302, { location: target }).end();
  });
  const go = (to: string): Promise<string> =>
    fetched(`http://keys.test:${server.port}/?to=${encodeURIComponent(to)}`);
  assert.equal(await go('/there'), 'ok here');
  assert.equal(await go(`http://keys.test:${server.port}/there`), 'ok here');
  for (const to of [
    `http://keys.test:${other.port}/`,
    `http://evil.test:${server.port}/`,
    `https://keys.test:${server.port}/`,
    `//evil.test:${server.port}/`,
    'file:///etc/passwd',
    'gopher://keys.test/',
    'there',
  ]) {
    assert.equal(await go(to), 'redirects to another host', to);
  }
  assert.deepEqual(other.asked, []);
  await using loop = await serve((_request, response) =>
    response.writeHead(302, { location: '/again' }).end(),
  );
  assert.equal(await fetched(`http://keys.test:${loop.port}/`), 'redirects too often');
  assert.equal(loop.asked.length, 4);
});

test('an answer is bounded in size, whatever it says of itself', async () => {
  const chunk = Buffer.alloc(65_536, 'x');
  await using server = await serve((_request, response) => {
    response.on('drain', () => response.write(chunk));
    response.write(chunk);
    response.write(chunk);
  });
  const reason = await fetched(`http://keys.test:${server.port}/`);
  assert.equal(reason, `the answer is longer than ${MAX_JWKS_BYTES} bytes`);
});

test('a fetch is bounded in time: a server that says nothing, one that dawdles, a resolver', async () => {
  await using silent = await serve(() => undefined);
  await using slow = await serve((_request, response) => response.write('x'));
  for (const { port } of [silent, slow]) {
    const reason = await fetched(`http://keys.test:${port}/`, { timeoutMs: 50 });
    assert.match(reason, /it takes too long$/);
  }
  const never = (): Promise<readonly string[]> =>
    Promise.withResolvers<readonly string[]>().promise;
  const unresolved = await fetched('http://keys.test/', { timeoutMs: 50, resolve: never });
  assert.match(unresolved, /cannot be resolved: it takes too long/);
});

test('what goes wrong is a reason, and never what the other side says', async () => {
  await using server = await serve((request, response) => {
    if (request.url === '/500') response.writeHead(500, 'secret words').end('secret');
    else request.socket.end('nonsense\r\n\r\n');
  });
  assert.equal(await fetched(`http://keys.test:${server.port}/500`), 'the answer is 500');
  const broken = await fetched(`http://keys.test:${server.port}/`);
  assert.match(broken, /^keys\.test cannot be read: HPE_/);
  assert.match(await fetched('http://keys.test:1/'), /ECONNREFUSED/);
  assert.match(await fetched('http://keys.test/', { resolve: async () => [] }), /no address/);
  assert.match(await fetched('file:///etc/passwd'), /no address that can be fetched/);
});
