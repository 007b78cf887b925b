// `weft inject` and `weft uninject` as processes: what reaches standard output, what is said beside it, and the exit code.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { weftMain } from '../support/weft-main.ts';

const weft = (args: readonly string[], input: string) =>
  spawnSync(process.execPath, [weftMain(), ...args], { input, encoding: 'utf8', timeout: 30_000 });

const pod = (name: string, annotation = 'example.com/a: b'): string => `apiVersion: v1
kind: Pod
metadata:
  name: ${name} # its name
  namespace: shop
  annotations:
    ${annotation}
spec:
  containers:
    - name: web
      image: shop/web:1
`;
const SERVICE = 'kind: Service\napiVersion: v1\nmetadata: {name:   web}\n';

test('weft inject and weft uninject through pipes give back the very text', () => {
  const text = `# a shop\n${SERVICE}---\n${pod('web')}`;
  const injected = weft(['inject', '-f', '-', '--trust-domain', 'mesh.test'], text);
  assert.equal(injected.status, 0, injected.stderr);
  assert.match(injected.stderr, /^Pod shop\/web: injected$/m);
  assert.match(injected.stdout, /- mesh\.test\n/);
  assert.ok(injected.stdout.startsWith(`# a shop\n${SERVICE}---\n`));
  const back = weft(['uninject', '-f', '-'], injected.stdout);
  assert.equal(back.status, 0, back.stderr);
  assert.equal(back.stdout, text);
});

test('weft inject writes nothing when one workload is refused, and says which and why', () => {
  const text = `${pod('good')}---\n${pod('bad', 'weft.dev/drain-time: soon')}`;
  const refused = weft(['inject', '-f', '-'], text);
  assert.equal(refused.status, 1);
  assert.equal(refused.stdout, '');
  assert.match(
    refused.stderr,
    /error Pod shop\/bad \(\(standard input\):19\) metadata\.annotations\.weft\.dev\/drain-time: "soon"/,
  );
});

test('weft inject says what is wrong with a file, a text and an option', () => {
  const cases = [
    [['-f', '/nowhere/at.yaml'], '', /Cannot read \/nowhere\/at\.yaml/],
    [['-f', '-'], 'kind: [Pod\n', /error \(\(standard input\):\d+\): is no valid YAML/],
    [['-f', '-', '--trust-domain', 'Not A Domain'], pod('web'), /--trust-domain/],
    [['-f', '-', '--sidecar-memory', 'lots'], pod('web'), /"lots" is not understood; write bytes/],
    [[], '', /required option '-f/],
  ] as const;
  for (const [args, input, message] of cases) {
    const end = weft(['inject', ...args], input);
    assert.equal(end.status, 1, args.join(' '));
    assert.equal(end.stdout, '');
    assert.match(end.stderr, message);
  }
});
