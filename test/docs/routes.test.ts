// docs/routes.md begins with a route: it holds in a mesh as it stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pageOf } from '../support/doc-examples.ts';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { startLab } from '../support/lab.ts';

test('the route of docs/routes.md splits, tells testers apart and keeps an old path', async () => {
  const page = pageOf('docs/routes.md');
  const [, example = ''] = page.split('```yaml\n');
  const [manifest = ''] = example.split('\n```');
  await using lab = await startLab();
  await using v1 = await startHttpApp({ name: 'v1' });
  await using v2 = await startHttpApp({ name: 'v2' });
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
  await lab.write('prices.yaml', serviceYaml({ name: 'prices', ports }), manifest);
  const [, , client] = await Promise.all([
    lab.startSidecar({ pod: 'prices-v1-0', inbound: { 8080: v1.address }, service: ports }),
    lab.startSidecar({ pod: 'prices-v2-0', inbound: { 8080: v2.address }, service: ports }),
    lab.startSidecar({ pod: 'client-0', outbound: ['prices.shop:80'] }),
  ]);
  const via = client.via('prices.shop:80');
  const ask = async (path: string, headers = {}): Promise<string> => {
    const { status, body } = await call(via, path, {
      headers: { host: 'prices.shop', ...headers },
    });
    assert.equal(status, 200, body);
    return body;
  };
  assert.match(await ask('/', { 'x-tester': 'yes' }), /"app":"v2"/);
  assert.match(await ask('/old/list'), /"app":"v1".*"path":"\/api\/list"/);
  const seen = new Set<string>();
  await eventually(
    async () => {
      seen.add((await ask('/')).includes('"app":"v1"') ? 'v1' : 'v2');
      return seen.size === 2 || undefined;
    },
    { what: 'both versions', everyMs: 1 },
  );
});
