// Several endpoints of one service: work is spread, a failing one is left out, and nobody notices one that is gone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  call,
  connectRaw,
  type HttpApp,
  startHttpApp,
  startTcpApp,
} from '../support/lab-clients.ts';
import { GrpcClient, startGrpcApp } from '../support/lab-grpc.ts';
import { podYaml, serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, listOf, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

let lab: Lab;
before(async () => {
  lab = await startLab();
});
after(() => lab?.[Symbol.asyncDispose]());

const HTTP = [{ name: 'http', port: 80, targetPort: 8080 }] as const;

const appOf = (body: string): string => JSON.parse(body).app;

/** Endpoints of a service as a sidecar sees them. */
async function endpointsOf(client: LabSidecar, service: string) {
  const clusters = listOf(await client.askJson('/clusters'), 'clusters');
  const cluster = clusters.find(({ name }) => String(name).includes(`||${service}.`));
  return listOf(cluster, 'endpoints');
}

async function startPods(
  name: string,
  apps: readonly HttpApp[],
): Promise<{
  readonly pods: readonly LabSidecar[];
  readonly client: LabSidecar;
  readonly via: string;
}> {
  const pods = await Promise.all(
    apps.map((app, index) =>
      lab.startSidecar({
        pod: `${name}-${index}`,
        inbound: { 8080: app.address },
        ...(index === 0 && { service: HTTP }),
      }),
    ),
  );
  const client = await lab.startSidecar({
    pod: `to${name}-0`,
    outbound: [`${name}.shop:80`],
  });
  return { pods, client, via: client.via(`${name}.shop:80`) };
}

test('requests are spread over all endpoints, and the one that is busy gets fewer', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  const { via } = await startPods('even', [one, two]);
  for (let count = 0; count < 200; count++) await call(via, '/x');
  const spread = [one, two].map(({ requests }) => requests.length);
  assert.ok(Math.min(...spread) > 50, `spread as ${spread.join(' and ')}`);
  const held = [];
  while (one.held < 1) {
    const raw = await connectRaw(via);
    raw.write('GET /hold HTTP/1.1\r\nhost: a\r\n\r\n');
    await raw.reads('held');
    held.push(raw);
    two.release();
    await eventually(() => two.held === 0, { what: 'two being free' });
    assert.ok(held.length < 200, 'one is never chosen');
  }
  const before = one.requests.length;
  for (let count = 0; count < 100; count++) await call(via, '/x');
  assert.equal(one.requests.length, before, 'two has less to do all the time');
  one.release();
  for (const raw of held) raw[Symbol.dispose]();
  shown('weft', 'balances');
});

test('an endpoint at which nobody listens costs no request: another is tried, and it is ejected', async () => {
  await using one = await startHttpApp({ name: 'one' });
  const { via, client } = await startPods('half', [one]);
  await call(via, '/');
  const ip = lab.nextIp();
  await lab.write('pod-half-dead.yaml', podYaml({ name: 'half-9', ip, ports: [8080] }));
  await eventually(async () => (await endpointsOf(client, 'half')).length === 2, { what: 'it' });
  for (let count = 0; count < 60; count++) {
    const { status, body } = await call(via, '/', { method: 'POST', body: 'x' });
    assert.equal(status, 200, body);
  }
  const dead = (await endpointsOf(client, 'half')).find(({ address }) =>
    String(address).startsWith(ip),
  );
  assert.equal(dead?.['ejected'], true);
  await client.daemon.line(
    (line) => String(line['msg']).startsWith('endpoint ejected'),
    'that it is ejected',
  );
  assert.equal((await client.metric('weft_endpoint_ejections_total')) > 0, true);
});

test('an endpoint whose sidecar is killed under load: calls go to the other', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  const { via, pods } = await startPods('killed', [one, two]);
  while (one.requests.length === 0 || two.requests.length === 0) await call(via, '/');
  await pods[0]!.daemon.stop('SIGKILL');
  let failures = 0;
  for (let count = 0; count < 100; count++) {
    const { status, body } = await call(via, '/after');
    if (status !== 200) failures++;
    else assert.equal(appOf(body), 'two');
  }
  assert.equal(failures, 0, 'GETs on connections that were open are sent again elsewhere');
});

