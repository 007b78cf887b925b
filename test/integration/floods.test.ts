// Clients that do too much of something are noticed at the called sidecar, and noted, held up or dropped; others are served.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type EventEmitter, once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { call, splitAddress, startHttpApp } from '../support/lab-clients.ts';
import { modeYaml } from '../support/lab-manifests.ts';
import { eventually, within } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';

/** JSON is YAML. */
const floods = (spec: object): string =>
  JSON.stringify({
    apiVersion: 'mesh.weft.dev/v1',
    kind: 'TrafficPolicy',
    metadata: { name: 'calm', namespace: 'shop' },
    spec: { floods: { window: '1h', ...spec } },
  });

const run = promisify(execFile);
/** Loopback itself is exempt; these are clients like others. */
const CLIENT = '127.0.0.77';
const OTHER = '127.0.0.78';

async function openWeb(
  lab: Lab,
  app: string,
  spec: object,
  mode: 'PERMISSIVE' | 'STRICT' = 'PERMISSIVE',
) {
  await lab.write('m.yaml', modeYaml(mode));
  await lab.write('t.yaml', floods(spec));
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const web = await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app }, service });
  await lab.enforced('calm');
  return web;
}

/** However it comes about. */
const closeOf = (one: EventEmitter): Promise<void> =>
  new Promise((resolve) => {
    one.once('close', () => resolve());
  });

async function startHttp2App(serve: (stream: http2.ServerHttp2Stream) => unknown) {
  const server = http2.createServer();
  const sessions = new Set<http2.Http2Session>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', serve);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose](): Promise<void> {
      server.close();
      for (const session of sessions) session.destroy();
    },
  };
}

async function startHttp1App(serve: http.RequestListener) {
  const server = http.createServer(serve);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose](): Promise<void> {
      server.close();
      server.closeAllConnections();
    },
  };
}

const agentOf = (localAddress: string): http.Agent =>
  new http.Agent({ localAddress, keepAlive: true });

/** @returns the status; 0 when there was no answer. */
async function ask(web: LabSidecar, agent: http.Agent): Promise<number> {
  return await call(web.front(8080), '/', { agent }).then(
    ({ status }) => status,
    () => 0,
  );
}

test('a client that asks too much is dropped: its connections are cut and new ones closed; others are served', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await openWeb(lab, app.address, { action: 'drop', requests: 5 });
  const [client, other] = [agentOf(CLIENT), agentOf(OTHER)];
  for (let at = 0; at < 5; at++) assert.equal(await ask(web, client), 200);
  assert.equal(await ask(web, client), 429);
  await eventually(async () => (await ask(web, client)) === 0, { what: 'the connection is cut' });
  assert.equal(await ask(web, client), 0, 'and no other is taken');
  assert.equal(await ask(web, other), 200);
  const loopback = new http.Agent();
  for (let at = 0; at < 20; at++) assert.equal(await ask(web, loopback), 200, 'probes go on');
  assert.equal(await web.metric('weft_floods_total', 'event="requests",action="drop"'), 1);
  assert.ok((await web.metric('weft_connections_refused_total', 'reason="flood"')) >= 1);
  for (const agent of [client, other, loopback]) agent.destroy();
});

test('a client that is only to be noted is served, and one that is to be slowed waits', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await openWeb(lab, app.address, { action: 'log', requests: 1 });
  const client = agentOf(CLIENT);
  for (let at = 0; at < 5; at++) assert.equal(await ask(web, client), 200);
  assert.equal(await web.metric('weft_floods_total', 'action="log"'), 1);
  await lab.write('t.yaml', floods({ action: 'slow', requests: 1 }));
  const isHeldUp = async (): Promise<boolean> => {
    const begun = performance.now();
    assert.equal(await ask(web, client), 200);
    return performance.now() - begun >= 900;
  };
  await eventually(isHeldUp, { what: 'a request that is held up' });
  client.destroy();
});

