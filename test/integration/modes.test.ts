// What each mTLS mode lets in: a client of the mesh in all of them, plaintext where the mode says so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, connectRaw, failureOf, startHttpApp } from '../support/lab-clients.ts';
import { modeYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const SERVICE = [{ name: 'http', port: 80, targetPort: 8080 }];

test('STRICT refuses plaintext, PERMISSIVE takes both, DISABLE takes plaintext; the mesh client gets through in all', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service: SERVICE }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const plain = (): Promise<string> =>
    call(web.front(8080), '/plain').then(
      ({ status, body }) => `${status} ${body.includes('x-forwarded-client-cert')}`,
      () => 'refused',
    );
  const mesh = async (): Promise<string> => {
    const { status, body } = await call(client.via('web.shop:80'), '/mesh');
    return `${status} ${body.includes('sa/client')}`;
  };
  const modes = [
    ['STRICT', 'refused', '200 true'],
    ['PERMISSIVE', '200 false', '200 true'],
    ['DISABLE', '200 false', '200 false'],
    ['STRICT', 'refused', '200 true'],
  ] as const;
  for (const [mode, expectedPlain, expectedMesh] of modes) {
    await lab.write('mode.yaml', modeYaml(mode));
    await eventually(async () => (await plain()) === expectedPlain, {
      what: `plaintext being ${expectedPlain} under ${mode}`,
    });
    await eventually(async () => (await mesh()) === expectedMesh, {
      what: `the mesh client seeing ${expectedMesh} under ${mode}`,
    });
    assert.equal(await plain(), expectedPlain, `it stays so under ${mode}`);
  }
  await web.access((line) => line['reasonCode'] === 'plaintext-refused', 'the refusal');
  shown('weft', 'permissive');
});

test('a workload without any PeerAuthentication is PERMISSIVE', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address } });
  assert.equal((await call(web.front(8080), '/plain')).status, 200);
});

test('an open plaintext connection is cut when its workload becomes STRICT', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const web = await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address } });
  using open = await connectRaw(web.front(8080));
  open.write('GET /hold HTTP/1.1\r\nhost: web\r\n\r\n');
  await open.reads('held');
  await lab.write('mode.yaml', modeYaml('STRICT'));
  await open.closed();
  assert.doesNotMatch(open.text, /released/);
});

test('a mode for one app leaves the others of its namespace alone', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('mode.yaml', modeYaml('STRICT'), modeYaml('PERMISSIVE', 'open'));
  const [closed, open] = await Promise.all([
    lab.startSidecar({ pod: 'closed-0', inbound: { 8080: app.address } }),
    lab.startSidecar({ pod: 'open-0', inbound: { 8080: app.address } }),
  ]);
  assert.equal((await call(open.front(8080), '/')).status, 200);
  assert.ok((await failureOf(call(closed.front(8080), '/'))) !== undefined);
});

test('a mode that nobody knows fails closed for new workloads and says so', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('mode.yaml', modeYaml('STRICT').replace('STRICT', 'strict-ish'));
  await lab.problem('strict-ish');
  const web = await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address } });
  assert.ok((await failureOf(call(web.front(8080), '/'))) !== undefined);
});
