// What policies say without deciding it: AUDIT marks requests, dry run judges them beside the policies in force.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { isPlainObject } from '@weft/model/policy/reader';
import { call, connectRaw, startHttpApp, startTcpApp } from '../support/lab-clients.ts';
import { type Finished, runWeft } from '../support/lab-daemon.ts';
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

const TRIAL = { 'istio.io/dry-run': 'true' };
const DRY_RUN = 'weft_policy_dry_run_total';

test('policies on trial get one verdict together, logged and counted, and nobody is refused by them', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { web, via } = await openShop(lab, app);
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'closed',
      action: 'DENY',
      app: 'web',
      rules: '[{to: [{operation: {paths: ["/closed"]}}]}]',
    }),
    policyYaml({
      name: 'tried-deny',
      action: 'DENY',
      app: 'web',
      annotations: TRIAL,
      rules: '[{to: [{operation: {paths: ["/admin"]}}]}]',
    }),
    policyYaml({
      name: 'tried-allow',
      action: 'ALLOW',
      app: 'web',
      annotations: { 'weft.dev/dry-run': 'true' },
      rules: '[{to: [{operation: {paths: ["/admin", "/orders/*"]}}]}]',
    }),
  );
  await lab.enforced('closed');
  const verdicts: Record<string, unknown> = {};
  for (const path of ['/orders/1', '/admin', '/else', '/closed']) {
    const { status } = await call(via, path);
    const line = await web.access((entry) => entry['path'] === path, path);
    verdicts[path] = [status, line['dryRun']];
  }
  const rule = (name: string): string => `ns[shop]-policy[${name}]-rule[0]`;
  const [allow, deny] = ['allow', 'deny'];
  assert.deepEqual(verdicts, {
    '/orders/1': [
      200,
      { today: allow, candidate: allow, reason: 'allow-rule', policy: rule('tried-allow') },
    ],
    '/admin': [
      200,
      { today: allow, candidate: deny, reason: 'deny-rule', policy: rule('tried-deny') },
    ],
    '/else': [
      200,
      {
        today: allow,
        candidate: deny,
        reason: 'no-allow-match',
        nearest: `${rule('tried-allow')}: path is "/else", and must be one of /admin, /orders/*`,
      },
    ],
    '/closed': [403, { today: deny, candidate: deny, reason: 'deny-rule', policy: rule('closed') }],
  });
  assert.equal(await web.metric(DRY_RUN, `policy="${rule('tried-deny')}"`), 1);
  assert.equal(await web.metric(DRY_RUN, 'today="allow",candidate="deny"'), 2);
  const { body } = await web.ask('/metrics');
  assert.match(body, new RegExp(`${DRY_RUN}.*source_principal="${CLIENT}"`));
});

test('TCP connections are judged by policies on trial as well', async () => {
  await using lab = await startLab();
  await using app = await startTcpApp();
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 7070: app.address },
      service: [{ name: 'tcp-lines', port: 7000, targetPort: 7070 }],
      args: ['--access-log', 'all'],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:7000'] }),
  ]);
  const rules = '[{from: [{source: {serviceAccounts: ["other"]}}]}]';
  await lab.write(
    'p.yaml',
    policyYaml({ name: 'tried', action: 'ALLOW', app: 'web', annotations: TRIAL, rules }),
    policyYaml({ name: 'watch', action: 'AUDIT', app: 'web', rules: '[{}]' }),
  );
  await lab.enforced('watch');
  {
    using connection = await connectRaw(client.via('web.shop:7000'));
    connection.write('one');
    await connection.reads('one');
  }
  const line = await web.access((entry) => entry['protocol'] === 'tcp', 'the connection');
  assert.equal(line['audit'], 'ns[shop]-policy[watch]-rule[0]');
  assert.equal(isPlainObject(line['dryRun']) && line['dryRun']['candidate'], 'deny');
  assert.equal(await web.metric(DRY_RUN, 'candidate="deny"'), 1);
});

test('promote refuses while requests would newly be denied, then takes the annotation out of the file', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { web, via } = await openShop(lab, app);
  const file = join(lab.manifests, 'p.yaml');
  const trial = (paths: string): string =>
    `# who may call web\n${policyYaml({
      name: 'tried',
      action: 'ALLOW',
      app: 'web',
      annotations: TRIAL,
      rules: `[{to: [{operation: {paths: [${paths}]}}]}] # by path`,
    })}`;
  const watch = policyYaml({ name: 'watch', action: 'AUDIT', app: 'web', rules: '[{}]' });
  const onTrial = async (paths: string, literal: string): Promise<void> => {
    await lab.write('p.yaml', trial(paths), watch);
    const holds = async (): Promise<boolean> =>
      JSON.stringify(await web.askJson('/config_dump')).includes(literal);
    await eventually(holds, { what: 'the policy on trial at the sidecar' });
  };
  const promote = (): Promise<Finished> =>
    runWeft(['policy', 'promote', 'tried', '-n', 'shop', '-f', file, '--admin', web.admin]);
  await onTrial('"/orders/*"', '"/orders/"');
  await call(via, '/orders/1');
  await call(via, '/else');
  const refused = await promote();
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /1 of 2 requests/);
  assert.match(refused.stdout, /spiffe:\/\/cluster.local\/ns\/shop\/sa\/client/);
  assert.match(await lab.read('p.yaml'), /dry-run/);

  await onTrial('"/orders/*", "/else"', '"/else"');
  const early = await promote();
  assert.match(early.stderr, /only 0 requests/, 'what another version saw does not count');
  await call(via, '/else');
  const promoted = await promote();
  assert.equal(promoted.code, 0, promoted.stderr);
  const text = await lab.read('p.yaml');
  assert.doesNotMatch(text, /dry-run|annotations/);
  assert.match(text, /# who may call web/);
  assert.match(text, /name: watch/);
  await lab.enforced('tried');
  assert.equal((await call(via, '/else')).status, 200);
  assert.equal((await call(via, '/other')).status, 403);
});