test('streams that a client opens and resets are a flood (CVE-2023-44487), and it is cut off for them', async () => {
  await using lab = await startLab();
  await using app = await startHttp2App((stream) => stream.on('error', () => undefined));
  const web = await openWeb(lab, app.address, { action: 'drop', resets: 20 });
  const { host, port: front } = splitAddress(web.front(8080));
  const session = http2.connect(`http://${web.front(8080)}`, {
    createConnection: () => net.connect({ host, port: front, localAddress: CLIENT }),
  });
  session.on('error', () => undefined);
  const closed = closeOf(session);
  await once(session, 'connect');
  for (let at = 0; at < 100 && !session.destroyed && !session.closed; at++) {
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => undefined);
    // Not before its head has gone.
    await new Promise(setImmediate);
    const gone = closeOf(stream);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await gone;
  }
  await within(closed, 5_000, 'the connection is cut');
  assert.equal(await web.metric('weft_floods_total', 'event="resets"'), 1);
});

test('handshakes that fail are a flood', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await openWeb(lab, app.address, { action: 'drop', handshakes: 3 }, 'STRICT');
  const { host, port } = splitAddress(web.front(8080));
  for (let at = 0; at < 5; at++) {
    const socket = net.connect({ host, port, localAddress: CLIENT });
    socket.on('error', () => undefined);
    socket.end('GET / HTTP/1.1\r\n\r\n');
    socket.resume();
    await closeOf(socket);
  }
  assert.equal(await web.metric('weft_floods_total', 'event="handshakes"'), 1);
  assert.ok((await web.metric('weft_connections_refused_total', 'reason="flood"')) >= 1);
});

test('h2load gets through what a throttle lets through and no more; curl is told when to come again', async (context) => {
  await using lab = await startLab();
  await using app = await startHttp2App((stream) => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
  await lab.write('m.yaml', modeYaml('PERMISSIVE'));
  const throttling = [{ name: 'all', requests: 1, interval: '1h', burst: 50 }];
  await lab.write(
    't.yaml',
    floods({ requests: 1e6 }).replace(
      '"floods"',
      `"throttling":${JSON.stringify(throttling)},"floods"`,
    ),
  );
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const web = await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service,
  });
  await lab.enforced('calm');
  const url = `http://${web.front(8080)}/`;
  const load = await run('h2load', ['-n', '1000', '-c', '10', '-m', '10', url]).catch(noTool);
  if (load === undefined) context.diagnostic('h2load is not installed');
  else assert.match(load.stdout, /status codes: 50 2xx, 0 3xx, 950 4xx/);
  const answer = await run('curl', ['-si', '--http2-prior-knowledge', url]).catch(noTool);
  if (answer === undefined) context.diagnostic('curl is not installed');
  else if (load !== undefined) {
    assert.match(answer.stdout, /^HTTP\/2 429/);
    assert.match(answer.stdout, /retry-after: 3[0-9]{3}\r/);
    assert.match(answer.stdout, /ratelimit: "all";r=0;t=/);
  }
});

function noTool(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

test('a client that does not read what it asked for is a slow reader, and is dropped', async () => {
  await using lab = await startLab();
  await using app = await startHttp1App((_request, response) => {
    response.on('error', () => undefined).end(Buffer.alloc(50_000_000));
  });
  const web = await openWeb(lab, app.address, { action: 'drop', slowReads: 1, window: '1h' });
  const { host, port } = splitAddress(web.front(8080));
  const [slow, quick] = [CLIENT, OTHER].map((localAddress) => {
    const socket = net.connect({ host, port, localAddress });
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    return socket;
  });
  assert.ok(slow !== undefined && quick !== undefined);
  let received = 0;
  quick.on('data', (chunk) => (received += chunk.length));
  slow.pause();
  await eventually(async () => (await web.metric('weft_floods_total', 'event="slowReads"')) === 1, {
    what: 'the slow reader is found',
    withinMs: 20_000,
    everyMs: 100,
  });
  slow.resume();
  await within(closeOf(slow), 5_000, 'the connection is cut');
  await eventually(() => received > 50_000_000, {
    what: 'all of it',
    told: () => `${received} bytes`,
  });
  quick.destroy();
});
