// `weft admission test` as a process: what it says of files, what it refuses to call tested, and the exit code.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { weftMain } from '../support/weft-main.ts';

const policy = (spec: string, name = 'p'): string =>
  `apiVersion: security.weft.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: ${name}, namespace: shop}\n${spec}\n`;
const pod = (privileged: boolean): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers: [{name: web, securityContext: {privileged: ${privileged}}}]\n`;

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-admission-'));
  mkdirSync(join(folder, 'policies'));
  writeFileSync(join(folder, 'policies/p.yaml'), policy('spec: {pod: {privileged: false}}'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const weft = (args: readonly string[], input = '') =>
  spawnSync(process.execPath, [weftMain(), 'admission', 'test', ...args], {
    input,
    encoding: 'utf8',
    timeout: 60_000,
    cwd: folder,
  });

const POLICIES = ['--policies', 'policies'];

test('a pipe is looked at, with every document in it and every item of a List', () => {
  const list = `apiVersion: v1\nkind: List\nitems:\n  - ${pod(true).trimEnd().replaceAll('\n', '\n    ')}\n`;
  const text = `# first\n---\n${pod(false)}---\nkind: Service\napiVersion: v1\n---\n${list}`;
  const end = weft(['-f', '-', ...POLICIES], text);
  assert.equal(end.status, 1, end.stderr);
  assert.match(end.stdout, /^ok {7}Pod shop\/web \(\(standard input\):3\)$/m);
  assert.match(end.stdout, /^REFUSED {2}Pod shop\/web .*privileged is true/m);
  assert.match(end.stdout, /^2 looked at: 1 would be refused, 0 warned of or noted, 1 comply$/m);
});

test('what complies ends with 0, also for programs', () => {
  const end = weft(['-f', '-', '--json', ...POLICIES], pod(false));
  assert.equal(end.status, 0, end.stderr);
  const { isGood, workloads } = JSON.parse(end.stdout);
  assert.equal(isGood, true);
  assert.deepEqual(workloads[0].findings, []);
});

const FAILING: readonly (readonly [string, readonly string[], string, RegExp])[] = [
  ['no policy', ['-f', '-'], pod(true), /Cannot test: there is no WorkloadPolicy/],
  ['no workload', ['-f', '-', ...POLICIES], 'kind: Service\n', /there is no workload/],
  ['what is no YAML', ['-f', '-', ...POLICIES], 'a: [', /Cannot read \(standard input\):\d/],
  ['no file', ['-f', 'none.yaml', ...POLICIES], '', /Cannot read none\.yaml/],
];
for (const [what, args, input, said] of FAILING) {
  test(`${what} is not called tested`, () => {
    const end = weft(args, input);
    assert.equal(end.status, 1);
    assert.match(end.stderr, said);
  });
}

test('a policy that cannot be read is named with its file and line, and passes nothing', () => {
  writeFileSync(join(folder, 'bad.yaml'), policy('spec: {pod: {priviledged: false}}'));
  writeFileSync(join(folder, 'web.yaml'), pod(false));
  const end = weft(['-f', 'web.yaml', '--policies', 'bad.yaml']);
  assert.equal(end.status, 1);
  assert.match(end.stderr, /WorkloadPolicy shop\/p \(bad\.yaml:\d+\).*priviledged: unknown field/);
  assert.match(end.stdout, /REFUSED .*the policy cannot be read/);
});

test('exemptions that have ended are named', () => {
  const exemption =
    'spec: {pod: {hostPID: false}, exemptions: [{who: {users: [a]}, reason: once, expires: 2020-01-01}]}';
  writeFileSync(join(folder, 'ended.yaml'), policy(exemption));
  const end = weft(['-f', '-', '--policies', 'ended.yaml'], pod(true));
  assert.equal(end.status, 0, end.stderr);
  assert.match(
    end.stderr,
    /spec\.exemptions\[0\] ended 2020-01-01T00:00:00\.000Z \(once\): remove/,
  );
});
