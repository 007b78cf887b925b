// Credentials without a mesh: a sidecar of its own file hands on what a folder holds, follows both, and refuses what it cannot carry out.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import { Daemon } from '../support/lab-daemon.ts';
import { eventually } from '../support/lab-wait.ts';
import { startStaticRig } from '../support/static-sidecar-rig.ts';
import { curl as outside, missingTools, OutsideCa, textOf } from '../support/tls-clients.ts';

const MEMORY = '/dev/shm';
const skip = existsSync(MEMORY) ? false : `${MEMORY} is not there: no folder is in memory`;

async function createRig() {
  await using making = new AsyncDisposableStack();
  const root = await mkdtemp(join(MEMORY, 'weft-static-'));
  making.defer(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, 'source');
  const files = join(root, 'files');
  await mkdir(join(folder, 'db'), { recursive: true });
  await mkdir(files);
  const put = async (path: string, text: string): Promise<void> => {
    await writeFile(join(root, 'new'), text);
    await rename(join(root, 'new'), path);
  };
  await put(join(folder, 'db', 'password'), 's3cret-1');
  const config = join(root, 'sidecar.yaml');
  const socket = join(root, 'credentials.sock');
  const write = (grants: string, more = ''): Promise<void> =>
    put(
      config,
      `apiVersion: sidecar.weft.dev/v1
kind: Sidecar
listen: 127.0.0.1:0
application: 127.0.0.1:1
admin: 127.0.0.1:0
credentials:
  sources:
    - { name: local, folder: { path: ${folder} } }
  grants: ${grants}
  url: { socket: ${socket} }
  files: { directory: ${files}, mode: '0400' }
${more}`,
    );
  const owned = making.move();
  const run = (...args: readonly string[]): Daemon =>
    owned.use(new Daemon('sidecar', ['sidecar', '--config', config, ...args]));
  return {
    root,
    folder,
    files,
    socket,
    config,
    put,
    write,
    run,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const GRANTS = '[{ name: db, source: { from: local, path: db }, ways: [url, files] }]';

/** What curl, which knows nothing of Weft, gets: status and body. */
async function curl(socket: string, path: string): Promise<string> {
  const args = ['-s', '--max-time', '10', '--unix-socket', socket, '-w', ' %{http_code}'];
  const { stdout } = await promisify(execFile)('curl', [...args, `http://localhost${path}`]);
  return stdout;
}

test('curl gets the credential at the socket, a file holds it, and both follow the folder', {
  skip,
}, async () => {
  await using rig = await createRig();
  await rig.write(GRANTS);
  const daemon = rig.run();
  const ready = await daemon.ready();
  assert.equal(ready['credentials'], `unix:${rig.socket}`);
  const raw = '/v1/credentials/db/raw/password';
  assert.equal(await curl(rig.socket, raw), 's3cret-1 200');
  const file = join(rig.files, 'db', 'password');
  await eventually(() => readFileSync(file, 'utf8') === 's3cret-1', { what: 'the file' });
  const before = performance.now();
  await rig.put(join(rig.folder, 'db', 'password'), 's3cret-2');
  await eventually(async () => (await curl(rig.socket, raw)) === 's3cret-2 200', {
    what: 'the new value',
  });
  await eventually(() => readFileSync(file, 'utf8') === 's3cret-2', { what: 'the new file' });
  assert.ok(performance.now() - before < 5_000);
  await rig.write('[]');
  await eventually(async () => (await curl(rig.socket, raw)).endsWith(' 404'), {
    what: 'the withdrawal',
  });
  await eventually(() => !existsSync(join(rig.files, 'db')), { what: 'the end of the files' });
  await rig.write(GRANTS);
  await eventually(async () => (await curl(rig.socket, raw)) === 's3cret-2 200', {
    what: 'the grant again',
  });
  await rm(join(rig.folder, 'db'), { recursive: true });
  await eventually(async () => (await curl(rig.socket, raw)).endsWith(' 404'), {
    what: 'the end of the source',
  });
  assert.equal((await daemon.stop()).code, 0);
  assert.equal(existsSync(rig.socket), false);
  assert.doesNotMatch(daemon.stdout + daemon.stderr, /s3cret/);
});

test('weft exec runs an application on it', { skip }, async () => {
  await using rig = await createRig();
  await rig.write(GRANTS);
  const sidecar = rig.run();
  await sidecar.ready();
  const app = ['--', process.execPath, '-e', 'console.log(process.env.PASSWORD.length)'];
  await using exec = new Daemon('exec', [
    'exec',
    '--from',
    `unix:${rig.socket}`,
    '--env',
    'PASSWORD=db/password',
    ...app,
  ]);
  assert.equal((await exec.exit()).code, 0);
  assert.equal(exec.stdout, '8');
});

test('where it is asked cannot change while it runs: the last good one stays', {
  skip,
}, async () => {
  await using rig = await createRig();
  await rig.write(GRANTS);
  const daemon = rig.run();
  await daemon.ready();
  const text = readFileSync(rig.config, 'utf8');
  await rig.put(rig.config, text.replace('credentials.sock', 'another.sock'));
  await daemon.line(({ msg }) => String(msg).startsWith('refused the file'), 'the refusal');
  assert.match(daemon.stderr, /credentials: cannot change while the sidecar runs/);
  assert.equal(await curl(rig.socket, '/v1/credentials/db/raw/password'), 's3cret-1 200');
});

test('the key of an API outside: curl calls a local port in plain text without it, the host outside is told it', {
  skip: missingTools() ?? skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  const folder = await mkdtemp(join(MEMORY, 'weft-key-'));
  owned.defer(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'pay'));
  const put = async (key: string): Promise<void> => {
    await writeFile(join(folder, 'new'), `${key}\n`);
    await rename(join(folder, 'new'), join(folder, 'pay', 'key'));
  };
  await put('s3cret-1');
  const ca = owned.use(new OutsideCa());
  const leaf = ca.issue({ altNames: 'DNS:api.pay.example' });
  const server = https.createServer(
    { cert: textOf(leaf.certificate), key: textOf(leaf.key) },
    ({ headers }, response) => response.end(String(headers['x-api-key'])),
  );
  owned.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const local = await freeEndpoint();
  const listen = `127.0.0.1:${local.port}`;
  const host = 'api.pay.example';
  const tls = { ca: { file: ca.certificate } };
  const inject = [{ hosts: [host], header: { name: 'X-Api-Key', key: 'key' } }];
  const source = { from: 'local', path: 'pay' };
  const rig = owned.use(
    await startStaticRig({
      outbound: [{ listen, host, port, addresses: ['127.0.0.1'], tls }],
      credentials: {
        sources: [{ name: 'local', folder: { path: folder } }],
        grants: [{ name: 'pay', source, ways: ['inject'], inject }],
      },
    }),
  );
  const told = async (): Promise<string> =>
    (await outside([`http://${listen}/`, '-H', 'X-Api-Key: own'])).body;
  await eventually(async () => (await told()) === 's3cret-1', { what: 'the key' });
  await put('s3cret-2');
  await eventually(async () => (await told()) === 's3cret-2', { what: 'the new key' });
  assert.doesNotMatch((await rig.configDump()) + rig.log.join(''), /s3cret/);
});

const REFUSED: readonly (readonly [string, (text: string) => string, RegExp])[] = [
  [
    'a grant of a source that is not there',
    (text) => text.replace('from: local', 'from: other'),
    /sidecar\.yaml:\d+.*credentials\.grants\[0\]\.source: is no source — write from: one of local/,
  ],
  [
    'a Secret, for there is no cluster',
    (text) => text.replace('{ from: local, path: db }', '{ secret: { name: db } }'),
    /credentials\.grants\[0\]\.source: there is no cluster with Secrets/,
  ],
  [
    'a path that leads elsewhere',
    (text) => text.replace('path: db', 'path: ../../etc'),
    /credentials\.grants\[0\]\.source\.path: .* is no place in a source/,
  ],
  [
    'no way',
    (text) => text.replace('[url, files]', '[]'),
    /credentials\.grants\[0\]\.ways: without a way it reaches nobody/,
  ],
  [
    'a mode that everybody can read',
    (text) => text.replace("'0400'", "'0644'"),
    /credentials\.files\.mode: .* is no mode for secrets/,
  ],
  [
    'a port without a token',
    (text) => text.replace(/url: .*/, "url: { listen: '127.0.0.1:0' }"),
    /needs --credentials-token-file/,
  ],
  [
    'a port that is not loopback',
    (text) => text.replace(/url: .*/, "url: { listen: '0.0.0.0:0', tokenFile: /dev/shm/x }"),
    /0\.0\.0\.0 is not loopback/,
  ],
  [
    'a caller that is nobody',
    (text) => text.replace(/url: \{/, 'url: { allow: [everybody],'),
    /credentials\.url\.allow\[0\]: .* names nobody; write uid=1000/,
  ],
  [
    'two equal names',
    (text) => text.replace(GRANTS, `[${GRANTS.slice(1, -1)}, ${GRANTS.slice(1, -1)}]`),
    /credentials\.grants\[1\]\.name: "db" is there twice/,
  ],
  [
    'a field that is none',
    (text) => text.replace('  grants:', '  grant: []\n  grants:'),
    /credentials\.grant: unknown field/,
  ],
];
for (const [what, change, said] of REFUSED) {
  test(`weft sidecar --check refuses ${what}, with line, field and cure`, { skip }, async () => {
    await using rig = await createRig();
    await rig.write(GRANTS);
    await rig.put(rig.config, change(readFileSync(rig.config, 'utf8')));
    const daemon = rig.run('--check');
    assert.equal((await daemon.exit()).code, 1, daemon.stdout);
    assert.match(daemon.stderr, said);
  });
}

test('a folder of files that is not in memory ends the start, with the cure', {
  skip,
}, async () => {
  await using rig = await createRig();
  await rig.write(GRANTS);
  await rig.put(rig.config, readFileSync(rig.config, 'utf8').replace(rig.files, '/proc'));
  const daemon = rig.run();
  assert.equal((await daemon.exit()).code, 1);
  assert.match(daemon.stderr, /not in memory \(tmpfs\)/);
});
