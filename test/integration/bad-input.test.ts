// What strangers, broken files and occupied ports can do: be refused by name. The processes live on and serve on.
import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { DEMAND_TIMEOUT_MS } from '@weft/dataplane/serve/outbound';
import {
  call,
  connectRaw,
  failureOf,
  splitAddress,
  startHttpApp,
  startTcpApp,
} from '../support/lab-clients.ts';
import { podYaml, serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, listOf, openLab, startLab } from '../support/lab.ts';

const SERVICE = [{ name: 'http', port: 80, targetPort: 8080 }];

async function stopHard(lab: Lab): Promise<void> {
  lab.controlPlane.signal('SIGKILL');
  await lab.controlPlane.exit();
}

for (const [what, damage] of [
  ['cut short', (text: string) => text.slice(0, text.length / 2)],
  ['emptied', () => ''],
  ['other JSON', () => '{"version":1}'],
  ['a changed key', (text: string) => text.replace('rootKey\\":\\"MIGH', 'rootKey\\":\\"MIGX')],
] as const) {
  test(`a CA store that is ${what} keeps the control plane from starting, with the file and the cure`, async () => {
    await using lab = await startLab();
    const before = await readFile(lab.bundle, 'utf8');
    await stopHard(lab);
    const file = join(lab.state, 'ca', 'state.json');
    const text = await readFile(file, 'utf8');
    const damaged = damage(text);
    assert.notEqual(damaged, text);
    await writeFile(file, damaged);

    const again = lab.spawnControlPlane();
    assert.equal((await again.exit()).code, 1);
    assert.ok(again.stderr.includes(file), again.stderr);
    assert.match(again.stderr, /backup|restore/i);
    assert.doesNotMatch(again.stderr, /PRIVATE KEY/);
    assert.equal(await readFile(file, 'utf8'), damaged, 'nothing was written over it');
    assert.equal(await readFile(lab.bundle, 'utf8'), before);

    await writeFile(file, text);
    await lab.startControlPlane();
  });
}

test('a CA store that is gone while the bundle is there is no reason to make a new root', async () => {
  await using lab = await startLab();
  await stopHard(lab);
  await writeFile(join(lab.state, 'ca', 'state.json'), '');
  const again = lab.spawnControlPlane();
  assert.equal((await again.exit()).code, 1);
  assert.match(again.stderr, /state\.json/);
});

test('a state directory that holds the CA of another trust domain is refused', async () => {
  await using lab = await startLab();
  await lab.controlPlane.stop();
  const again = lab.spawnControlPlane({ args: ['--trust-domain', 'other.example'] });
  assert.equal((await again.exit()).code, 1);
  assert.match(again.stderr, /other\.example.*cluster\.local/);
});

test('a folder of manifests that is not there is refused by name', async () => {
  await using lab = await openLab();
  const daemon = lab.spawnControlPlane({ args: ['--manifests', '/no/such/folder'] });
  assert.equal((await daemon.exit()).code, 1);
  assert.match(daemon.stderr, /\/no\/such\/folder/);
});

test('half-written manifests keep the last good Pods and Services, and traffic goes on', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service: SERVICE });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  const via = client.via('web.shop:80');
  assert.equal((await call(via, '/')).status, 200);
  const file = 'pod-web-0.yaml';
  const good = await lab.read(file);
  // Inside of a kind, of two names of fields, and of a list: a cut that leaves whole objects is a manifest like others.
  const cuts = [20, good.indexOf('namespace') + 5, good.indexOf('podIP') + 3, good.length - 30];
  for (const length of cuts) {
    await lab.write(file, good.slice(0, length));
    await lab.problem(file);
    assert.equal((await call(via, '/')).status, 200, `cut after ${length} characters`);
    await lab.write(file, good);
    // The problem of one cut must not be taken for that of the next.
    await eventually(async () => listOf(await lab.ask('/v1/problems'), 'problems').length === 0, {
      what: 'the end of the problems',
    });
  }
});

test('two objects of one name: the first stays in force, the other is named', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: SERVICE,
  });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  await lab.write('zz.yaml', podYaml({ name: 'web-0', ip: lab.nextIp(), ports: [8080] }));
  const problem = await lab.problem('duplicate-object');
  assert.match(String(problem['text']), /zz\.yaml.*pod-web-0\.yaml|pod-web-0\.yaml.*zz\.yaml/);
  assert.equal((await call(client.via('web.shop:80'), '/')).status, 200);
  const pods = listOf(await lab.ask('/v1/workloads'), 'workloads');
  const own = pods.find((pod) => String(pod['id']).includes('web-0'));
  assert.deepEqual(own?.['ips'], [web.podIp]);
});

