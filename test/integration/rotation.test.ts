// Certificates are replaced before half of their life without a failed call; without a control plane they end, and then so does trust.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import { test } from 'node:test';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { call, connectRaw, failureOf, startHttpApp, startTcpApp } from '../support/lab-clients.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { modeYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type LabSidecar, listOf, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const SERVICE = [{ name: 'http', port: 80, targetPort: 8080 }];

/** Calls one after the other, on kept and new connections in turn, until stopped. */
function startCalls(address: string) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const failures: string[] = [];
  let count = 0;
  const stopped = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      const isKept = ++count % 2 === 0;
      const failure = await call(address, '/load', isKept ? { agent } : {}).then(
        ({ status, body }) => (status === 200 ? undefined : `${status} ${body}`),
        (error: unknown) => String(error),
      );
      if (failure !== undefined) failures.push(failure);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const done = loop();
  return {
    stop: async () => {
      stopped.abort();
      await done;
      agent.destroy();
      return { count, failures };
    },
  };
}

const certificatesOf = (sidecar: LabSidecar): readonly PlainObject[] =>
  sidecar.daemon.lines.filter((line) => line['msg'] === 'certificate in use');
const timeOf = (line: PlainObject, key: string): number => Date.parse(String(line[key]));

test('certificates of ten seconds are renewed long before their end with no failed call, and refused after their end', async () => {
  await using lab = await startLab({ svidTtl: '10s' });
  await using app = await startHttpApp();
  await lab.write('mode.yaml', modeYaml('STRICT'));
  const tokenFile = await lab.tokenFile(await lab.token('client'));
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service: SERVICE }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'], token: { file: tokenFile } }),
  ]);
  const via = client.via('web.shop:80');
  assert.equal((await call(via, '/')).status, 200);
  const calls = startCalls(via);
  await eventually(() => certificatesOf(web).length >= 3 && certificatesOf(client).length >= 3, {
    what: 'two renewals of both',
    withinMs: 15_000,
  });
  const { count, failures } = await calls.stop();
  assert.deepEqual(failures, []);
  assert.ok(count > 100, `${count} calls`);
  for (const lines of [certificatesOf(web), certificatesOf(client)]) {
    for (const [index, line] of lines.slice(1).entries()) {
      const before = lines[index];
      assert.ok(before !== undefined);
      const lived = timeOf(line, 'time') - timeOf(before, 'time');
      const life = timeOf(before, 'notAfter') - timeOf(before, 'time');
      // At half of it by its own clock; an exchange takes a while where others take the processor.
      assert.ok(lived <= life * 0.75, `renewed after ${lived} of ${life} ms`);
    }
  }

  lab.controlPlane.signal('SIGKILL');
  await lab.controlPlane.exit();
  assert.equal((await call(via, '/')).status, 200, 'while the certificates last');
  const isExpired = (line: PlainObject): boolean => /has expired/.test(String(line['msg']));
  await Promise.all([
    web.daemon.line(isExpired, 'the end of its certificate', 12_000),
    client.daemon.line(isExpired, 'the end of its certificate', 12_000),
  ]);
  const seen = app.requests.length;
  assert.equal((await call(via, '/after')).status, 503);
  assert.equal((await web.ask('/ready')).status, 503);
  assert.ok((await failureOf(call(web.front(8080), '/after'))) !== undefined);
  assert.equal(app.requests.length, seen, 'nothing reached the application');

  await writeFile(tokenFile, await lab.token('client'));
  await lab.startControlPlane({ svidTtl: '10s' });
  await eventually(async () => (await client.ask('/ready')).status === 200, {
    what: 'enrolling again with a new token',
    withinMs: 20_000,
  });
  shown('weft', 'leaf-rotation');
});

test('`weft ca rotate` replaces the root while calls and an open TCP connection go on', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await using echo = await startTcpApp();
  const inbound = { 8080: app.address, 7070: echo.address };
  const service = [...SERVICE, { name: 'tcp-echo', port: 7000, targetPort: 7070 }];
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80', 'web.shop:7000'] }),
  ]);
  const rootsOf = async (): Promise<string> =>
    listOf(await lab.ask('/v1/ca'), 'roots')
      .map((root) => String(root['fingerprint']))
      .join();
  const before = await rootsOf();
  using open = await connectRaw(client.via('web.shop:7000'));
  open.write('one');
  await open.reads('one');

  const calls = startCalls(client.via('web.shop:80'));
  const { code, stderr } = await runWeft(['ca', 'rotate', '--state-dir', lab.state]);
  assert.equal(code, 0, stderr);
  await eventually(
    async () => {
      const { rotation } = await lab.ask('/v1/ca');
      return isPlainObject(rotation) && rotation['phase'] === 'stable';
    },
    { what: 'the end of the rotation', withinMs: 60_000 },
  );
  const { count, failures } = await calls.stop();
  assert.deepEqual(failures, []);
  assert.ok(count > 20, `${count} calls`);
  const after = await rootsOf();
  assert.notEqual(after, before);
  assert.ok(!after.includes(','), 'one root is left');
  for (const sidecar of [web, client]) {
    const roots = listOf(await sidecar.askJson('/certs'), 'roots');
    assert.deepEqual(
      roots.map((root) => root['fingerprint256']),
      [after],
    );
  }
  await lab.startSidecar({ pod: 'late-0' });
  shown('weft', 'root-rotation');
});
