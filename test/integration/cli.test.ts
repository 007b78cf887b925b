// What the command says to people and scripts: help with examples, one line for what is wrong, and exit statuses.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startHttpApp } from '../support/lab-clients.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { startLab } from '../support/lab.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-cli-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function save(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  return file;
}

test('weft --help names every command and shows examples', async () => {
  const { code, stdout } = await runWeft(['--help']);
  assert.equal(code, 0);
  const commands = [
    'control-plane',
    'sidecar',
    'run',
    'demo',
    'token',
    'ca',
    'status',
    'config-dump',
    'certs',
    'ready',
    'policy',
    'capture',
  ];
  for (const command of commands) assert.match(stdout, new RegExp(`^ {2}${command}\\b`, 'm'));
  assert.match(stdout, /Examples:\n {2}weft demo/);
});

for (const command of [
  ['control-plane'],
  ['sidecar'],
  ['run'],
  ['token', 'create'],
  ['policy', 'eval'],
  ['policy', 'check'],
  ['status'],
  ['capture'],
  ['demo'],
  ['certs'],
  ['config-dump'],
  ['ready'],
  ['ca', 'status'],
  ['ca', 'rotate'],
  ['ca', 'rollback'],
]) {
  test(`weft ${command.join(' ')} --help shows an example`, async () => {
    const { code, stdout } = await runWeft([...command, '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /Examples?:\n {2}weft /);
  });
}

test('weft --version tells the version', async () => {
  const { code, stdout } = await runWeft(['--version']);
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+/);
});

const SIDECAR = ['--pod', 'a', '--namespace', 'b', '--pod-ip', '127.0.0.1', '--bundle', '/x'];
const mistakes: readonly (readonly [readonly string[], RegExp])[] = [
  [['sidecar', ...SIDECAR, '--inbuond', '1=2'], /unknown option '--inbuond'[^]*--inbound/],
  [['statsu'], /unknown command 'statsu'[^]*status/],
  [['sidecar', ...SIDECAR, '--proxy', 'nginx'], /'nginx' is invalid[^]*weft, envoy, none/],
  [['sidecar', '--proxy', 'envoy'], /required option '--pod/],
  [['sidecar'], /required option '--pod <name>' not specified/],
  [['sidecar', ...SIDECAR, '--inbound', '8080'], /write PORT=HOST:PORT, for example 8080=/],
  [['sidecar', ...SIDECAR, '--outbound', 'x'], /SERVICE\.NAMESPACE:PORT/],
  [['sidecar', ...SIDECAR, '--drain-limit', '10'], /write a number and a unit: 300ms, 10s/],
  [['sidecar', ...SIDECAR, '--xds', 'a:99999'], /"99999" is no port; write 0 to 65535/],
  [['sidecar', ...SIDECAR, '--access-log', 'some'], /Allowed choices are off, errors, all/],
  [['sidecar', ...SIDECAR], /--bundle: cannot read \/x/],
  [['run', ...SIDECAR], /missing required argument 'app'/],
  [['control-plane', '--manifests', '/no/such', '--state-dir', '/tmp/x'], /\/no\/such/],
  [['status', '--admin', '127.0.0.1:1'], /Cannot ask 127\.0\.0\.1:1\/v1.*is it running/],
  [['ca', 'rotate', '--state-dir', '/no/such'], /\/no\/such\/admin\.sock.*is it running/],
  [['policy', 'check', '/no/such.yaml'], /\/no\/such\.yaml/],
];
for (const [args, expected] of mistakes) {
  test(`weft ${args.slice(-2).join(' ')} exits 1 and says what to write`, async () => {
    const { code, stdout, stderr } = await runWeft(args);
    assert.equal(code, 1, stderr);
    assert.match(stderr, expected);
    assert.equal(stdout, '', 'standard output is for results');
    assert.doesNotMatch(stderr, /\n\s+at .*\.ts:\d+/, 'no stack trace');
  });
}

const POLICY = `apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata: { name: closed, namespace: shop }
spec:
  action: DENY
  rules: [{to: [{operation: {paths: ["/admin"]}}]}]
`;
const cases = (expect: string, policies = POLICY): string =>
  JSON.stringify([
    {
      name: 'closed',
      workload: { namespace: 'shop', labels: { app: 'web' } },
      rootNamespace: 'weft-system',
      trustDomain: 'cluster.local',
      policies,
      cases: [
        {
          name: 'admin',
          request: {
            protocol: 'http',
            srcPrincipal: null,
            port: 80,
            method: 'GET',
            path: '/admin',
          },
          expect,
        },
      ],
    },
  ]);

test('weft policy eval exits 0 when every decision is the expected one, and 1 when one is not', async () => {
  const right = await runWeft(['policy', 'eval', '--cases', await save('a.json', cases('deny'))]);
  assert.equal(right.code, 0, right.stderr);
  assert.match(right.stdout, /1 decisions, 0 differ/);
  const wrong = await runWeft(['policy', 'eval', '--cases', await save('b.json', cases('allow'))]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stdout, /closed \/ admin: expected allow, decided deny/);
  const broken = cases('deny', POLICY.replace('paths', 'pathz'));
  const bad = await runWeft(['policy', 'eval', '--cases', await save('c.json', broken)]);
  assert.equal(bad.code, 1);
  assert.match(bad.stdout, /pathz/);
});

test('weft policy eval of a file that is no list of cases exits 1 and names it', async () => {
  for (const text of ['{', '{}', '[1]', '[{"name":"x"}]']) {
    const file = await save('bad.json', text);
    const { code, stderr } = await runWeft(['policy', 'eval', '--cases', file]);
    assert.equal(code, 1);
    assert.match(stderr, /bad\.json/, text);
  }
});

test('weft policy check exits 0 for good manifests and 1 for bad ones, with file and line', async () => {
  const good = await runWeft(['policy', 'check', await save('good.yaml', POLICY)]);
  assert.equal(good.code, 0, good.stdout);
  const text = `${POLICY}---\n${POLICY.replace('paths', 'pathz')}`;
  const bad = await runWeft(['policy', 'check', await save('bad.yaml', text)]);
  assert.equal(bad.code, 1);
  assert.match(bad.stdout, /bad\.yaml:\d+.*pathz/);
});

test('status, certs, ready and config-dump tell what runs, and no key', async () => {
  await using lab = await startLab();
  const { code: made, stdout: token } = await runWeft([
    'token',
    'create',
    '--state-dir',
    lab.state,
    '--namespace',
    'shop',
    '--service-account',
    'web',
  ]);
  assert.equal(made, 0);
  const web = await lab.startSidecar({ pod: 'web-0', token: { text: token.trim() } });
  const status = await runWeft(['status', '--admin', lab.addresses.admin]);
  assert.equal(status.code, 0);
  assert.match(status.stdout, /1 proxies connected[^]*web-0\.shop .*sa\/web/);
  const ready = await runWeft(['ready', '--admin', web.admin]);
  assert.deepEqual([ready.code, ready.stdout], [0, 'LIVE']);
  for (const command of ['certs', 'config-dump']) {
    const { code, stdout } = await runWeft([command, '--admin', web.admin]);
    assert.equal(code, 0);
    assert.match(stdout, /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/);
    assert.doesNotMatch(stdout, /PRIVATE KEY/);
  }
  const ca = await runWeft(['ca', 'status', '--admin', lab.addresses.admin]);
  assert.equal(ca.code, 0);
  assert.match(ca.stdout, /"phase": "stable"/);
});

for (const [what, args, message] of [
  [
    'a token for a state directory that is not there',
    [
      'token',
      'create',
      '--state-dir',
      'FOLDER/none',
      '--namespace',
      'shop',
      '--service-account',
      'web',
    ],
    /there is no folder .*none; give the --state-dir/,
  ],
  [
    'a token for a state directory that is a file',
    ['token', 'create', '--state-dir', 'FILE', '--namespace', 'shop', '--service-account', 'web'],
    /file\.yaml is no folder; give the --state-dir/,
  ],
  [
    'a control plane whose state directory is a file',
    ['control-plane', '--manifests', 'FOLDER', '--state-dir', 'FILE'],
    /Cannot keep state in .*file\.yaml: .*--state-dir names a folder/,
  ],
  [
    'certificates that live too short',
    ['control-plane', '--manifests', 'FOLDER', '--state-dir', 'FOLDER/s', '--svid-ttl', '1s'],
    /\(--svid-ttl\): 10s to 24h/,
  ],
  [
    'an --ip-address that is none',
    ['control-plane', '--manifests', 'FOLDER', '--state-dir', 'FOLDER/s', '--ip-address', 'nope'],
    /--ip-address.*"nope" is no IP address/,
  ],
  [
    'an address without its port',
    ['status', '--admin', 'localhost'],
    /has no port; write HOST:PORT/,
  ],
  [
    'a header without a value',
    ['policy', 'explain', '--from', 'a/b', '--to', 'a/c', '--header', 'x', '-f', 'FOLDER'],
    /--header.*"x" has no value; write NAME=VALUE/,
  ],
  [
    'manifests where expectations are wanted',
    ['policy', 'test', 'FILE'],
    /several documents; expectations are one of kind PolicyTest/,
  ],
  [
    'a policy to promote that is not in the file',
    ['policy', 'promote', 'nope', '-f', 'FILE', '--admin', '127.0.0.1:1'],
    /has no AuthorizationPolicy default\/nope/,
  ],
] as const) {
  test(`${what}: refused with the cure, and nothing is made`, async () => {
    const file = await save('file.yaml', `${POLICY}---\n${POLICY}`);
    const filled = args.map((arg) => arg.replace('FOLDER', folder).replace('FILE', file));
    const { code, stderr, stdout } = await runWeft(filled);
    assert.equal(code, 1);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^ +at /m);
    assert.equal(stdout, '');
    assert.equal(existsSync(join(folder, 'none')), false);
  });
}

test('tabs in a manifest are named with their line, and spaces asked for', async () => {
  const file = await save('tabs.yaml', 'apiVersion: v1\nkind: Pod\nmetadata:\n\tname: x\n');
  const { code, stdout } = await runWeft(['policy', 'check', file]);
  assert.equal(code, 1);
  assert.match(stdout, /tabs\.yaml:4\).*write spaces instead of tabs/);
});