test('a Service without endpoints is 503 with its reason, and a problem that says where to look', async () => {
  await using lab = await startLab();
  await lab.write('empty.yaml', serviceYaml({ name: 'empty', ports: SERVICE }));
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['empty.shop:80'] });
  const answer = await call(client.via('empty.shop:80'), '/');
  assert.equal(answer.status, 503);
  await client.access((line) => line['reasonCode'] === 'no-healthy-upstream', 'the reason');
  const problem = await lab.problem('no-endpoints');
  assert.match(String(problem['text']), /empty.*no endpoint behind port 80/);
});

test('a Service that nobody has declared is refused, and works once it is declared', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  const via = client.via('web.shop:80');
  const from = performance.now();
  assert.match((await failureOf(call(via, '/'))) ?? 'answered', /hang up|ECONNRESET/);
  const tookMs = performance.now() - from;
  assert.ok(
    tookMs < DEMAND_TIMEOUT_MS,
    `the control plane has said that there is none: ${tookMs} ms`,
  );
  await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service: SERVICE });
  await eventually(async () => (await call(via, '/')).status === 200, { what: 'the Service' });
});

test('occupied ports end control plane and sidecar with status 1, the address and a cure', async () => {
  await using lab = await startLab();
  await using taken = await startTcpApp();
  const { host, port } = splitAddress(taken.address);
  for (const option of ['--xds', '--enrolment', '--admin']) {
    await using other = await openLab();
    const daemon = other.spawnControlPlane({ args: [option, taken.address] });
    assert.equal((await daemon.exit()).code, 1, option);
    assert.ok(daemon.stderr.includes(taken.address), `${option}: ${daemon.stderr}`);
    assert.match(daemon.stderr, /another process|Choose another port/, option);
  }
  const podIp = host;
  const occupied: readonly (readonly [string, string])[] = [
    ['--admin', taken.address],
    ['--probes', taken.address],
    ['--inbound', `${port}=127.0.0.1:1`],
    ['--outbound', `${taken.address}=web.shop:80`],
    ['--outbound-http', taken.address],
  ];
  for (const args of occupied) {
    const { daemon } = await lab.spawnSidecar({ pod: 'web-0', manifest: false, podIp, args });
    assert.equal((await daemon.exit()).code, 1, args.join());
    assert.ok(daemon.stderr.includes(taken.address), `${args[0]}: ${daemon.stderr}`);
    assert.match(daemon.stderr, /another process/, args[0]);
  }
});

const TLS_HELLO = Buffer.from('160301020001000001fc0303', 'hex');
const H2_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const noise = (length: number): Buffer => {
  let state = 0x2545f491;
  return Buffer.from(
    Array.from({ length }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 24;
    }),
  );
};
const GARBAGE: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['zeros', Buffer.alloc(70_000)],
  ['noise', noise(20_000)],
  ['a line without end', Buffer.from(`GET /${'a'.repeat(100_000)}`)],
  ['bare line feeds', Buffer.from('\n'.repeat(10_000))],
  ['bad HTTP', Buffer.from('GET / HTTP/9.9\r\nbad header\r\n\r\n')],
  [
    'smuggling',
    Buffer.from(
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ),
  ],
  ['a ClientHello that breaks off', TLS_HELLO],
  ['a ClientHello of noise', Buffer.concat([TLS_HELLO, noise(2_000)])],
  ['a TLS alert', Buffer.from('15030100020228', 'hex')],
  ['HTTP/2 frames of noise', Buffer.concat([Buffer.from(H2_PREFACE), noise(5_000)])],
  [
    'HTTP/2 with an oversized frame',
    Buffer.concat([Buffer.from(H2_PREFACE), Buffer.from('ffffff0400000000000000', 'hex')]),
  ],
];

/** Sends it, ends, and goes away whatever the other side does. */
async function send(address: string, bytes: Buffer, how: 'end' | 'reset'): Promise<void> {
  const socket = net.connect({ ...splitAddress(address) });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => {
    socket.on('close', resolve);
  });
  socket.resume();
  if (how === 'end') {
    socket.end(bytes);
    socket.setTimeout(300, () => socket.destroy());
  } else {
    socket.write(bytes, () => socket.resetAndDestroy());
  }
  await closed;
}

