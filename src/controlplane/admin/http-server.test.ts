import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type AdminApi, openAdminServers } from './http-server.ts';

interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly healthPort: number;
  readonly socketPath: string;
  readonly done: readonly string[];
}

async function openRig(overrides: Partial<AdminApi> = {}): Promise<Rig> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-admin-'));
  const socketPath = join(directory, 'admin.sock');
  /** As a control plane that was killed leaves it. */
  await writeFile(socketPath, '');
  const done: string[] = [];
  const loopback = { host: '127.0.0.1', port: 0 };
  const servers = await openAdminServers({
    admin: loopback,
    health: loopback,
    socketPath,
    api: {
      isReady: () => ({ isReady: true, reasons: [] }),
      metrics: async () => 'weft_x 1\n',
      documents: new Map([['/v1/status', () => ({ version: '1' })]]),
      actions: new Map([
        [
          '/v1/ca/rotation',
          async () => {
            done.push('rotation');
            return { status: 202, body: { phase: 'distribute' } };
          },
        ],
      ]),
      ...overrides,
    },
  });
  return {
    port: servers.addresses.admin?.port ?? 0,
    healthPort: servers.addresses.health?.port ?? 0,
    socketPath,
    done,
    async [Symbol.asyncDispose]() {
      await servers[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    },
  };
}

interface Got {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

const ask = (options: http.RequestOptions): Promise<Got> =>
  new Promise((resolve, reject) => {
    const request = http.request({ agent: false, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (body += part));
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, body }),
      );
    });
    request.on('error', reject);
    request.end();
  });

const OPEN: readonly (readonly [string, string, number])[] = [
  ['GET', '/healthz', 200],
  ['GET', '/readyz', 200],
  ['GET', '/metrics', 200],
  ['GET', '/v1/status', 200],
  ['GET', '/v1/status?pretty', 200],
  ['HEAD', '/v1/status', 200],
  ['GET', '/v1/ca/rotation', 404],
  ['GET', '/__proto__', 404],
  ['GET', '//v1/status', 404],
  ['POST', '/v1/ca/rotation', 405],
  ['POST', '/v1/status', 405],
  ['PUT', '/v1/status', 405],
  ['DELETE', '/v1/status', 405],
  ['PATCH', '/v1/status', 405],
  ['OPTIONS', '/v1/status', 405],
];
for (const [method, path, status] of OPEN) {
  test(`the open port answers ${status} to ${method} ${path}, and changes nothing`, async () => {
    await using rig = await openRig();
    const got = await ask({ host: '127.0.0.1', port: rig.port, method, path });
    assert.equal(got.status, status);
    assert.deepEqual(rig.done, []);
    assert.equal(got.headers['cache-control'], 'no-store');
    if (method === 'HEAD') assert.equal(got.body, '');
  });
}

const HEALTH: readonly (readonly [string, string, number])[] = [
  ['GET', '/healthz', 200],
  ['GET', '/readyz', 200],
  ['GET', '/metrics', 200],
  ['GET', '/v1/status', 404],
  ['GET', '/v1/explain', 404],
  ['POST', '/v1/ca/rotation', 405],
];
for (const [method, path, status] of HEALTH) {
  test(`the health port answers ${status} to ${method} ${path} from another machine (CVE-2026-31838)`, async () => {
    await using rig = await openRig();
    const headers = { host: '10.0.0.1:15014' };
    const got = await ask({ host: '127.0.0.1', port: rig.healthPort, method, path, headers });
    assert.equal(got.status, status);
    assert.deepEqual(rig.done, []);
    assert.ok(!got.body.includes('"version"'));
  });
}

test('the open port answers nobody who came by a name of the web: no page can read it by DNS rebinding (CVE-2026-31838)', async () => {
  await using rig = await openRig();
  const to = { host: '127.0.0.1', port: rig.port };
  for (const host of [
    'evil.example',
    'evil.example:80',
    '127.0.0.1.evil.example',
    'localhost.evil',
  ]) {
    for (const path of ['/v1/status', '/metrics', '/healthz']) {
      const got = await ask({ ...to, path, headers: { host } });
      assert.equal(got.status, 403, `${host} ${path}`);
      assert.ok(!got.body.includes('version'));
    }
  }
  for (const host of ['localhost', 'localhost:15014', '127.0.0.1:1', '[::1]:15014']) {
    assert.equal((await ask({ ...to, path: '/v1/status', headers: { host } })).status, 200, host);
  }
});