test('an admin address of the wrong process is named, and the right one asked for', async () => {
  await using lab = await startLab();
  const { admin } = lab.addresses;
  const certs = await runWeft(['certs', '--admin', admin]);
  assert.equal(certs.code, 1);
  assert.match(certs.stderr, /it has none; a sidecar's admin address is needed/);
  await using app = await startHttpApp({ handle: (_, response) => response.end('hello') });
  const status = await runWeft(['status', '--admin', app.address]);
  assert.equal(status.code, 1);
  assert.match(status.stderr, /is this the admin address of a control plane or sidecar\?/);
});

test('a control plane whose port is taken says so in words', async () => {
  await using lab = await startLab();
  for (const flag of ['--xds', '--enrolment', '--admin']) {
    const daemon = lab.spawnControlPlane({
      args: ['--state-dir', join(folder, 'other'), flag, lab.addresses.xds],
    });
    assert.equal((await daemon.exit()).code, 1);
    assert.match(
      daemon.stderr,
      /Cannot listen on 127\.\d+\.\d+\.1:\d+: another process listens there/,
    );
  }
});

test('the Pods that the README names are those of the example', async () => {
  const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
  const pods = await read('deploy/examples/shop/pods.yaml');
  const readme = await read('README.md');
  const named = [...readme.matchAll(/--pod (\S+) --namespace shop --pod-ip (\S+)/g)];
  assert.equal(named.length, 2);
  for (const [, pod, ip] of named) {
    const document = pods.split('---\n').find((text) => text.includes(`name: ${pod}\n`));
    assert.match(document ?? '', new RegExp(`podIP: ${ip}\n`));
  }
});

test('a result that cannot be written is one line and status 1', {
  skip: !existsSync('/dev/full'),
}, async () => {
  const weft = fileURLToPath(new URL('../../bin/weft', import.meta.url));
  const full = openSync('/dev/full', 'w');
  try {
    const file = await save('full.yaml', POLICY);
    const { status, stderr } = spawnSync(weft, ['policy', 'check', file], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(status, 1);
    assert.match(stderr, /^weft: Cannot write the result: ENOSPC[^\n]*\n$/);
  } finally {
    closeSync(full);
  }
});