test('garbage at every port of control plane and sidecar ends nothing but its own connection', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await using echo = await startTcpApp();
  const [web, client]: LabSidecar[] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address, 7070: echo.address },
      service: [...SERVICE, { name: 'tcp-echo', port: 7000, targetPort: 7070 }],
    }),
    lab.startSidecar({
      pod: 'client-0',
      outbound: ['web.shop:80', 'web.shop:7000'],
      outboundHttp: true,
    }),
  ]);
  assert.ok(web !== undefined && client !== undefined);
  const ports = [
    ...Object.values(lab.addresses),
    web.admin,
    web.front(8080),
    web.front(7070),
    client.via('web.shop:80'),
    client.via('web.shop:7000'),
    client.http,
  ];
  for (const address of ports) {
    for (const how of ['end', 'reset'] as const) {
      await Promise.all(GARBAGE.map(([, bytes]) => send(address, bytes, how)));
    }
  }
  assert.equal((await call(client.via('web.shop:80'), '/')).status, 200);
  assert.equal((await call(client.http, '/', { headers: { host: 'web.shop' } })).status, 200);
  using line = await connectRaw(client.via('web.shop:7000'));
  line.write('hello');
  await line.reads('hello');
  for (const daemon of [lab.controlPlane, web.daemon, client.daemon]) {
    assert.ok(daemon.isRunning, daemon.tail());
    assert.doesNotMatch(daemon.stderr, /unexpected failure/);
  }
  assert.equal(listOf(await lab.ask('/v1/sessions'), 'sessions').length, 2);
  await lab.startSidecar({ pod: 'late-0' });
});

test('ten thousand header fields are 431 at every HTTP port of a sidecar, before the application hears of them', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: SERVICE,
  });
  const client = await lab.startSidecar({
    pod: 'client-0',
    outbound: ['web.shop:80'],
    outboundHttp: true,
  });
  const head = `GET / HTTP/1.1\r\nhost: web.shop\r\n${'x: y\r\n'.repeat(10_000)}\r\n`;
  for (const address of [web.front(8080), client.via('web.shop:80'), client.http]) {
    using connection = await connectRaw(address);
    connection.write(head);
    await connection.reads('HTTP/1.1 431');
    await connection.closed();
  }
  assert.deepEqual(app.requests, []);
  assert.equal((await call(client.via('web.shop:80'), '/')).status, 200);
});

test('a request head that does not come to its end is closed at the head timeout, others are served meanwhile', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address } });
  using slow = await connectRaw(web.front(8080));
  const from = performance.now();
  slow.write('GET / HTTP/1.1\r\nhost: web\r\n');
  const drip = setInterval(() => slow.write('x: y\r\n'), 500);
  try {
    assert.equal((await call(web.front(8080), '/')).status, 200);
    await slow.closed(40_000);
  } finally {
    clearInterval(drip);
  }
  const tookMs = performance.now() - from;
  assert.ok(tookMs > 9_000, `${tookMs} ms`);
  assert.match(slow.text, /^(HTTP\/1\.1 408|$)/);
});

test('names of hosts that are not this machine are refused by both admins (DNS rebinding)', async () => {
  await using lab = await startLab();
  const web = await lab.startSidecar({ pod: 'web-0' });
  const headers = { host: 'evil.example' };
  assert.equal((await call(lab.addresses.admin, '/v1/status', { headers })).status, 403);
  assert.equal((await call(web.admin, '/config_dump', { headers })).status, 403);
  assert.equal(
    (await call(lab.addresses.admin, '/v1/ca/rotation', { method: 'POST' })).status,
    405,
  );
});

test('the state directory gives its secrets to nobody else, and logs hold none', async () => {
  await using lab = await startLab();
  await lab.startSidecar({ pod: 'web-0' });
  for (const folder of ['ca', 'tokens']) {
    assert.equal((await stat(join(lab.state, folder))).mode & 0o777, 0o700);
    for (const name of await readdir(join(lab.state, folder))) {
      assert.equal((await stat(join(lab.state, folder, name))).mode & 0o777, 0o600, name);
    }
  }
  assert.doesNotMatch(lab.controlPlane.stderr, /PRIVATE KEY|weft-join\./);
  assert.equal(await failureOf(lab.ask('/v1/status')), undefined);
});
