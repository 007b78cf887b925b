// Policies that are edited while everything runs: enforced at once, also on what is open, and never loosened by a mistake.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import {
  call,
  connectRaw,
  type HttpApp,
  startHttpApp,
  startTcpApp,
} from '../support/lab-clients.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, listOf, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

interface Shop {
  readonly web: LabSidecar;
  readonly client: LabSidecar;
  readonly other: LabSidecar;
  /** Where client and other reach web. */
  readonly viaClient: string;
  readonly viaOther: string;
}

async function openShop(lab: Lab, app: HttpApp): Promise<Shop> {
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const [web, client, other] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
    lab.startSidecar({ pod: 'other-0', outbound: ['web.shop:80'] }),
  ]);
  return {
    web,
    client,
    other,
    viaClient: client.via('web.shop:80'),
    viaOther: other.via('web.shop:80'),
  };
}

const deny = (name: string, rules: string): string =>
  policyYaml({ name, action: 'DENY', app: 'web', rules });
const FROM_CLIENT = `[{from: [{source: {serviceAccounts: ["client"]}}]}]`;
/** What is forbidden ends at once: in tenths of a second, and later where everything else is busy. By itself it never would. */
const CUT_MS = 5_000;

test('an edit of a policy is enforced, is shown as enforced, and its refusals name the rule', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { web, viaClient } = await openShop(lab, app);
  assert.equal((await call(viaClient, '/open')).status, 200);

  await lab.write('p.yaml', deny('closed', '[{to: [{operation: {paths: ["/closed"]}}]}]'));
  const policy = await lab.enforced('closed');
  assert.equal(policy['enforced'], '1/1', 'it selects web alone');
  const refused = await call(viaClient, '/closed');
  assert.equal(refused.status, 403);
  assert.doesNotMatch(refused.body, /closed|rule/, 'the caller is not told which rule');
  assert.equal((await call(viaClient, '/open')).status, 200);
  const line = await web.access((entry) => entry['path'] === '/closed', 'the refusal');
  assert.equal(line['policy'], 'ns[shop]-policy[closed]-rule[0]');
  assert.equal(line['source'], 'spiffe://cluster.local/ns/shop/sa/client');

  await lab.write('p.yaml', deny('closed', '[{to: [{operation: {paths: ["/other"]}}]}]'));
  await eventually(async () => (await call(viaClient, '/closed')).status === 200, {
    what: 'the new version',
  });
  assert.equal((await call(viaClient, '/other')).status, 403);

  await lab.remove('p.yaml');
  await eventually(async () => (await call(viaClient, '/other')).status === 200, {
    what: 'the end of the policy',
  });
  assert.deepEqual(listOf(await lab.ask('/v1/policies'), 'policies'), []);
  assert.ok(!app.requests.includes('GET /closed') || app.requests.indexOf('GET /closed') > 1);
  shown('weft', 'rules-http', 'access-log', 'status');
});

test('requests and connections that a new policy forbids are cut at once, others stay', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { viaClient, viaOther } = await openShop(lab, app);
  const hold = 'GET /hold HTTP/1.1\r\nhost: web\r\n\r\n';
  const open = 'GET /open HTTP/1.1\r\nhost: web\r\n\r\n';
  using forbiddenRequest = await connectRaw(viaClient);
  using allowedRequest = await connectRaw(viaOther);
  using idle = await connectRaw(viaClient);
  forbiddenRequest.write(hold);
  allowedRequest.write(hold);
  idle.write(open);
  await Promise.all([forbiddenRequest.reads('held'), allowedRequest.reads('held')]);
  await idle.reads('/open');

  const savedAt = performance.now();
  await lab.write('p.yaml', deny('no-client', FROM_CLIENT));
  await forbiddenRequest.closed();
  assert.ok(performance.now() - savedAt < CUT_MS, `it took ${performance.now() - savedAt} ms`);
  assert.doesNotMatch(forbiddenRequest.text, /released/);
  assert.doesNotMatch(forbiddenRequest.text, /0\r\n\r\n$/, 'it must not look complete');

  idle.write(open);
  await eventually(() => idle.text.includes(' 403 ') || idle.isClosed, {
    what: 'the refusal on the kept connection',
  });
  await eventually(() => app.held === 1, { what: 'the end of the forbidden request at the app' });
  app.release();
  await allowedRequest.reads('released');
});

test('a keep-alive agent of a client that is shut out gets 403 and nothing reaches the application', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { viaClient, viaOther } = await openShop(lab, app);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  try {
    for (let index = 0; index < 5; index++) await call(viaClient, '/before', { agent });
    await lab.write('p.yaml', deny('no-client', FROM_CLIENT));
    await lab.enforced('no-client');
    assert.equal((await call(viaClient, '/after', { agent })).status, 403);
    assert.equal((await call(viaOther, '/other')).status, 200);
    assert.ok(!app.requests.includes('GET /after'));
  } finally {
    agent.destroy();
  }
});