test('gRPC calls go to the other endpoint when one is killed', async () => {
  await using one = await startGrpcApp('one');
  await using two = await startGrpcApp('two');
  const service = [{ name: 'grpc', port: 9000, targetPort: 9000 }];
  const [first] = await Promise.all([
    lab.startSidecar({ pod: 'calls-0', inbound: { 9000: one.address }, service }),
    lab.startSidecar({ pod: 'calls-1', inbound: { 9000: two.address } }),
  ]);
  const client = await lab.startSidecar({ pod: 'tocalls-0', outbound: ['calls.shop:9000'] });
  using grpc = new GrpcClient(client.via('calls.shop:9000'));
  const seen = new Set<string>();
  for (let count = 0; count < 100 && seen.size < 2; count++) seen.add((await grpc.unary('x')).text);
  assert.equal(seen.size, 2, 'one client connection is balanced call by call');
  await first.daemon.stop('SIGKILL');
  for (let count = 0; count < 50; count++) {
    assert.equal((await grpc.unary('x')).text, 'two x');
  }
});

test('an application that does not listen costs no request: its sidecar says so, and another endpoint gets it, whatever the method', async () => {
  await using one = await startHttpApp({ name: 'one' });
  const gone = await startHttpApp({ name: 'gone' });
  const { via, pods } = await startPods('deaf', [one, gone]);
  while (gone.requests.length === 0) await call(via, '/');
  await gone[Symbol.asyncDispose]();
  const before = one.requests.length;
  for (let count = 0; count < 40; count++) {
    const { status, body } = await call(via, '/', { method: 'POST', body: 'x' });
    assert.equal(status, 200, body);
    assert.equal(appOf(body), 'one');
  }
  assert.equal(one.requests.length, before + 40);
  await pods[1]!.access(({ reasonCode }) => reasonCode === 'ECONNREFUSED', 'the reason');
});

test('an application that does not listen, and is the only one, is a 503 that says so', async () => {
  const gone = await startHttpApp({ name: 'gone' });
  const { via } = await startPods('lone', [gone]);
  await call(via, '/');
  await gone[Symbol.asyncDispose]();
  const { status, body, headers } = await call(via, '/', { method: 'POST', body: 'x' });
  assert.deepEqual([status, body], [503, 'upstream-undelivered\n']);
  assert.equal(String(headers['connection']).includes('weft'), false);
});

test('gRPC calls go to the other endpoint when an application does not listen', async () => {
  await using one = await startGrpcApp('one');
  const gone = await startGrpcApp('gone');
  const ports = [{ name: 'grpc', port: 9000, targetPort: 9000 }];
  for (const [index, app] of [one, gone].entries()) {
    await lab.startSidecar({
      pod: `deafgrpc-${index}`,
      inbound: { 9000: app.address },
      ...(index === 0 && { service: ports }),
    });
  }
  const client = await lab.startSidecar({ pod: 'todeafgrpc-0', outbound: ['deafgrpc.shop:9000'] });
  using grpc = new GrpcClient(client.via('deafgrpc.shop:9000'));
  while ((await grpc.unary('x')).text !== 'gone x');
  await gone[Symbol.asyncDispose]();
  for (let count = 0; count < 400; count++) {
    assert.equal((await grpc.unary('x')).text, 'one x');
  }
});

test('TCP connections try the next endpoint when one does not answer', async () => {
  await using app = await startTcpApp();
  await lab.startSidecar({
    pod: 'lines-0',
    inbound: { 7000: app.address },
    service: [{ name: 'tcp', port: 7000, targetPort: 7000 }],
  });
  await lab.write(
    'pod-lines-dead.yaml',
    podYaml({ name: 'lines-9', ip: lab.nextIp(), ports: [7000] }),
  );
  const client = await lab.startSidecar({ pod: 'tolines-0', outbound: ['lines.shop:7000'] });
  for (let count = 0; count < 20; count++) {
    using raw = await connectRaw(client.via('lines.shop:7000'));
    raw.write('hello');
    await raw.reads('hello');
  }
});

test('an address that another workload has taken over is never spoken to as the old one', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using impostor = await startHttpApp({ name: 'impostor' });
  const { via, pods } = await startPods('moved', [one]);
  assert.equal(appOf((await call(via, '/')).body), 'one');
  const { podIp } = pods[0]!;
  const manifest = await lab.read('pod-moved-0.yaml');
  await pods[0]!.daemon.stop();
  await lab.startSidecar({
    pod: 'other-0',
    podIp,
    inbound: { 8080: impostor.address },
  });
  await lab.write('pod-moved-0.yaml', manifest);
  const { status } = await call(via, '/');
  assert.equal(status, 503);
  assert.deepEqual(impostor.requests, []);
  shown('weft', 'exact-identity');
});

test('a service without endpoints is told as such at once', async () => {
  await lab.write('svc-empty.yaml', serviceYaml({ name: 'empty', ports: HTTP }));
  const client = await lab.startSidecar({ pod: 'toempty-0', outbound: ['empty.shop:80'] });
  const { status, body } = await call(client.via('empty.shop:80'), '/');
  assert.equal(status, 503);
  assert.match(body, /no-healthy-upstream/);
});
