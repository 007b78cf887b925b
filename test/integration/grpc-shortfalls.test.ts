// Whoever runs a mesh is told which gRPC servers close a policy, or do not do what it says: what the program shows by its answers, the admin API and `weft policy` say.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainObject } from '@weft/model/policy/reader';
import {
  freePortEverywhere,
  principalOf,
  startClient,
  startProxyless,
  startServer,
  targetOf,
} from '../support/grpc-lab.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, listOf, startLab } from '../support/lab.ts';
import { runWeft } from '../support/lab-daemon.ts';

const target = targetOf('prices');

const FROM = `from: [{ source: { principals: ["${principalOf('web')}"] } }]`;
const CLAIM = 'when: [{ key: "request.auth.claims[role]", values: ["admin"] }]';
const POLICIES = [
  policyYaml({ name: 'admins', action: 'ALLOW', app: 'prices', rules: `[{ ${FROM}, ${CLAIM} }]` }),
  policyYaml({ name: 'seen', action: 'AUDIT', app: 'prices', rules: '[{}]' }),
  `apiVersion: mesh.weft.dev/v1
kind: TrafficPolicy
metadata: { name: slow, namespace: shop }
spec: { selector: { matchLabels: { app: prices } }, throttling: [{ name: each, requests: 1 }] }
`,
];

async function policyOf(lab: Lab, name: string): Promise<PlainObject> {
  const found = listOf(await lab.ask('/v1/policies'), 'policies').find(
    (one) => one['name'] === name,
  );
  assert.ok(found !== undefined, name);
  return found;
}

const shortfallsOf = async (lab: Lab): Promise<readonly string[]> =>
  listOf(await lab.ask('/v1/problems'), 'problems')
    .filter(({ code }) => String(code).endsWith('-at-grpc'))
    .map(({ text }) => String(text));

test('policies say what a gRPC server closes or leaves undone, while one is connected', async () => {
  await using lab = await startLab();
  const port = await freePortEverywhere();
  const prices = await startProxyless(lab, { pod: 'prices-0', port });
  await lab.write('policies.yaml', ...POLICIES);
  await eventually(async () => (await policyOf(lab, 'slow'))['state'] === 'Pending', {
    what: 'the policies are read',
  });
  assert.deepEqual(await shortfallsOf(lab), [], 'nobody serves yet');
  {
    await using server = await startServer(prices, 'grpc-js', port);
    await using client = await startClient('grpc-js', await startProxyless(lab, { pod: 'web-0' }));
    const { codes } = await client.call({ target, waits: true });
    assert.equal(codes[0]?.replace('_', ''), 'PERMISSIONDENIED', server.complaint);
    const admins = await lab.enforced('admins');
    assert.equal(admins['state'], 'Enforced');
    assert.match(
      String(admins['why']),
      /^spec\.rules\[0\]: allows less than it says at prices-0\.shop/,
    );
    for (const name of ['seen', 'slow']) {
      const policy = await policyOf(lab, name);
      assert.deepEqual([policy['state'], policy['enforced']], ['Unsupported', '0/1'], name);
      const [workload] = listOf(policy, 'workloads');
      assert.equal(workload?.['reason'], 'unsupported');
      assert.match(String(policy['why']), /^is not enforced by prices-0\.shop \(unsupported: /);
    }
    const told = await shortfallsOf(lab);
    assert.equal(told.length, 3, told.join('\n'));
    for (const line of told)
      assert.match(line, /^warning \w+ shop\/.* at prices-0\.shop, gRPC without a proxy: /);
    const { stdout } = await runWeft(['policy', 'status', 'slow', '--admin', lab.addresses.admin]);
    assert.match(stdout, /Unsupported 0\/1 since/);
    assert.match(
      stdout,
      /problem {3}warning TrafficPolicy shop\/slow: holds back, limits and disturbs nothing/,
    );
    const all = await runWeft(['policy', 'status', '--admin', lab.addresses.admin]);
    assert.match(all.stdout, /shop\/admins .*Enforced .*claim is seen/);
    const question = ['--from', 'shop/web', '--to', 'shop/prices', '--path', '/weft.test.Echo/Say'];
    const asked = ['policy', 'explain', ...question, '--admin', lab.addresses.admin];
    const explained = await runWeft([...asked, '--claim', 'role=admin']);
    assert.match(explained.stdout, /^DENIED/);
    assert.match(
      explained.stdout,
      /note {6}it serves gRPC without a proxy; AuthorizationPolicy shop\/admins spec\.rules\[0\] allows less/,
    );
    await lab.controlPlane.line(
      ({ msg }) => String(msg).startsWith('holds back, limits and disturbs nothing at prices-0'),
      'the log of the control plane',
    );
  }
  await eventually(async () => (await shortfallsOf(lab)).length === 0, {
    what: 'the server is gone, and nothing is said of it',
  });
});
