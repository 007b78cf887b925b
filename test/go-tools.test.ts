// The programs of Kubernetes for tests: taken from where they are named, built once however many ask, and missed with a cure.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { buildKubelab, helmBinary, kubelabMissing, programPath } from './support/go-tools.ts';

const NAMES = ['PATH', 'XDG_CACHE_HOME', 'KUBEBUILDER_ASSETS', 'FAKE_GO_LOG'] as const;
const before = new Map(NAMES.map((name) => [name, process.env[name]]));
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-go-tools-'));
  for (const name of ['bin', 'assets', 'cache']) mkdirSync(join(folder, name));
  process.env['PATH'] = join(folder, 'bin');
  process.env['XDG_CACHE_HOME'] = join(folder, 'cache');
  process.env['FAKE_GO_LOG'] = join(folder, 'builds');
  delete process.env['KUBEBUILDER_ASSETS'];
});
afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(folder, { recursive: true });
});

const silent = (): void => undefined;

function program(path: string, text: string): void {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

const fakeGo = (end: string): void =>
  program(
    join(folder, 'bin', 'go'),
    `while [ "$1" != -o ]; do shift; done; echo built >>"$FAKE_GO_LOG"; : >"$2"; ${end}`,
  );

const builds = (): number => {
  const log = join(folder, 'builds');
  return existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0;
};

const cached = (): readonly string[] => {
  const made = join(folder, 'cache', 'weft', 'kubelab');
  return existsSync(made) ? readdirSync(made) : [];
};

test('with neither Go nor KUBEBUILDER_ASSETS, what is missing and both cures are named', async () => {
  await buildKubelab(assert.fail);
  const reason = kubelabMissing() ?? '';
  for (const word of ['etcd, kube-apiserver, kube-controller-manager, kubectl', 'go.dev/dl']) {
    assert.ok(reason.includes(word), reason);
  }
  assert.ok(reason.includes('KUBEBUILDER_ASSETS'), reason);
  const helm = helmBinary();
  assert.ok('missing' in helm && helm.missing.startsWith('no helm'));
});

test('KUBEBUILDER_ASSETS is taken before what was built, and only what it lacks is missing', () => {
  process.env['KUBEBUILDER_ASSETS'] = join(folder, 'assets');
  for (const name of ['etcd', 'kube-apiserver', 'kubectl']) {
    program(join(folder, 'assets', name), '');
  }
  assert.equal(programPath('etcd'), join(folder, 'assets', 'etcd'));
  assert.match(kubelabMissing() ?? '', /^no kube-controller-manager: /);
  program(join(folder, 'assets', 'kube-controller-manager'), '');
  assert.equal(kubelabMissing(), undefined);
});

test('several that build at once build once, and the next builds nothing', async () => {
  fakeGo('');
  const said: string[] = [];
  const build = (): Promise<void> => buildKubelab((line) => said.push(line));
  await Promise.all([build(), build(), build()]);
  assert.equal(builds(), 1);
  assert.match(said[0] ?? '', /about five minutes, once/);
  assert.equal(kubelabMissing(), undefined);
  assert.ok('path' in helmBinary());
  await buildKubelab(assert.fail);
  assert.equal(cached().length, 1);
});

test('a build that fails leaves nothing behind, and the next tries again', async () => {
  fakeGo('exit 3');
  await assert.rejects(buildKubelab(silent), /"go build" ended with 3/);
  assert.deepEqual(cached(), []);
  assert.match(kubelabMissing() ?? '', /npm run test:kubernetes/);
  fakeGo('');
  await buildKubelab(silent);
  assert.equal(kubelabMissing(), undefined);
});

test('the lock of a builder that has died is taken over, and builds of a month ago are removed', async () => {
  fakeGo('');
  await buildKubelab(silent);
  const made = dirname(programPath('etcd') ?? '');
  rmSync(made, { recursive: true });
  const old = join(dirname(made), 'of-old-sources');
  const past = new Date(Date.now() - 40 * 24 * 3_600_000);
  for (const path of [`${made}.lock`, old]) {
    mkdirSync(path);
    utimesSync(path, past, past);
  }
  await buildKubelab(silent);
  assert.deepEqual(readdirSync(dirname(made)), [made.slice(dirname(made).length + 1)]);
});