test('an open TCP connection is cut when a policy shuts its client out, that of another stays', async () => {
  await using lab = await startLab();
  await using app = await startTcpApp();
  const service = [{ name: 'tcp-lines', port: 7000, targetPort: 7070 }];
  const outbound = ['web.shop:7000'];
  const [web, client, other] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 7070: app.address },
      service,
    }),
    lab.startSidecar({ pod: 'client-0', outbound }),
    lab.startSidecar({ pod: 'other-0', outbound }),
  ]);
  using forbidden = await connectRaw(client.via('web.shop:7000'));
  using allowed = await connectRaw(other.via('web.shop:7000'));
  forbidden.write('one');
  allowed.write('one');
  await Promise.all([forbidden.reads('one'), allowed.reads('one')]);

  const savedAt = performance.now();
  await lab.write('p.yaml', deny('no-client', FROM_CLIENT));
  await forbidden.closed();
  assert.ok(performance.now() - savedAt < CUT_MS, `it took ${performance.now() - savedAt} ms`);
  allowed.write(' two');
  await allowed.reads('one two');
  await web.access(
    (line) => line['reasonCode'] === 'rbac-denied' && line['bytesSent'] === 3,
    'why it was cut',
  );
  using again = await connectRaw(client.via('web.shop:7000'));
  await again.closed();
  assert.equal(again.text, '');
  shown('weft', 'rules-tcp');
});

test('a mistake in a policy leaves its last good version in force, and says so', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { viaClient } = await openShop(lab, app);
  const good = deny('closed', '[{to: [{operation: {paths: ["/closed"]}}]}]');
  await lab.write('p.yaml', good);
  await lab.enforced('closed');

  await lab.write('p.yaml', good.replace('paths:', 'pathz:'));
  const problem = await lab.problem('pathz');
  assert.match(String(problem['text']), /p\.yaml/);
  await lab.problem('last-good-version');
  assert.equal((await call(viaClient, '/closed')).status, 403);
  assert.equal((await call(viaClient, '/open')).status, 200);

  await lab.write('p.yaml', good.slice(0, good.indexOf('rules:') + 9));
  await lab.problem('p.yaml');
  assert.equal((await call(viaClient, '/closed')).status, 403, 'half a file is no file');

  await lab.write('p.yaml', good);
  await eventually(async () => listOf(await lab.ask('/v1/problems'), 'problems').length === 0, {
    what: 'the end of the problems',
  });
});

for (const action of ['ALLOW', 'DENY'] as const) {
  test(`a new ${action} policy with a mistake closes the workloads it selects, and only them`, async () => {
    await using lab = await startLab();
    await using app = await startHttpApp();
    const { viaClient } = await openShop(lab, app);
    const broken = policyYaml({
      name: 'broken',
      action,
      app: 'web',
      rules: '[{to: [{operation: {pathz: ["/closed"]}}]}]',
    });
    await lab.write('p.yaml', broken);
    await lab.problem('pathz');
    await eventually(async () => (await call(viaClient, '/open')).status === 403, {
      what: 'closing web',
    });
    await lab.write('p.yaml', broken.replace('app: web', 'app: nobody'));
    await eventually(async () => (await call(viaClient, '/open')).status === 200, {
      what: 'opening web',
    });
  });
}

test('a policy of the root namespace holds for every namespace', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { viaClient } = await openShop(lab, app);
  const everywhere = deny('everywhere', '[{to: [{operation: {methods: ["DELETE"]}}]}]')
    .replace('namespace: shop', 'namespace: weft-system')
    .replace(/ {2}selector:\n.*\n/, '');
  await lab.write('p.yaml', everywhere);
  const policy = await lab.enforced('everywhere');
  assert.equal(policy['enforced'], '3/3');
  assert.equal((await call(viaClient, '/x', { method: 'DELETE' })).status, 403);
  assert.equal((await call(viaClient, '/x')).status, 200);
});

test('an ALLOW policy without rules closes the workload, for plaintext as well', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const { web, viaClient } = await openShop(lab, app);
  await lab.write('p.yaml', policyYaml({ name: 'none', action: 'ALLOW', app: 'web', rules: '[]' }));
  await lab.enforced('none');
  assert.equal((await call(viaClient, '/open')).status, 403);
  assert.equal((await call(web.front(8080), '/open')).status, 403, 'in PERMISSIVE mode');
  assert.deepEqual(app.requests, []);
});
