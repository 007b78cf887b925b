// `weft run`: the application starts after its sidecar, gets its signals, is drained before it, and its status is the command's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, connectRaw } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { type LabSidecar, startLab } from '../support/lab.ts';

const node = (script: string): readonly string[] => [process.execPath, '-e', script];

/** A server on loopback that tells its port and every signal, and answers `/slow` when it gets SIGUSR2. */
const SERVER = `
const waiting = new Set();
const server = require('node:http').createServer((request, response) => {
  if (request.url !== '/slow') return response.end('quick');
  response.write('begun');
  waiting.add(response);
  console.log('slow');
});
for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGTERM']) process.on(signal, () => {
  console.log('got ' + signal);
  if (signal === 'SIGUSR2') for (const response of waiting) response.end(' and done');
  if (signal === 'SIGTERM') process.exit(3);
});
server.listen(Number(process.argv[1]), process.argv[2], () => console.log('listening'));
`;

const says = (sidecar: LabSidecar, text: string): Promise<true> =>
  eventually(() => sidecar.daemon.stdout.split('\n').includes(text), {
    what: `the application saying ${text}`,
    told: () => `${sidecar.daemon.stdout}\n${sidecar.daemon.tail()}`,
  });

for (const [script, expected] of [
  ['process.exit(0)', 0],
  ['process.exit(7)', 7],
  ["process.kill(process.pid, 'SIGKILL')", 137],
] as const) {
  test(`weft run ends with status ${expected} when its application does ${script}`, async () => {
    await using lab = await startLab();
    const { daemon } = await lab.spawnSidecar({ pod: 'job-0', command: node(script) });
    assert.equal((await daemon.exit()).code, expected, daemon.tail());
  });
}

test('an application that cannot be started is status 127, with its name in the log', async () => {
  await using lab = await startLab();
  const command = ['/no/such/program', 'x'];
  const { daemon } = await lab.spawnSidecar({ pod: 'job-0', command });
  assert.equal((await daemon.exit()).code, 127, daemon.tail());
  assert.match(daemon.stderr, /cannot run the application/);
  assert.match(daemon.stderr, /\/no\/such\/program/);
  assert.doesNotMatch(daemon.stdout, /"ready":true/, 'it was never ready');
});

test('no application is started when the workload is refused', async () => {
  await using lab = await startLab();
  const command = node("console.log('started')");
  const { daemon } = await lab.spawnSidecar({ pod: 'job-0', command, token: { text: 'wrong' } });
  assert.equal((await daemon.exit()).code, 1);
  assert.equal(daemon.stdout, '');
});

test('signals are passed on; at SIGTERM a call in flight is finished before the application is told', async () => {
  await using lab = await startLab();
  const podIp = lab.nextIp();
  const [host, port] = [lab.nextIp(), 3_000];
  const web = await lab.startSidecar({
    pod: 'web-0',
    podIp,
    inbound: { 8080: `${host}:${port}` },
    command: [...node(SERVER), String(port), host],
  });
  await says(web, 'listening');
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) {
    web.daemon.signal(signal);
    await says(web, `got ${signal}`);
  }
  assert.equal((await call(web.front(8080), '/quick')).body, 'quick');
  using slow = await connectRaw(web.front(8080));
  slow.write('GET /slow HTTP/1.1\r\nhost: web\r\n\r\n');
  await slow.reads('begun');

  web.daemon.signal('SIGTERM');
  await web.daemon.line((line) => line['msg'] === 'draining', 'the drain');
  assert.equal((await web.ask('/ready')).status, 503);
  assert.ok(!web.daemon.stdout.includes('got SIGTERM'), 'the application is not told yet');
  const appPid = Number(web.ready['appPid']);
  process.kill(appPid, 'SIGUSR2');
  await slow.reads('and done');
  await says(web, 'got SIGTERM');
  assert.equal((await web.daemon.exit()).code, 3);
});

test('a call that outlasts --drain-limit is cut, and the application still gets its SIGTERM', async () => {
  await using lab = await startLab();
  const [host, port] = [lab.nextIp(), 3_000];
  const web = await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: `${host}:${port}` },
    args: ['--drain-limit', '300ms'],
    command: [...node(SERVER), String(port), host],
  });
  await says(web, 'listening');
  using slow = await connectRaw(web.front(8080));
  slow.write('GET /slow HTTP/1.1\r\nhost: web\r\n\r\n');
  await slow.reads('begun');
  web.daemon.signal('SIGTERM');
  await slow.closed();
  assert.doesNotMatch(slow.text, /0\r\n\r\n$/);
  await says(web, 'got SIGTERM');
  assert.equal((await web.daemon.exit()).code, 3);
});

test('SIGTERM while the sidecar still waits for its control plane ends both at once', async () => {
  await using lab = await startLab();
  const text = await lab.token('web');
  await lab.controlPlane.stop();
  for (const command of [undefined, node('')]) {
    const { daemon } = await lab.spawnSidecar({
      pod: 'web-0',
      token: { text },
      ...(command && { command }),
    });
    await daemon.line((line) => line['msg'] === 'not enrolled yet; trying again', 'a retry');
    const from = performance.now();
    daemon.signal('SIGTERM');
    const { code } = await daemon.exit();
    assert.ok(performance.now() - from < 5_000, 'it is not waited for the next try');
    assert.equal(code, command === undefined ? 0 : 143);
    assert.doesNotMatch(daemon.stderr, /Cannot start/);
  }
});