test('the socket is open to its owner alone, and takes changes by POST alone', async () => {
  await using rig = await openRig();
  const { socketPath } = rig;
  const { mode } = statSync(socketPath);
  assert.equal(mode & 0o777, 0o600);
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const got = await ask({ socketPath, method, path: '/v1/ca/rotation' });
    assert.ok(got.status === 404 || got.status === 405, method);
  }
  assert.deepEqual(rig.done, []);
  const got = await ask({ socketPath, method: 'POST', path: '/v1/ca/rotation' });
  assert.deepEqual([got.status, JSON.parse(got.body)], [202, { phase: 'distribute' }]);
  assert.deepEqual(rig.done, ['rotation']);
  const unknown = await ask({ socketPath, method: 'POST', path: '/v1/ca/other' });
  assert.equal(unknown.status, 405);
  assert.equal((await ask({ socketPath, path: '/v1/status' })).status, 200);
});

test('the socket is never open to others, not for a moment', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weft-admin-'));
  const socketPath = join(directory, 'admin.sock');
  const modes = new Set<number>();
  let isWatching = true;
  /** Once in each turn of the event loop: what is changed after the binding comes later than that. */
  const look = (): void => {
    const found = statSync(socketPath, { throwIfNoEntry: false });
    if (found?.isSocket() === true) modes.add(found.mode & 0o777);
    if (isWatching) setImmediate(look);
  };
  look();
  const before = process.umask();
  const api = { isReady: () => ({ isReady: true, reasons: [] }), metrics: async () => '' };
  const empty = { documents: new Map(), actions: new Map() };
  try {
    await using _servers = await openAdminServers({
      socketPath,
      api: { ...api, ...empty },
    });
    assert.deepEqual([...modes], [0o600]);
    assert.equal(process.umask(), before, 'other files are made as before');
  } finally {
    isWatching = false;
    await rm(directory, { recursive: true });
  }
});

test('readyz says why not', async () => {
  await using rig = await openRig({
    isReady: () => ({ isReady: false, reasons: ['no CA', 'no view'] }),
  });
  const got = await ask({ host: '127.0.0.1', port: rig.port, path: '/readyz' });
  assert.deepEqual([got.status, got.body], [503, 'not ready: no CA; no view\n']);
});

test('a document that cannot be made answers 500 without a stack, and the next is answered', async () => {
  await using rig = await openRig({
    documents: new Map([
      [
        '/v1/broken',
        () => {
          throw new Error('Cannot say: it broke');
        },
      ],
      ['/v1/fine', () => ({})],
    ]),
    metrics: () => Promise.reject(new Error('no metrics')),
  });
  const to = { host: '127.0.0.1', port: rig.port };
  for (const path of ['/v1/broken', '/metrics']) {
    const got = await ask({ ...to, path });
    assert.equal(got.status, 500);
    assert.ok(!got.body.includes('.ts'), got.body);
  }
  assert.equal((await ask({ ...to, path: '/v1/fine' })).status, 200);
});

test('garbage and 100 KB of headers end their connection, not the process (CVE-2022-24726)', async () => {
  await using rig = await openRig();
  const attacks = ['\0\x01\x02\r\n\r\n', `GET / HTTP/1.1\r\n${'x: y\r\n'.repeat(17_000)}\r\n`];
  for (const bytes of attacks) {
    const socket = net.connect(rig.port, '127.0.0.1');
    /** A reset is as good an end as any. */
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    socket.end(bytes);
    await closed;
  }
  assert.equal((await ask({ host: '127.0.0.1', port: rig.port, path: '/healthz' })).status, 200);
});

test('a port that is taken is an error, and leaves no server behind', async () => {
  await using rig = await openRig();
  const api: AdminApi = {
    isReady: () => ({ isReady: true, reasons: [] }),
    metrics: async () => '',
    documents: new Map(),
    actions: new Map(),
  };
  await assert.rejects(
    openAdminServers({
      admin: { host: '127.0.0.1', port: rig.port },
      socketPath: `${rig.socketPath}2`,
      api,
    }),
    /another process listens there/,
  );
  const nowhere = join(rig.socketPath, 'no', 'folder');
  await assert.rejects(openAdminServers({ socketPath: nowhere, api }));
});
