// What a refused caller is told: nothing of policies, unless the policy sets an answer or its namespace wants reasons shown.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { startLab } from '../support/lab.ts';

const namespace = (name: string, explain: string | undefined): string =>
  `apiVersion: v1
kind: Namespace
metadata:
  name: ${name}
  annotations: ${JSON.stringify(explain === undefined ? {} : { 'weft.dev/explain-denials': explain })}
`;

const CLOSED = policyYaml({
  name: 'closed',
  action: 'DENY',
  app: 'web',
  annotations: { 'weft.dev/denial-status': '404', 'weft.dev/denial-body': 'no such page' },
  rules: '[{to: [{operation: {paths: ["/closed"]}}]}]',
});
const OPEN = policyYaml({
  name: 'open',
  action: 'ALLOW',
  app: 'web',
  annotations: { 'weft.dev/denial-body': 'ask team shop for access' },
  rules: '[{to: [{operation: {paths: ["/open", "/closed"]}}]}]',
});

test('a policy sets status and body of its refusals, and the reason is shown only where the namespace wants it', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('p.yaml', CLOSED, OPEN);
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const via = client.via('web.shop:80');
  const told = async (path: string) => {
    const { status, body, headers } = await call(via, path);
    return [status, body, headers['x-weft-denied-by']];
  };
  assert.deepEqual(await told('/closed'), [404, 'no such page\n', undefined]);
  assert.deepEqual(await told('/else'), [403, 'ask team shop for access\n', undefined]);
  assert.equal((await call(via, '/open')).status, 200);
  const line = await web.access((entry) => entry['path'] === '/closed', 'the refusal');
  assert.equal(line['policy'], 'ns[shop]-policy[closed]-rule[0]', 'the log always says it');

  await lab.write('ns.yaml', namespace('shop', 'header'));
  await eventually(async () => (await told('/closed'))[2] !== undefined, { what: 'the header' });
  const rule = 'ns[shop]-policy[closed]-rule[0]';
  assert.deepEqual(await told('/closed'), [404, 'no such page\n', rule]);
  assert.deepEqual(await told('/else'), [403, 'ask team shop for access\n', 'none']);

  await lab.write('ns.yaml', namespace('shop', 'problem'));
  await eventually(async () => (await told('/closed'))[2] === undefined, { what: 'the document' });
  const { status, headers, body } = await call(via, '/closed');
  assert.deepEqual([status, headers['content-type']], [404, 'application/problem+json']);
  assert.deepEqual(JSON.parse(body), {
    type: 'about:blank',
    title: 'Access denied',
    status: 404,
    detail: 'no such page',
    policy: rule,
  });
});

test('a policy of the root namespace is shown only where that has opted in, and a misspelt wish tells nobody', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const root = CLOSED.replace('namespace: shop', 'namespace: weft-system');
  await lab.write('p.yaml', root);
  await lab.write('ns.yaml', namespace('shop', 'header'), namespace('weft-system', 'Header'));
  const [, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const answer = await call(client.via('web.shop:80'), '/closed');
  assert.deepEqual([answer.status, answer.headers['x-weft-denied-by']], [404, undefined]);
  assert.match(JSON.stringify(await lab.problem('explain-denials')), /header, problem/);
});

test('an answer that is no refusal, too long, or of a policy that never refuses is an error', async () => {
  await using lab = await startLab();
  const write = (annotations: Readonly<Record<string, string>>, action: 'DENY' | 'AUDIT') =>
    lab.write('p.yaml', policyYaml({ name: 'p', action, annotations, rules: '[{}]' }));
  await write({ 'weft.dev/denial-status': '200' }, 'DENY');
  await lab.problem('400 to 599');
  await write({ 'weft.dev/denial-body': 'x'.repeat(5_000) }, 'DENY');
  await lab.problem('at most 4096');
  await write({ 'weft.dev/denial-body': 'x' }, 'AUDIT');
  await lab.problem('denial-action');
});
