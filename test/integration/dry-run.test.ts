// What policies say without deciding it: AUDIT marks requests, dry run judges them beside the policies in force.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';

interface Shop {
  readonly web: LabSidecar;
  readonly via: string;
}

async function openShop(lab: Lab, app: { readonly address: string }): Promise<Shop> {
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
      args: ['--access-log', 'all'],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  return { web, via: client.via('web.shop:80') };
}

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client';

test('AUDIT marks what it matches in the log and in a counter, allowed or not, and decides nothing', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { web, via } = await openShop(lab, app);
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'watch',
      action: 'AUDIT',
      app: 'web',
      rules: '[{to: [{operation: {paths: ["/watched*"]}}]}]',
    }),
    policyYaml({
      name: 'closed',
      action: 'DENY',
      app: 'web',
      rules: '[{to: [{operation: {paths: ["/watched/closed"]}}]}]',
    }),
  );
  await lab.enforced('closed');
  await lab.enforced('watch');
  assert.equal((await call(via, '/watched/open')).status, 200);
  assert.equal((await call(via, '/watched/closed')).status, 403);
  assert.equal((await call(via, '/else')).status, 200);
  const lineOf = (path: string) => web.access((line) => line['path'] === path, path);
  const open = await lineOf('/watched/open');
  assert.equal(open['audit'], 'ns[shop]-policy[watch]-rule[0]');
  assert.equal(open['decision'], 'allow');
  const closed = await lineOf('/watched/closed');
  assert.equal(closed['audit'], 'ns[shop]-policy[watch]-rule[0]');
  assert.equal(closed['policy'], 'ns[shop]-policy[closed]-rule[0]');
  assert.equal((await lineOf('/else'))['audit'], undefined);
  const labels = 'policy="ns[shop]-policy[watch]-rule[0]"';
  assert.equal(await web.metric('weft_policy_audit_total', labels), 2);
  const { body } = await web.ask('/metrics');
  assert.match(body, new RegExp(`weft_policy_audit_total.*source_principal="${CLIENT}"`));
});
