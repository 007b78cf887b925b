// What of Envoy's admin endpoints a process of the Pod may ask the agent for, and what of the agent.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EnvoyAdmin } from './envoy-admin.ts';
import { openHttpPort } from './http-ports.ts';

async function createRig(role: 'admin' | 'metrics') {
  await using making = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-http-'));
  making.defer(() => rm(folder, { recursive: true, force: true }));
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.setHeader('content-type', 'text/plain').end(`envoy ${request.url}\n`);
  });
  const path = join(folder, 'admin.sock');
  server.listen(path);
  await once(server, 'listening');
  making.defer(() => void server.close());
  const drained: string[] = [];
  const port = making.use(
    await openHttpPort({
      role,
      host: '127.0.0.1',
      port: 0,
      envoy: new EnvoyAdmin(path),
      state: {
        readiness: () => ({ isReady: false, reasons: ['nothing there'] }),
        metricsText: () => 'weft_ready 0\n',
        certificates: () => ({ certificate: null }),
        describe: () => ({ node: 'web-0.shop' }),
        drain: () => drained.push('drain'),
      },
    }),
  );
  const ask = async (target: string, options: http.RequestOptions = {}) => {
    const request = http.request({
      host: '127.0.0.1',
      port: port.address.port,
      path: target,
      agent: false,
      ...options,
    });
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let body = '';
    for await (const part of response.setEncoding('utf8')) body += String(part);
    return { status: response.statusCode, body };
  };
  const owned = making.move();
  return {
    ask,
    asked,
    drained,
    stopEnvoy: () => void server.close(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('what tells is passed on with its query, and nothing that changes Envoy is', async () => {
  await using rig = await createRig('admin');
  const dump = await rig.ask('/config_dump?resource=dynamic_listeners');
  assert.deepEqual(dump, { status: 200, body: 'envoy /config_dump?resource=dynamic_listeners\n' });
  for (const path of [
    '/quitquitquit',
    '/runtime_modify?a=b',
    '/logging?level=trace',
    '/healthcheck/fail',
    '/drain_listeners',
    '/cpuprofiler?enable=y',
    '/reset_counters',
    '/config_dump/../quitquitquit',
    '//quitquitquit',
    '/config_dump%3f',
  ]) {
    assert.equal((await rig.ask(path, { method: 'POST' })).status, 404, path);
    assert.equal((await rig.ask(path)).status, 404, path);
  }
  assert.equal((await rig.ask('/config_dump', { method: 'POST' })).status, 405);
  assert.deepEqual(rig.asked, ['GET /config_dump?resource=dynamic_listeners']);
});

test("the agent's own are there, for this machine alone", async () => {
  await using rig = await createRig('admin');
  assert.match((await rig.ask('/agent')).body, /web-0\.shop/);
  assert.deepEqual(await rig.ask('/ready'), { status: 503, body: 'NOT READY: nothing there\n' });
  const rebound = await rig.ask('/agent', { headers: { host: 'evil.test' } });
  assert.equal(rebound.status, 403, 'a page of the web whose name leads here');
  assert.equal((await rig.ask('/drain')).status, 405);
  const page = { method: 'POST', headers: { origin: 'http://evil.test' } };
  assert.equal((await rig.ask('/drain', page)).status, 403);
  assert.deepEqual(rig.drained, []);
  assert.equal((await rig.ask('/drain', { method: 'POST' })).status, 202);
  assert.deepEqual(rig.drained, ['drain']);
});

test('metrics are those of both, and of the agent where Envoy does not answer', async () => {
  await using rig = await createRig('metrics');
  assert.equal((await rig.ask('/metrics')).body, 'weft_ready 0\nenvoy /stats/prometheus\n');
  assert.equal((await rig.ask('/config_dump')).status, 404);
  assert.equal((await rig.ask('/agent')).status, 404);
  rig.stopEnvoy();
  const { status, body } = await rig.ask('/metrics');
  assert.equal(status, 200);
  assert.match(body, /^weft_ready 0\n# Envoy does not answer/);
});
