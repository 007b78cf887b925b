// What sidecars report of their traffic: least privilege from it, rules that nothing needs, and whom a change would refuse.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { listOf, startLab } from '../support/lab.ts';
import { eventually } from '../support/lab-wait.ts';
import { weftCommand } from '../support/weft-main.ts';

const weft = (
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly out: string }> =>
  new Promise((resolve) => {
    const [command = '', ...words] = weftCommand(['policy', ...args]);
    execFile(
      command,
      words,
      { timeout: 20_000, env: { ...process.env, NODE_TEST_CONTEXT: '' } },
      (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: out + err }),
    );
  });

const READERS = policyYaml({
  name: 'readers',
  action: 'ALLOW',
  app: 'web',
  rules: '[{from: [{source: {namespaces: ["shop"]}}]}, {to: [{operation: {paths: ["/never"]}}]}]',
});
const NARROWER = policyYaml({
  name: 'readers',
  action: 'ALLOW',
  app: 'web',
  rules: '[{from: [{source: {namespaces: ["shop"]}}], to: [{operation: {methods: ["GET"]}}]}]',
});

test('policies are learned from traffic: suggest, unused, replay, and a warning after the change', async () => {
  await using lab = await startLab({ args: ['--report-interval', '1s'] });
  await using app = await startHttpApp();
  await lab.write('policies.yaml', READERS);
  await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: [{ name: 'http', port: 80, targetPort: 8080 }],
  });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  const via = client.via('web.shop:80');
  for (const path of ['/orders/17/lines', '/orders/18/lines', '/health']) {
    assert.equal((await call(via, path)).status, 200);
  }
  assert.equal((await call(via, '/orders', { method: 'POST' })).status, 200);
  const edges = await eventually(
    async () => {
      const seen = listOf(await lab.ask('/v1/edges'), 'edges');
      return seen.reduce((sum, { count }) => sum + Number(count), 0) >= 4 ? seen : undefined;
    },
    { what: 'the report of four calls' },
  );
  assert.deepEqual(
    edges.map((edge) => [edge['method'], edge['path'], edge['count']].join(' ')).sort(),
    ['GET /health 1', 'GET /orders/{*}/lines 2', 'POST /orders 1'],
  );

  const { admin } = lab.addresses;
  const suggested = await weft('suggest', 'shop', '--admin', admin);
  assert.match(suggested.out, /principals: \["cluster.local\/ns\/shop\/sa\/client"\]/);
  assert.match(suggested.out, /"\/orders\/\{\*\}\/lines"/);
  const unused = await weft('unused', '--admin', admin);
  assert.match(unused.out, /^ns\[shop\]-policy\[readers\]-rule\[1\]$/m);
  assert.match(unused.out, /1 of 2 rules decided nothing/);
  assert.doesNotMatch(unused.out, /report no calls/);
  await lab.write(
    'pod-web-9.yaml',
    'apiVersion: v1\nkind: Pod\nmetadata: {name: web-9, namespace: shop, labels: {app: web}, annotations: {weft.dev/proxy: none}}\nspec: {serviceAccountName: web, containers: [{name: web}]}\nstatus: {phase: Running, podIP: 127.0.0.9}\n',
  );
  await eventually(
    async () =>
      /report no calls, and may have used rules of shop\/readers$/m.test(
        (await weft('unused', '--admin', admin)).out,
      ),
    { what: 'the Pod without a proxy' },
  );

  const changed = join(lab.root, 'changed');
  await mkdir(changed);
  await cp(lab.manifests, changed, { recursive: true });
  await writeFile(join(changed, 'policies.yaml'), NARROWER);
  const replayed = await weft('replay', lab.manifests, changed, '--admin', admin);
  assert.equal(replayed.code, 2, replayed.out);
  assert.match(replayed.out, /shop\/sa\/client +web-0\.shop:8080 +POST \/orders +1/);
  assert.equal((await weft('replay', lab.manifests, lab.manifests, '--admin', admin)).code, 0);

  await lab.write('policies.yaml', NARROWER);
  const [change] = await eventually(
    async () => {
      const changes = listOf(await lab.ask('/v1/replay'), 'changes');
      return changes.length > 0 ? changes : undefined;
    },
    { what: 'word of the caller that is refused from now on' },
  );
  assert.ok(JSON.stringify(change).includes('"method":"POST"'));
  assert.ok(!JSON.stringify(change).includes('"method":"GET"'));
});
