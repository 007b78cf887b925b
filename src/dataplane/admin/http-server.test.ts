// What each port offers, and to whom.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import http from 'node:http';
import { isLocalHost } from '@weft/model/local-host';
import { createAdminServer, type AdminRole, type AdminState } from './http-server.ts';

function stateOf(overrides: Partial<AdminState> = {}): AdminState {
  return {
    readiness: () => ({ isReady: true, reasons: [] }),
    metricsText: () => 'm 1\n',
    configDump: () => ({ listeners: [] }),
    certificates: () => ({ certificates: [] }),
    denials: (requestId) => ({ denials: requestId === undefined ? [1, 2] : [requestId] }),
    dryRun: () => ({ rules: [], judged: 0, changes: [] }),
    clusters: () => ({ clusters: [] }),
    drain: () => undefined,
    ...overrides,
  };
}

interface Got {
  readonly status: number | undefined;
  readonly body: string;
}

const ask = (port: number, options: http.RequestOptions): Promise<Got> =>
  new Promise((resolve, reject) => {
    const request = http.request(
      { host: '127.0.0.1', port, agent: false, ...options },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (body += part));
        response.on('end', () => resolve({ status: response.statusCode, body }));
      },
    );
    request.on('error', reject);
    request.end();
  });

const offered: readonly (readonly [AdminRole, string, number])[] = [
  ['admin', '/ready', 200],
  ['admin', '/config_dump', 200],
  ['admin', '/certs', 200],
  ['admin', '/clusters', 200],
  ['admin', '/stats/prometheus', 200],
  ['admin', '/denials', 200],
  ['probe', '/denials', 404],
  ['admin', '/nothing', 404],
  ['admin', '/drain', 405],
  ['probe', '/healthz/ready', 200],
  ['probe', '/config_dump', 404],
  ['probe', '/metrics', 404],
  ['metrics', '/metrics', 200],
  ['metrics', '/certs', 404],
];
for (const [role, path, status] of offered) {
  test(`the ${role} port answers ${status} to GET ${path}`, async () => {
    await using server = await createAdminServer({
      role,
      host: '127.0.0.1',
      port: 0,
      state: stateOf(),
    });
    assert.equal((await ask(server.address.port, { path })).status, status);
  });
}

test('readiness says what is missing', async () => {
  const state = stateOf({ readiness: () => ({ isReady: false, reasons: ['no policy yet'] }) });
  await using server = await createAdminServer({
    role: 'probe',
    host: '127.0.0.1',
    port: 0,
    state,
  });
  const got = await ask(server.address.port, { path: '/healthz/ready' });
  assert.deepEqual(got, { status: 503, body: 'NOT READY: no policy yet\n' });
});

test('POST /drain drains, but not for a web page', async () => {
  let drained = 0;
  const state = stateOf({ drain: () => void drained++ });
  await using server = await createAdminServer({
    role: 'admin',
    host: '127.0.0.1',
    port: 0,
    state,
  });
  const { port } = server.address;
  const request = { path: '/drain', method: 'POST' };
  assert.equal((await ask(port, { ...request, headers: { origin: 'http://evil' } })).status, 403);
  assert.equal((await ask(port, { ...request, headers: { host: 'evil.example' } })).status, 403);
  assert.equal(drained, 0);
  assert.equal((await ask(port, request)).status, 202);
  assert.equal(drained, 1);
});

test('isLocalHost() takes loopback names and addresses only', () => {
  for (const host of ['localhost', 'localhost:15000', '127.0.0.1:1', '[::1]:15000', '10.0.0.1']) {
    assert.ok(isLocalHost(host), host);
  }
  for (const host of ['evil.example', 'localhost.evil.example:15000', 'a:b:c', '[::1', '']) {
    assert.ok(!isLocalHost(host), host);
  }
});

test('GET /denials?request-id=… asks for one refusal, without it for all', async () => {
  await using server = await createAdminServer({
    role: 'admin',
    host: '127.0.0.1',
    port: 0,
    state: stateOf(),
  });
  const one = await ask(server.address.port, { path: '/denials?request-id=a%2Fb' });
  assert.deepEqual(JSON.parse(one.body), { denials: ['a/b'] });
  const all = await ask(server.address.port, { path: '/denials' });
  assert.deepEqual(JSON.parse(all.body), { denials: [1, 2] });
});
