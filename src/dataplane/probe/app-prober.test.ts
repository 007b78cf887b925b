// Probes against real applications: what the kubelet would have seen is what it is told.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http, { type RequestListener, type Server as HttpServer } from 'node:http';
import https from 'node:https';
import net, { type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { createAdminServer } from '../admin/http-server.ts';
import type { AppProbe, HttpProbe } from './app-probe.ts';
import { AppProber, redirectWithin } from './app-prober.ts';

const POD = '127.0.0.1';
const run = promisify(execFile);

async function listening<T extends NetServer | HttpServer>(
  server: T,
): Promise<T & AsyncDisposable & { readonly port: number }> {
  await once(server.listen(0, POD), 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return Object.assign(server, {
    port: address.port,
    async [Symbol.asyncDispose]() {
      if ('closeAllConnections' in server) server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

const app = (listener: RequestListener) => listening(http.createServer(listener));

const ask = (probe: AppProbe) =>
  new AppProber({ probes: new Map([['app/liveness', probe]]), podIp: POD }).probe('app/liveness');

const httpProbe = (
  port: number,
  more: Partial<HttpProbe & { timeoutMs: number }> = {},
): AppProbe => ({
  kind: 'http',
  scheme: 'HTTP',
  port,
  path: '/',
  headers: [],
  timeoutMs: 2_000,
  ...more,
});

test('an HTTP probe passes below 400, and fails with the status of the application', async () => {
  for (const [code, expected] of [
    [200, 200],
    [204, 200],
    [302, 200],
    [399, 200],
    [400, 400],
    [404, 404],
    [503, 503],
  ] as const) {
    await using server = await app((_request, response) => response.writeHead(code).end());
    assert.equal((await ask(httpProbe(server.port)))?.status, expected, String(code));
  }
});

test('an HTTP probe asks with the path, the Host and the headers that the Pod names', async () => {
  const seen: unknown[] = [];
  await using server = await app((request, response) => {
    const { host, 'x-a': own, accept } = request.headers;
    seen.push([request.method, request.url, host, own, accept]);
    response.end();
  });
  await ask(httpProbe(server.port, { path: '/live?full=1' }));
  const headers = [
    { name: 'Host', value: 'shop.example' },
    { name: 'X-A', value: '1' },
    { name: 'x-a', value: '2' },
    { name: 'Accept', value: 'text/plain' },
  ];
  await ask(httpProbe(server.port, { headers }));
  assert.deepEqual(seen, [
    ['GET', '/live?full=1', `${POD}:${server.port}`, undefined, '*/*'],
    ['GET', '/', 'shop.example', '1, 2', 'text/plain'],
  ]);
});

test('an HTTP probe fails for nobody there, for silence and for what is no HTTP, within its time', async () => {
  const closed = await app(() => undefined);
  await closed[Symbol.asyncDispose]();
  const refused = await ask(httpProbe(closed.port));
  assert.deepEqual([refused?.status, refused?.reason.includes('ECONNREFUSED')], [503, true]);
  await using silent = await app(() => undefined);
  const late = await ask(httpProbe(silent.port, { timeoutMs: 50 }));
  assert.deepEqual(late, { status: 503, reason: 'no answer within 0.05 s' });
  await using slow = await app((_request, response) => void response.writeHead(200).write('x'));
  assert.equal((await ask(httpProbe(slow.port, { timeoutMs: 50 })))?.status, 503);
  await using other = await listening(
    net.createServer((socket) => void socket.resume().end('hello\r\n')),
  );
  assert.equal((await ask(httpProbe(other.port)))?.status, 503);
});

test('a body without end passes once enough of it has come', async () => {
  await using server = await app((_request, response) => void response.write('x'.repeat(20_000)));
  assert.equal((await ask(httpProbe(server.port)))?.status, 200);
});

test('a redirect within the Pod is followed, one that leads elsewhere is a success and never called', async () => {
  const paths: unknown[] = [];
  await using server = await app((request, response) => {
    paths.push(request.url);
    const to: Readonly<Record<string, string>> = {
      '/a': '/b',
      '/b': `http://${POD}:${server.port}/sick`,
      '/out': 'http://169.254.169.254/latest',
      '/loop': '/loop',
      '/odd': '/é x',
    };
    const location = to[request.url ?? ''];
    if (location === undefined) response.writeHead(request.url === '/sick' ? 500 : 200).end();
    else response.writeHead(302, { location: Buffer.from(location).toString('latin1') }).end();
  });
  assert.equal((await ask(httpProbe(server.port, { path: '/a' })))?.status, 500);
  assert.deepEqual(paths, ['/a', '/b', '/sick']);
  assert.equal((await ask(httpProbe(server.port, { path: '/out' })))?.status, 200);
  assert.equal((await ask(httpProbe(server.port, { path: '/odd' })))?.status, 200);
  const loop = await ask(httpProbe(server.port, { path: '/loop' }));
  assert.deepEqual(loop, { status: 503, reason: 'more than 10 redirects' });
});

test('redirectWithin() knows the address of the Pod from those that only begin like it', () => {
  const from = { scheme: 'HTTP', port: 8080, path: '/' } as const;
  for (const [location, podIp, expected] of [
    ['/x', '10.0.0.1', { scheme: 'HTTP', port: 8080, path: '/x' }],
    ['https://10.0.0.1/x', '10.0.0.1', { scheme: 'HTTPS', port: 443, path: '/x' }],
    ['http://[fd00::1]:81', 'fd00::1', { scheme: 'HTTP', port: 81, path: '/' }],
    ['//10.0.0.9/x', '10.0.0.1', undefined],
    ['http://10.0.0.11/x', '10.0.0.1', undefined],
    ['http://10.0.0.1.evil/x', '10.0.0.1', undefined],
    ['http://10.0.0.1@evil/x', '10.0.0.1', undefined],
    ['http://10.0.0.1:80@evil/x', '10.0.0.1', undefined],
    ['http://10.0.0.1:0/x', '10.0.0.1', undefined],
    ['ftp://10.0.0.1/x', '10.0.0.1', undefined],
    [undefined, '10.0.0.1', undefined],
  ] as const) {
    assert.deepEqual(redirectWithin(location, from, podIp), expected, String(location));
  }
});

test('an HTTPS probe does not ask whose certificate it is', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-probe-'));
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=other', '-keyout', key, '-out', cert];
    await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject]);
    const material = { key: await readFile(key), cert: await readFile(cert) };
    await using server = await listening(
      https.createServer(material, (_request, response) => void response.end()),
    );
    assert.equal((await ask(httpProbe(server.port, { scheme: 'HTTPS' })))?.status, 200);
    assert.equal((await ask(httpProbe(server.port)))?.status, 503, 'TLS is not spoken to HTTP');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a TCP probe passes when somebody accepts', async () => {
  const server = await listening(net.createServer((socket) => void socket.resume()));
  const probe = { kind: 'tcp', port: server.port, timeoutMs: 2_000 } as const;
  assert.equal((await ask(probe))?.status, 200);
  await server[Symbol.asyncDispose]();
  assert.equal((await ask(probe))?.status, 503);
});

test('a gRPC probe passes for SERVING alone, of the service that it names', async () => {
  const server = new Server();
  const states: Readonly<Record<string, number>> = { '': 1, sick: 2, ['long'.repeat(50)]: 1 };
  server.register(
    '/grpc.health.v1.Health/Check',
    (
      call: { readonly request: { readonly service: string } },
      respond: (error: object | null, value?: number) => void,
    ): void => {
      const state = states[call.request.service];
      if (state === undefined) respond({ code: status.NOT_FOUND, details: 'unknown service' });
      else respond(null, state);
    },
    (state: number) => Buffer.from([0x08, state]),
    (bytes: Buffer) => {
      if (bytes.length === 0) return { service: '' };
      assert.equal(bytes[0], 0x0a);
      return { service: bytes.subarray((bytes[1] ?? 0) >= 0x80 ? 3 : 2).toString() };
    },
    'unary',
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${POD}:0`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const check = (service: string) => ask({ kind: 'grpc', port, service, timeoutMs: 2_000 });
  assert.deepEqual(await check(''), { status: 200, reason: 'ok' });
  assert.equal((await check('long'.repeat(50)))?.status, 200);
  assert.deepEqual(await check('sick'), { status: 503, reason: 'it says NOT_SERVING' });
  assert.deepEqual(await check('other'), { status: 503, reason: 'unknown service' });
  server.forceShutdown();
  assert.equal((await check(''))?.status, 503);
});

test('the port of the probes makes the probes that were configured, and nothing else', async () => {
  let calls = 0;
  const release = Promise.withResolvers<void>();
  await using server = await app((_request, response) => {
    calls++;
    void release.promise.then(() => response.writeHead(418).end('secret'));
  });
  const prober = new AppProber({
    probes: new Map([['app/liveness', httpProbe(server.port)]]),
    podIp: POD,
  });
  const none = (): never => assert.fail('not asked for');
  const state = {
    readiness: () => ({ isReady: true, reasons: [] }),
    metricsText: none,
    configDump: none,
    certificates: none,
    clusters: none,
    dryRun: none,
    denials: none,
    drain: none,
    appProbe: (key: string) => prober.probe(key),
  };
  const statusOf = async (port: number, path: string): Promise<readonly [number, string]> => {
    const response = await fetch(`http://${POD}:${port}${path}`);
    return [response.status, await response.text()];
  };
  await using probes = await createAdminServer({ role: 'probe', host: POD, port: 0, state });
  await using metrics = await createAdminServer({ role: 'metrics', host: POD, port: 0, state });
  const two = [1, 2].map(() => statusOf(probes.address.port, '/app-probe/app/liveness'));
  await once(server, 'request');
  assert.equal((await statusOf(probes.address.port, '/healthz/ready'))[0], 200);
  release.resolve();
  const told = [418, 'the application answered 418\n'];
  assert.deepEqual(await Promise.all(two), [told, told]);
  assert.equal(calls, 1, 'one at a time: callers share it');
  for (const path of [
    '/app-probe/app/readiness',
    '/app-probe/app/liveness/',
    '/app-probe/',
    '/app-probe/app/liveness?x',
  ]) {
    assert.equal((await statusOf(probes.address.port, path))[0], 404, path);
  }
  assert.equal((await statusOf(metrics.address.port, '/app-probe/app/liveness'))[0], 404);
  assert.equal(calls, 1);
});
