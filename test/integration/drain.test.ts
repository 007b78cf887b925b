// A sidecar that is told to go: nothing in flight fails, nobody new is kept, and it ends in time.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { after, before, test } from 'node:test';
import {
  call,
  connectRaw,
  type HttpApp,
  startHttpApp,
  startTcpApp,
} from '../support/lab-clients.ts';
import { type GrpcApp, GrpcClient, nextText, startGrpcApp, statusOf } from '../support/lab-grpc.ts';
import { modeYaml } from '../support/lab-manifests.ts';
import { eventually, PATIENCE_MS } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, type SidecarSpec, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

let lab: Lab;
let pods = 0;

before(async () => {
  lab = await startLab();
  await lab.write('mode.yaml', modeYaml('PERMISSIVE'));
});
after(() => lab?.[Symbol.asyncDispose]());

/** A workload of its own for one test, and its Service of the same name. */
function start(
  inbound: Readonly<Record<number, string>>,
  ports: NonNullable<SidecarSpec['service']>,
  args: readonly string[] = [],
): Promise<LabSidecar> {
  return lab.startSidecar({ pod: `app${++pods}-0`, inbound, service: ports, args });
}

const HTTP = [{ name: 'http', port: 80, targetPort: 8080 }] as const;

const startHttp = (app: HttpApp, args?: readonly string[]): Promise<LabSidecar> =>
  start({ 8080: app.address }, HTTP, args);

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: app\r\n\r\n`;

test('SIGTERM: unready at once, the request in flight ends well, idle connections are closed, exit 0', async () => {
  await using app = await startHttpApp();
  const sidecar = await startHttp(app);
  const front = sidecar.front(8080);
  using idle = await connectRaw(front);
  idle.write(request('/before'));
  await idle.reads('/before');
  using busy = await connectRaw(front);
  busy.write(request('/hold'));
  await busy.reads('held');
  sidecar.daemon.signal('SIGTERM');
  await idle.closed();
  const ready = await sidecar.ask('/ready');
  assert.equal(ready.status, 503);
  assert.match(ready.body, /draining/);
  assert.equal(busy.isClosed, false);
  app.release();
  await busy.reads(' released');
  await busy.closed();
  assert.equal((await sidecar.daemon.exit()).code, 0);
  shown('weft', 'drains');
});

test('an answer that begins while draining says Connection: close', async () => {
  await using app = await startHttpApp({
    handle: (_request, response) => {
      waiting = () => response.end('late');
    },
  });
  let waiting: (() => void) | undefined;
  const sidecar = await startHttp(app);
  using busy = await connectRaw(sidecar.front(8080));
  busy.write(request('/'));
  await eventually(() => waiting !== undefined, { what: 'the request' });
  sidecar.daemon.signal('SIGTERM');
  await eventually(async () => (await sidecar.ask('/ready')).status === 503, { what: 'draining' });
  waiting?.();
  assert.match(await busy.reads('late'), /connection: close\r\n/i);
  await busy.closed();
  assert.equal((await sidecar.daemon.exit()).code, 0);
});

test('a connection that comes while draining is still served once, and then closed', async () => {
  await using app = await startHttpApp();
  const sidecar = await startHttp(app);
  const front = sidecar.front(8080);
  using busy = await connectRaw(front);
  busy.write(request('/hold'));
  await busy.reads('held');
  sidecar.daemon.signal('SIGTERM');
  await eventually(async () => (await sidecar.ask('/ready')).status === 503, { what: 'draining' });
  using late = await connectRaw(front);
  late.write(request('/late'));
  assert.match(await late.reads('"path":"/late"'), /connection: close\r\n/i);
  await late.closed();
  app.release();
  assert.equal((await sidecar.daemon.exit()).code, 0);
});

test('what does not end within the limit is cut, and the log counts it', async () => {
  await using app = await startHttpApp();
  const sidecar = await startHttp(app, ['--drain-limit', '300ms']);
  using busy = await connectRaw(sidecar.front(8080));
  busy.write(request('/hold'));
  await busy.reads('held');
  sidecar.daemon.signal('SIGTERM');
  await busy.closed();
  assert.equal((await sidecar.daemon.exit()).code, 0);
  const line = await sidecar.daemon.line((entry) => entry['msg'] === 'drained', 'the end');
  assert.equal(line['cut'], 1);
});

test('a second signal does not wait', async () => {
  await using app = await startHttpApp();
  const sidecar = await startHttp(app);
  using busy = await connectRaw(sidecar.front(8080));
  busy.write(request('/hold'));
  await busy.reads('held');
  sidecar.daemon.signal('SIGTERM');
  await eventually(async () => (await sidecar.ask('/ready')).status === 503, { what: 'draining' });
  sidecar.daemon.signal('SIGTERM');
  assert.equal((await sidecar.daemon.exit()).code, 1);
});

test('HTTP/2 is told by GOAWAY, streams in flight end well', async () => {
  await using app: GrpcApp = await startGrpcApp();
  const sidecar = await start({ 9000: app.address }, [
    { name: 'grpc', port: 9000, targetPort: 9000 },
  ]);
  const session = http2.connect(`http://${sidecar.front(9000)}`);
  await once(session, 'connect');
  using grpc = new GrpcClient(sidecar.front(9000));
  const chat = grpc.chat();
  chat.write('before');
  await nextText(chat);
  const goaway = once(session, 'goaway', { signal: AbortSignal.timeout(PATIENCE_MS) });
  sidecar.daemon.signal('SIGTERM');
  const [code] = await goaway;
  assert.equal(code, 0);
  await once(session, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) });
  chat.write('still');
  assert.equal(await nextText(chat), 'app still');
  chat.end();
  assert.equal((await statusOf(chat.resume())).code, 0);
  assert.equal((await sidecar.daemon.exit()).code, 0);
});

