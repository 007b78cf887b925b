// Without its control plane the mesh goes on as it was told last: traffic passes, policy holds, and nothing is lost at its return.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, connectRaw, startHttpApp } from '../support/lab-clients.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const closed = (path: string): string =>
  policyYaml({
    name: 'closed',
    action: 'DENY',
    app: 'web',
    rules: `[{to: [{operation: {paths: ["${path}"]}}]}]`,
  });

test('after SIGKILL of the control plane calls go on, policies hold, and edits made meanwhile come with its return', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('p.yaml', closed('/a'));
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const via = client.via('web.shop:80');
  using open = await connectRaw(via);
  open.write('GET /hold HTTP/1.1\r\nhost: web\r\n\r\n');
  await open.reads('held');

  lab.controlPlane.signal('SIGKILL');
  await lab.controlPlane.exit();
  await eventually(async () => (await web.askJson('/config_dump'))['connected'] === false, {
    what: 'the sidecar noticing',
  });
  for (let index = 0; index < 50; index++) assert.equal((await call(via, '/b')).status, 200);
  assert.equal((await call(via, '/a')).status, 403);
  assert.equal((await web.ask('/ready')).status, 200, 'it can serve, so it is ready');
  await lab.write('p.yaml', closed('/b'));
  assert.equal((await call(via, '/b')).status, 200);

  await lab.startControlPlane();
  await eventually(async () => (await call(via, '/b')).status === 403, {
    what: 'the edit made meanwhile',
    withinMs: 20_000,
  });
  await lab.enforced('closed');
  assert.equal((await call(via, '/a')).status, 200);
  app.release();
  await open.reads('released');
  shown('weft', 'without-control-plane');
});

test('a control plane that stops cleanly ends in time with its sidecars connected', async () => {
  await using lab = await startLab();
  await lab.startSidecar({ pod: 'client-0' });
  const from = performance.now();
  assert.deepEqual(await lab.controlPlane.stop(), { code: 0, signal: undefined });
  assert.ok(performance.now() - from < 10_000, `it took ${performance.now() - from} ms`);
});

test('two control planes cannot share a state directory', async () => {
  await using lab = await startLab();
  const second = lab.spawn('second', [
    'control-plane',
    '--manifests',
    lab.manifests,
    '--state-dir',
    lab.state,
    '--xds',
    '127.0.0.1:0',
    '--enrolment',
    '127.0.0.1:0',
    '--admin',
    '127.0.0.1:0',
  ]);
  assert.equal((await second.exit()).code, 1);
  assert.match(second.stderr, new RegExp(`${lab.state}.*${lab.controlPlane.pid}`));
  assert.equal((await call(lab.addresses.admin, '/readyz')).status, 200);
});
