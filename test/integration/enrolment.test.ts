// A workload gets a certificate for a good token alone, for its own Pod alone, and waits for a control plane that is away.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, startHttpApp, echoed } from '../support/lab-clients.ts';
import { startLab } from '../support/lab.ts';

test('a workload enrols with its token and is called over mutual TLS', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp({ name: 'web' });
  await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: [{ name: 'http', port: 80, targetPort: 8080 }],
  });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  assert.equal(client.spiffeId, 'spiffe://cluster.local/ns/shop/sa/client');
  const seen = echoed(await call(client.via('web.shop:80'), '/hello'));
  assert.equal(seen.path, '/hello');
  assert.match(String(seen.headers['x-forwarded-client-cert']), /sa\/client/);
});