test('a TCP connection goes on until it ends by itself', async () => {
  await using app = await startTcpApp();
  const sidecar = await start({ 7000: app.address }, [
    { name: 'tcp', port: 7000, targetPort: 7000 },
  ]);
  using raw = await connectRaw(sidecar.front(7000));
  raw.write('one ');
  await raw.reads('one ');
  sidecar.daemon.signal('SIGTERM');
  await eventually(async () => (await sidecar.ask('/ready')).status === 503, { what: 'draining' });
  raw.write('two');
  await raw.reads('two');
  raw.socket.end();
  assert.equal((await sidecar.daemon.exit()).code, 0);
});

test('a sidecar that goes while another calls through it: no call fails, a second one takes over', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  const [first] = await Promise.all([
    lab.startSidecar({ pod: 'pair-0', inbound: { 8080: one.address }, service: HTTP }),
    lab.startSidecar({ pod: 'pair-1', inbound: { 8080: two.address } }),
  ]);
  const client = await lab.startSidecar({ pod: 'caller-0', outbound: ['pair.shop:80'] });
  const via = client.via('pair.shop:80');
  const seen = new Set<string>();
  const stopped = new AbortController();
  const run = async (): Promise<void> => {
    for (let count = 0; !stopped.signal.aborted || count < 100; count++) {
      const { status, body } = await call(via, `/${count}`, { method: 'POST', body: 'x' });
      assert.equal(status, 200, body);
      seen.add(JSON.parse(body).app);
    }
  };
  const load = Promise.all([run(), run(), run(), run()]);
  await eventually(() => seen.size === 2, { what: 'both' });
  first.daemon.signal('SIGTERM');
  assert.equal((await first.daemon.exit()).code, 0);
  stopped.abort();
  await load;
  seen.clear();
  for (let count = 0; count < 20; count++) seen.add(JSON.parse((await call(via, '/')).body).app);
  assert.deepEqual([...seen], ['two']);
});

test('gRPC calls that meet a GOAWAY are made elsewhere: none fails', async () => {
  await using one = await startGrpcApp('one');
  await using two = await startGrpcApp('two');
  const service = [{ name: 'grpc', port: 9000, targetPort: 9000 }];
  const [first] = await Promise.all([
    lab.startSidecar({ pod: 'rpc-0', inbound: { 9000: one.address }, service }),
    lab.startSidecar({ pod: 'rpc-1', inbound: { 9000: two.address } }),
  ]);
  const client = await lab.startSidecar({ pod: 'rpccaller-0', outbound: ['rpc.shop:9000'] });
  using grpc = new GrpcClient(client.via('rpc.shop:9000'));
  const seen = new Set<string>();
  const stopped = new AbortController();
  const run = async (): Promise<void> => {
    for (let count = 0; !stopped.signal.aborted || count < 100; count++) {
      seen.add((await grpc.unary('x')).text);
    }
  };
  const load = Promise.all([run(), run(), run(), run()]);
  await eventually(() => seen.size === 2, { what: 'both' });
  first.daemon.signal('SIGTERM');
  assert.equal((await first.daemon.exit()).code, 0);
  stopped.abort();
  await load;
  seen.clear();
  for (let count = 0; count < 20; count++) seen.add((await grpc.unary('x')).text);
  assert.deepEqual([...seen], ['two x']);
});

