// What `weft policy` says is what the sidecars do, and what a team's CI does with it ends in the right exit code.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { modeYaml, podYaml, policyYaml, serviceYaml } from '../support/lab-manifests.ts';
import { listOf, startLab } from '../support/lab.ts';
import { weftCommand } from '../support/weft-main.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const weft = (...args: readonly string[]): Promise<Ran> =>
  new Promise((resolve) => {
    const [command = '', ...words] = weftCommand(['policy', ...args]);
    execFile(
      command,
      words,
      { timeout: 20_000, env: { ...process.env, NODE_TEST_CONTEXT: '' } },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err });
      },
    );
  });

async function folderOf(files: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(join(tmpdir(), 'weft-policies-'));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return {
    folder,
    path: (name: string) => join(folder, name),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

const CLUSTER = [
  podYaml({ name: 'web-0', ip: '10.0.0.1', ports: [8080] }),
  podYaml({ name: 'client-0', ip: '10.0.0.2', ports: [] }),
  serviceYaml({ name: 'web', ports: [{ name: 'http', port: 80, targetPort: 8080 }] }),
].join('---\n');
const READS = policyYaml({
  name: 'reads',
  action: 'ALLOW',
  app: 'web',
  rules:
    '[{from: [{source: {serviceAccounts: ["client"]}}], to: [{operation: {methods: ["GET"], paths: ["/a", "/b/*"]}}]}]',
});
const SHOP = { 'cluster.yaml': CLUSTER, 'strict.yaml': modeYaml('STRICT'), 'reads.yaml': READS };

const EXPLAINED: readonly (readonly [string, readonly string[], number, RegExp])[] = [
  [
    'an allowed call with its rule',
    ['--from', 'shop/client', '--to', 'shop/web', '--path', '/b/c'],
    0,
    /rule 0 of shop\/reads allows it/,
  ],
  [
    'a denied one with the field that failed',
    [
      '--from',
      'shop/client',
      '--to',
      'shop/web',
      '--port',
      '80',
      '--path',
      '/a',
      '--method',
      'POST',
    ],
    2,
    /method is "POST", and must be GET/,
  ],
  [
    'plaintext, before any policy',
    ['--plaintext', '--to', 'shop/web-0', '--path', '/a'],
    2,
    /STRICT: plaintext is refused before any policy/,
  ],
];
for (const [claim, args, code, says] of EXPLAINED) {
  test(`weft policy explain -f explains ${claim} and exits ${code}`, async () => {
    await using shop = await folderOf(SHOP);
    const ran = await weft('explain', ...args, '-f', shop.folder);
    assert.equal(ran.code, code, ran.err);
    assert.match(ran.out, says);
  });
}

test('weft policy explain says what to write when it is asked wrongly', async () => {
  await using shop = await folderOf(SHOP);
  const unknown = await weft(
    'explain',
    '--from',
    'shop/client',
    '--to',
    'shop/wep',
    '-f',
    shop.folder,
  );
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /in shop there are .*web/);
  const nobody = await weft('explain', '--to', 'shop/web', '-f', shop.folder);
  assert.equal(nobody.code, 1);
  assert.match(nobody.err, /--from NAMESPACE\/SERVICE-ACCOUNT or --plaintext/);
});

test('weft policy test exits 1 with a readable difference, writes JUnit, and reads its file beside the policies', async () => {
  const tests = `apiVersion: test.weft.dev/v1
kind: PolicyTest
tests:
  - { from: shop/client, to: shop/web, path: [/a, /b/c], expect: allow, by: shop/reads }
  - { name: writes are refused, from: shop/client, to: shop/web, method: POST, path: /a, expect: EXPECT }
`;
  await using shop = await folderOf({ ...SHOP, 'shop.test.yaml': tests.replace('EXPECT', 'deny') });
  const met = await weft('test', shop.path('shop.test.yaml'));
  assert.deepEqual([met.code, met.out, met.err], [0, '3 expectations, 0 not met\n', '']);
  await writeFile(shop.path('shop.test.yaml'), tests.replace('EXPECT', 'allow'));
  const failed = await weft('test', shop.path('shop.test.yaml'), '--junit', shop.path('junit.xml'));
  assert.equal(failed.code, 1);
  assert.match(failed.out, /✗ writes are refused[^]*- expected {2}allow\n {4}\+ decided {3}deny/);
  const xml = await readFile(shop.path('junit.xml'), 'utf8');
  assert.match(xml, /tests="3" failures="1"/);
  const lint = await weft('lint', '-f', shop.folder, '--json');
  assert.equal(JSON.parse(lint.out).errors, 0, 'a control plane passes the file over');
});

test('the expectations that docs/policy.md shows are met by the example shop', async () => {
  const docs = await readFile(new URL('../../docs/policy.md', import.meta.url), 'utf8');
  const example = docs.split('```yaml\n').find((part) => part.includes('kind: PolicyTest'));
  assert.ok(example !== undefined);
  await using shop = await folderOf({ 'doc.test.yaml': example.split('```', 1)[0] ?? '' });
  const manifests = fileURLToPath(new URL('../../deploy/examples/shop', import.meta.url));
  const ran = await weft('test', shop.path('doc.test.yaml'), '-f', manifests);
  assert.deepEqual([ran.code, ran.out], [0, '2 expectations, 0 not met\n'], ran.err);
});

test('weft policy diff names the calls that change, and exits 2 only then', async () => {
  await using shop = await folderOf({
    'reads.yaml': READS,
    'more.yaml': READS.replace('"/a"', '"/a", "/c"'),
  });
  await using cluster = await folderOf({ 'cluster.yaml': CLUSTER });
  const same = await weft(
    'diff',
    shop.path('reads.yaml'),
    shop.path('reads.yaml'),
    '-f',
    cluster.folder,
  );
  assert.equal(same.code, 0, same.out);
  assert.match(same.out, /no call changes/);
  const more = await weft(
    'diff',
    shop.path('reads.yaml'),
    shop.path('more.yaml'),
    '-f',
    cluster.folder,
  );
  assert.equal(more.code, 2);
  assert.match(more.out, /\+ allowed +shop\/client +→ +web-0\.shop port 8080 +GET \/c\n/);
  assert.match(more.out, /1 become allowed, 0 become denied/);
});

test('weft policy matrix says who may call what', async () => {
  await using shop = await folderOf(SHOP);
  const ran = await weft('matrix', '-f', shop.folder);
  assert.equal(ran.code, 0, ran.err);
  assert.match(ran.out, /web-0\.shop +8080 http1 STRICT/);
  assert.match(ran.out, /shop\/client +GET \/a; GET \/b\/; GET \/b\/\*/);
});

test('a Deployment stands for the Pods that the cluster would make', async () => {
  const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  template:
    metadata: { labels: { app: web } }
    spec:
      serviceAccountName: website
      containers: [{ name: app, ports: [{ name: http, containerPort: 3000 }] }]
`;
  await using shop = await folderOf({ 'd.yaml': deployment, 'reads.yaml': READS });
  const ran = await weft('matrix', '-f', shop.folder);
  assert.match(ran.out, /web-\*\.shop +3000 http1/);
  assert.match(ran.out, /shop\/website/);
});

test('weft policy lint exits 1 for what would be refused, 0 with warnings, and says where and what to write', async () => {
  await using shop = await folderOf({
    ...SHOP,
    'doubtful.yaml': policyYaml({
      name: 'doubtful',
      action: 'DENY',
      app: 'wep',
      rules: '[{to: [{operation: {methods: ["get"]}}]}]',
    }),
    'two.yaml': modeYaml('PERMISSIVE').replace('name: default', 'name: second'),
  });
  const warned = await weft('lint', '-f', shop.folder);
  assert.equal(warned.code, 0, warned.err);
  for (const code of [
    'selects-nothing',
    'method-never-matches',
    'conflicting-peer-authentication',
  ]) {
    assert.ok(warned.out.includes(`[${code}]`), `${code} in ${warned.out}`);
  }
  assert.match(warned.out, /doubtful\.yaml:10: warning \[method-never-matches\][^]*→ write GET/);
  await writeFile(
    shop.path('broken.yaml'),
    READS.replace('rules:', 'rulez:').replace('name: reads', 'name: broken'),
  );
  const refused = await weft('lint', shop.folder);
  assert.equal(refused.code, 1);
  assert.match(
    refused.out,
    /broken\.yaml:\d+: error \[unknown-field\] AuthorizationPolicy shop\/broken/,
  );
});

test('explain agrees with what sidecars do, a refusal is explained by its id, and wait knows when it is true', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const { admin } = lab.addresses;
  const via = client.via('web.shop:80');
  await lab.write('reads.yaml', READS);
  const never = weft('wait', 'shop/none', '--admin', admin, '--timeout', '1500ms');
  const waited = await weft(
    'wait',
    'shop/reads',
    '--admin',
    admin,
    '-f',
    join(lab.manifests, 'reads.yaml'),
    '--timeout',
    '10s',
  );
  assert.equal(waited.code, 0, waited.err);
  for (const path of ['/a', '/b/c', '/x', '/b/../a', '/a%2f']) {
    const { status } = await call(via, path);
    const said = await weft(
      'explain',
      '--from',
      'shop/client',
      '--to',
      'shop/web',
      '--port',
      '80',
      '--path',
      path,
      '--admin',
      admin,
    );
    assert.equal(said.code, status === 200 ? 0 : 2, `${path}: ${status}\n${said.out}${said.err}`);
  }

  const refused = await call(via, '/x');
  assert.equal(refused.status, 403);
  const [denial] = listOf(await web.askJson('/denials'), 'denials');
  assert.equal(denial?.['path'], '/x');
  const why = await weft(
    'explain',
    '--request-id',
    String(denial['requestId']),
    '--admin',
    web.admin,
  );
  assert.equal(why.code, 2, why.err);
  assert.match(why.out, /ns\/shop\/sa\/client[^]*GET \/x[^]*no rule of theirs matched/);
  assert.match(why.out, /nearest +ns\[shop\]-policy\[reads\]-rule\[0\]: path is "\/x"/);
  const lost = await weft('explain', '--request-id', 'nothing', '--admin', web.admin);
  assert.equal(lost.code, 1);

  const status = await weft('status', 'reads', '--admin', admin);
  assert.match(status.out, /Enforced +1\/1 since 2/);
  const other = await never;
  assert.equal(other.code, 1);
  const reason = 'the control plane has no policy of that name';
  const lines = [`waiting: ${reason}`, `shop/none is not enforced after 1500 ms: ${reason}`];
  assert.equal(other.err, `${lines.join('\n')}\n`);

  await lab.remove('reads.yaml');
  const gone = await weft(
    'wait',
    'shop/reads',
    '--for',
    'deleted',
    '--admin',
    admin,
    '--timeout',
    '10s',
  );
  assert.equal(gone.code, 0, gone.err);
  assert.equal((await call(via, '/x')).status, 200, 'it is true everywhere by then');
});
