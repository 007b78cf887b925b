// The bundles that images are made of behave as the sources do, and hold nothing that their image has no use for.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chown, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { call, echoed, startHttpApp } from '../support/lab-clients.ts';
import { startLab } from '../support/lab.ts';
import { curl, startStatic } from '../support/static-rig.ts';
import { BUNDLES, type Bundles, openBundles } from '../support/weft-main.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

let bundles: Bundles;
/** Outside the checkout: nothing in its node_modules can be found from there. */
let out: string;
/** For what a test writes. */
let folder: string;

before(async () => {
  bundles = await openBundles();
  out = bundles.folder;
  process.env[BUNDLES] = out;
  folder = await mkdtemp(join(tmpdir(), 'weft-bundle-'));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
  await bundles[Symbol.asyncDispose]();
});

async function weft(bundle: string, ...args: readonly string[]) {
  const main = join(out, bundle, 'weft.mjs');
  try {
    const { stdout, stderr } = await run(process.execPath, [main, ...args], { cwd: out });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

interface MadeOf {
  readonly inputs: readonly string[];
  /** Without what only a sidecar of its own file loads. */
  readonly inMesh: readonly string[];
  readonly externals: readonly string[];
}

const madeOf = async (bundle: string): Promise<MadeOf> => {
  const read: MadeOf = JSON.parse(await readFile(join(out, `${bundle}.made-of.json`), 'utf8'));
  assert.ok(read.inputs.length > 100 && read.externals.length > 5);
  return read;
};

test("the sidecar's bundle holds no CA, no Kubernetes client and no node-forge, and nothing of a control plane that a mesh's sidecar loads", async () => {
  const foreign = ['src/ca/', 'src/kube/', 'node-forge', '@kubernetes'];
  const { inputs, inMesh } = await madeOf('sidecar');
  const have = (files: readonly string[], parts: readonly string[]): readonly string[] =>
    files.filter((file) => parts.some((part) => file.includes(part)));
  assert.deepEqual(have(inputs, foreign), []);
  assert.ok(have(inMesh, ['src/dataplane/sidecar.ts']).length === 1);
  assert.deepEqual(have(inMesh, ['src/controlplane/', 'src/cli/static/', 'chokidar']), []);
  assert.ok(have(inputs, ['src/controlplane/compile/']).length > 0, 'of its own file it compiles');
});

test('the bundles need no package: what they import is in them, in Node, or koffi beside them', async () => {
  /** Asked for by packages that do without them where they are not there. */
  const optional = ['bufferutil', 'koffi', 'supports-color', 'utf-8-validate'];
  for (const [bundle, expected] of [
    ['sidecar', ['koffi']],
    ['control-plane', optional],
  ] as const) {
    const { externals } = await madeOf(bundle);
    assert.deepEqual(
      externals.filter((name) => !isBuiltin(name)),
      expected,
    );
  }
});

test('the one native library beside a bundle can be loaded from there', async () => {
  for (const bundle of ['sidecar', 'control-plane']) {
    const code = `await import('${join(out, bundle)}/node_modules/koffi/index.js')`;
    await run(process.execPath, ['--input-type=module', '--eval', code], { cwd: out });
  }
});

test('--version and --help say what the sources say', async () => {
  for (const bundle of ['sidecar', 'control-plane']) {
    const { code, stdout } = await weft(bundle, '--version');
    assert.deepEqual([code, stdout], [0, '0.1.0\n']);
  }
  const { stdout: source } = await run(process.execPath, [
    join(root, 'src/cli/main.ts'),
    'sidecar',
    '--help',
  ]);
  for (const bundle of ['sidecar', 'control-plane']) {
    const { code, stdout } = await weft(bundle, 'sidecar', '--help');
    assert.deepEqual([code, stdout], [0, source]);
  }
  const { stdout: captured } = await weft('sidecar', 'capture', 'print');
  assert.match(captured, /REDIRECT --to-ports 15006/);
});

test("a sidecar's bundle leaves what it has no use for in Node: no web client, no web cryptography", async () => {
  const file = join(folder, 'loaded.cjs');
  const text = "process.on('exit', () => console.error(process.moduleLoadList.join('\\n')));";
  await writeFile(file, text);
  // The command's modules are loaded for its help.
  const args = ['--require', file, join(out, 'sidecar', 'weft.mjs'), 'sidecar', '--help'];
  const { stderr } = await run(process.execPath, args, { cwd: out });
  const loaded = stderr.split('\n').map((line) => line.replace('NativeModule ', ''));
  assert.ok(loaded.includes('http2'));
  for (const name of ['internal/deps/undici/undici', 'internal/crypto/webcrypto', 'stream/web']) {
    assert.ok(!loaded.includes(name), name);
  }
});

test("a command that is not in the sidecar's image is an error, and the demo says where it runs", async () => {
  const { code, stderr } = await weft('sidecar', 'control-plane');
  assert.equal(code, 1);
  assert.match(stderr, /unknown command 'control-plane'/);
  const demo = await weft('control-plane', 'demo');
  assert.equal(demo.code, 1);
  assert.match(demo.stderr, /in a checkout/);
});

test("a sidecar's bundle runs from a file of its own, and compares passwords in its thread", async () => {
  const hash = '$2b$08$sF6CQ9vo13WtOVejO94sZu3g6gF98XAcUHeRS6ieQCIGs1KygdlcW';
  const sections = 'basicAuthentication: {users: {file: users}}';
  await using rig = await startStatic({ sections, files: { users: `ann:${hash}` } });
  assert.equal((await curl(`${rig.url}/`)).status, 401);
  assert.equal((await curl('-u', 'ann:wrong', `${rig.url}/`)).status, 401);
  assert.equal((await curl('-u', 'ann:secret', `${rig.url}/`)).status, 200);
});

test('both bundles together are a mesh: enrolment, configuration, policy and calls', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp({ name: 'web' });
  await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: [{ name: 'http', port: 80, targetPort: 8080 }],
  });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  const seen = echoed(await call(client.via('web.shop:80'), '/hello'));
  assert.match(String(seen.headers['x-forwarded-client-cert']), /sa\/client/);
  assert.match(JSON.stringify(await client.askJson('/config_dump')), /web\.shop\.svc/);
});

test('a bundle runs in the root that its image has: Node, its libraries, and nothing else', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('it needs root, for chroot');
  const rootfs = join(folder, 'rootfs');
  await run('sh', [join(root, 'deploy/images/rootfs.sh'), process.execPath, rootfs]);
  await cp(join(out, 'sidecar'), join(rootfs, 'opt/weft'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  const cache = join(rootfs, 'var/cache/weft/compile');
  await mkdir(cache, { recursive: true });
  await chown(cache, 1337, 1337);
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const start = (...debug: readonly string[]) =>
    run('chroot', ['--userspec=1337:1337', rootfs, '/opt/weft/bin/weft', 'sidecar', '--help'], {
      env: {
        ...env,
        NODE_COMPILE_CACHE: '/var/cache/weft/compile',
        ...(debug.length > 0 && { NODE_DEBUG_NATIVE: debug.join() }),
      },
    });
  const first = await start();
  assert.match(first.stdout, /--service-account-token-file/);
  assert.equal(first.stderr, '');
  const second = await start('COMPILE_CACHE');
  const said = `${second.stdout}${second.stderr}`;
  assert.match(
    said,
    /chunks\/sidecar-\w+\.mjs.* was accepted/,
    'compiled code is kept for its user',
  );
});