test('an endpoint that is removed keeps what is in flight, and gets nothing new', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  await Promise.all([
    lab.startSidecar({ pod: 'twin-0', inbound: { 8080: one.address }, service: HTTP }),
    lab.startSidecar({ pod: 'twin-1', inbound: { 8080: two.address } }),
  ]);
  const client = await lab.startSidecar({ pod: 'visitor-0', outbound: ['twin.shop:80'] });
  const via = client.via('twin.shop:80');
  const held = [];
  while (one.held === 0 || two.held === 0) {
    const raw = await connectRaw(via);
    raw.write(request('/hold'));
    await raw.reads('held');
    held.push(raw);
    assert.ok(held.length < 40, 'one of two is never chosen');
  }
  await lab.remove('pod-twin-1.yaml');
  await eventually(async () => (await client.ask('/clusters')).body.split('"mesh"').length === 2, {
    what: 'one endpoint',
  });
  for (let count = 0; count < 20; count++) {
    assert.equal(JSON.parse((await call(via, '/')).body).app, 'one');
  }
  one.release();
  two.release();
  for (const raw of held) {
    await raw.reads(' released');
    raw[Symbol.dispose]();
  }
});

test('a Pod that is being deleted drains as well', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  await Promise.all([
    lab.startSidecar({ pod: 'leaver-0', inbound: { 8080: one.address }, service: HTTP }),
    lab.startSidecar({ pod: 'leaver-1', inbound: { 8080: two.address } }),
  ]);
  const client = await lab.startSidecar({ pod: 'guest-0', outbound: ['leaver.shop:80'] });
  const via = client.via('leaver.shop:80');
  await call(via, '/');
  const text = await lab.read('pod-leaver-0.yaml');
  const deleting = text.replace(
    '  name: leaver-0\n',
    '  name: leaver-0\n  deletionTimestamp: "2026-01-01T00:00:00Z"\n',
  );
  assert.notEqual(text, deleting);
  await lab.write('pod-leaver-0.yaml', deleting);
  await eventually(async () => (await client.ask('/clusters')).body.includes('"draining"'), {
    what: 'that it drains',
  });
  for (let count = 0; count < 20; count++) {
    assert.equal(JSON.parse((await call(via, '/')).body).app, 'two');
  }
});

test('--drain-outbound: calls that the workload still makes go on until they end or the limit is over', async () => {
  await using app = await startTcpApp();
  const other = await start({ 5432: app.address }, [
    { name: 'tcp-db', port: 5432, targetPort: 5432 },
  ]);
  const name = `app${pods}.shop:5432`;
  const startCaller = (...args: readonly string[]) =>
    lab.startSidecar({ pod: `app${++pods}-0`, outbound: [name], args });
  const caller = await startCaller('--drain-outbound');
  using query = await connectRaw(caller.via(name));
  query.write('begin');
  await query.reads('begin');
  caller.daemon.signal('SIGTERM');
  await caller.daemon.line((line) => line['msg'] === 'draining', 'the drain');
  query.write('commit');
  await query.reads('commit');
  using late = await connectRaw(caller.via(name));
  late.write('late');
  await late.reads('late');
  assert.ok(caller.daemon.isRunning);
  for (const open of [query, late]) open.socket.end();
  assert.deepEqual(await caller.daemon.exit(), { code: 0, signal: undefined });

  const limited = await startCaller('--drain-outbound', '--drain-limit', '300ms');
  using endless = await connectRaw(limited.via(name));
  endless.write('x');
  await endless.reads('x');
  assert.equal((await limited.daemon.stop()).code, 0);
  const drained = await limited.daemon.line((line) => line['msg'] === 'drained', 'the end');
  assert.equal(drained['cut'], 1);
  assert.equal(other.daemon.isRunning, true);
});
