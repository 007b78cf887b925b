// Paths as the application behind reads them: set for one workload or the mesh, refused where two could differ, forwarded as matched.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

async function openWeb(
  lab: Lab,
  app: { readonly address: string },
  annotations: Readonly<Record<string, string>>,
) {
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
      args: ['--access-log', 'all'],
      annotations,
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  return { web, via: client.via('web.shop:80') };
}

const NO_ADMIN = policyYaml({
  name: 'no-admin',
  action: 'DENY',
  app: 'web',
  rules: '[{to: [{operation: {paths: ["/admin*"]}}]}]',
});

const meshConfig = (spec: string): string =>
  `apiVersion: mesh.weft.dev/v1\nkind: MeshConfig\nmetadata: { name: mesh }\nspec: ${spec}\n`;

test('a workload that refuses ambiguous paths answers each with 400 and its reason, the application sees none', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('p.yaml', NO_ADMIN);
  const { web, via } = await openWeb(lab, app, { 'weft.dev/ambiguous-paths': 'refuse' });
  const reasons = {
    '/app;x/../admin': 'path-parameters',
    '/app%2Fadmin': 'path-encoded-slash',
    '/app%5cadmin': 'path-encoded-backslash',
    '//admin': 'path-double-slash',
    '/app/../admin': 'path-dot-segments',
    '/app/%2e%2E/admin': 'path-dot-segments',
  };
  for (const [path, reason] of Object.entries(reasons)) {
    const { status, body } = await call(via, path);
    assert.deepEqual([status, body], [400, `bad request: ${reason}\n`], path);
    await web.access((line) => line['reasonCode'] === reason && line['path'] === path, path);
  }
  assert.equal((await call(via, '/app/a.b?x=//;../%2f')).status, 200);
  assert.equal((await call(via, '/admin/x')).status, 403);
  assert.deepEqual(app.requests, ['GET /app/a.b?x=//;../%2f']);
});

test('the preset of an application normalises as it does, so that no spelling gets past a DENY', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('p.yaml', NO_ADMIN);
  const { via } = await openWeb(lab, app, { 'weft.dev/application': 'tomcat' });
  for (const path of ['//admin', '/x/..//admin', '/./admin', '/admin/x']) {
    assert.equal((await call(via, path)).status, 403, path);
  }
  for (const path of ['/;a/admin', '/x%2f..%2fadmin', '/x\\..\\admin']) {
    assert.equal((await call(via, path)).status, 400, path);
  }
  assert.equal((await call(via, '/x//y')).status, 200);
  assert.deepEqual(app.requests, ['GET /x/y'], 'forwarded as it was matched');
  shown('weft', 'paths');
});

test("a Pod's own mode holds before the mesh's, and a mesh that refuses is not taken back", async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('mesh.yaml', meshConfig('{ pathNormalization: DECODE_AND_MERGE_SLASHES }'));
  await lab.write('p.yaml', NO_ADMIN);
  const { via } = await openWeb(lab, app, {
    'weft.dev/path-normalization': 'MERGE_SLASHES',
    'weft.dev/ambiguous-paths': 'normalize',
  });
  assert.equal((await call(via, '/x%2f..%2fadmin')).status, 200);
  assert.deepEqual(app.requests, ['GET /x%2f..%2fadmin']);
  await lab.write('mesh.yaml', meshConfig('{ ambiguousPaths: REFUSE }'));
  await eventually(async () => (await call(via, '/x%2fy')).status === 400, {
    what: "the mesh's refusal",
  });
  assert.equal((await call(via, '/x//y')).status, 400);
});

test('an annotation that is misspelt is a problem, and closes what it may have meant', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { via } = await openWeb(lab, app, { 'weft.dev/application': 'Tomcat' });
  const problem = await lab.problem('weft.dev/application');
  assert.match(JSON.stringify(problem), /tomcat, express, nginx, go/);
  assert.equal((await call(via, '/a;b')).status, 400);
  assert.equal((await call(via, '/a')).status, 200);
});
