// Files of credentials: in memory alone, all of one state, readable by whom they are for, and gone when they are withdrawn.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../../test/support/lab-wait.ts';
import { FileDelivery } from './file-delivery.ts';
import type { FilesDelivery } from './options.ts';
import { createCredentialsRig, credentialOf, grant } from './testing/rig.ts';

const MEMORY = '/dev/shm';
const isMemory = fileSystemOf(MEMORY) === 'tmpfs';
const skip = isMemory ? false : `${MEMORY} is no tmpfs here`;

function fileSystemOf(path: string): string {
  return spawnSync('stat', ['-f', '-c', '%T', path], { encoding: 'utf8' }).stdout.trim();
}

async function createRig(files: Partial<FilesDelivery> = {}) {
  await using making = new AsyncDisposableStack();
  const root = await mkdtemp(join(MEMORY, 'weft-files-'));
  making.defer(() => rm(root, { recursive: true }));
  const directory = join(root, 'credentials');
  await mkdir(directory);
  const rig = createCredentialsRig();
  const options = {
    directory,
    mode: 0o440,
    owner: undefined,
    onChange: undefined,
    isForced: false,
  };
  const open = (): Promise<FileDelivery> =>
    FileDelivery.open({ ...rig, files: { ...options, ...files } });
  const read = (path: string): string => readFileSync(join(directory, path), 'utf8');
  const has = (path: string): boolean => existsSync(join(directory, path));
  const owned = making.move();
  return {
    ...rig,
    root,
    directory,
    open,
    read,
    has,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('NAME/KEY holds the value; owner and group may read it, nobody else', { skip }, async () => {
  await using rig = await createRig();
  await using _delivery = await rig.open();
  grant(rig.store, credentialOf(), credentialOf({ name: 'api', ways: ['injected', 'url'] }));
  await eventually(() => rig.has('db/password'), { what: 'the file' });
  assert.equal(rig.read('db/password'), 's3cret');
  const { mode } = await lstat(join(rig.directory, '..data', 'db', 'password'));
  assert.equal(mode & 0o777, 0o440);
  const folder = await lstat(join(rig.directory, '..data', 'db'));
  assert.equal(folder.mode & 0o777, 0o750);
  assert.equal(rig.has('api'), false, 'what may not be a file is none');
  await eventually(() => rig.logged().includes('credential handed over'), {
    what: 'the line of the audit',
  });
  assert.match(rig.logged(), /"credential":"db","version":"1","way":"files"/);
  assert.doesNotMatch(rig.logged(), /s3cret/);
});

test('a reader sees all of one version or all of the next, never a mixture', { skip }, async () => {
  await using rig = await createRig();
  await using _delivery = await rig.open();
  const at = (version: number) =>
    credentialOf({
      version: `${version}`,
      values: { user: `u${version}`, password: `p${version}` },
    });
  grant(rig.store, at(0));
  await eventually(() => rig.has('db/user'), { what: 'the first version' });
  const script = `
    const { readFileSync, realpathSync } = require('node:fs');
    let seen = 0, last = '';
    for (;;) {
      try {
        const folder = realpathSync(process.argv[1] + '/db');
        const user = readFileSync(folder + '/user', 'utf8'), password = readFileSync(folder + '/password', 'utf8');
        if (user.slice(1) !== password.slice(1)) { console.log('mixed ' + user + password); process.exit(1); }
        if (user !== last) { seen++; last = user; }
        if (user === 'u20') { console.log('saw ' + seen); process.exit(0); }
      } catch (error) { if (error.code !== 'ENOENT') throw error; }
    }`;
  const reader = spawn(process.execPath, ['-e', script, rig.directory]);
  let said = '';
  reader.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  reader.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(reader, 'exit');
  for (let version = 1; version <= 20; version++) {
    grant(rig.store, at(version));
    await eventually(() => rig.read('db/user') === `u${version}`, { what: `version ${version}` });
  }
  assert.deepEqual(await ended, [0, null], said);
  const states = async () =>
    (await readdir(rig.directory)).filter((name) => name.startsWith('..gen-')).length;
  await eventually(async () => (await states()) === 1, { what: 'the end of earlier states' });
});

test('what is withdrawn is taken away, and everything at the end', { skip }, async () => {
  await using rig = await createRig();
  await writeFile(join(rig.directory, 'own-file'), 'mine');
  {
    await using _delivery = await rig.open();
    grant(rig.store, credentialOf(), credentialOf({ name: 'api' }));
    await eventually(() => rig.has('api/password'), { what: 'both' });
    grant(rig.store, credentialOf());
    await eventually(() => !rig.has('api'), { what: 'one gone' });
    assert.equal(rig.read('db/password'), 's3cret');
    await eventually(() => rig.logged().includes('"msg":"credential taken away"'), {
      what: 'the line that says so',
    });
    assert.match(rig.logged(), /"credential":"api","way":"files","msg":"credential taken away"/);
    rig.store.clear();
    await eventually(() => !rig.has('db'), { what: 'none left when the identity is no more' });
    grant(rig.store, credentialOf());
    await eventually(() => rig.has('db/password'), { what: 'back again' });
  }
  assert.deepEqual(await readdir(rig.directory), ['own-file']);
});

test('files of an earlier process stay until all is known, and then are replaced', {
  skip,
}, async () => {
  await using rig = await createRig();
  const old = join(rig.directory, '..gen-old');
  await mkdir(join(old, 'db'), { recursive: true });
  await writeFile(join(old, 'db', 'password'), 'old');
  await symlink('..gen-old', join(rig.directory, '..data'));
  await symlink('..data/db', join(rig.directory, 'db'));
  await using _delivery = await rig.open();
  rig.store.apply({ credentials: [credentialOf({ name: 'api' })], removed: [] });
  assert.equal(rig.read('db/password'), 'old');
  grant(rig.store, credentialOf());
  await eventually(() => rig.read('db/password') === 's3cret', { what: 'the new value' });
  await eventually(() => !existsSync(old), { what: 'the end of the old files' });
});

const onDisk = fileSystemOf(tmpdir()) !== 'tmpfs';
test('a folder that is not in memory is refused with the cure, unless it is forced', {
  skip: onDisk ? false : `${tmpdir()} is in memory here`,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weft-disk-'));
  try {
    const rig = createCredentialsRig();
    const files = { directory, mode: 0o400, owner: undefined, onChange: undefined };
    await assert.rejects(
      FileDelivery.open({ ...rig, files: { ...files, isForced: false } }),
      /not in memory \(tmpfs\), and would keep them; mount an emptyDir of medium Memory/,
    );
    assert.deepEqual(await readdir(directory), []);
    await using forced = await FileDelivery.open({ ...rig, files: { ...files, isForced: true } });
    assert.ok(forced);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a link in place of the folder is not followed', { skip }, async () => {
  await using rig = await createRig();
  const elsewhere = join(rig.root, 'elsewhere');
  await mkdir(elsewhere);
  await rm(rig.directory, { recursive: true });
  await symlink(elsewhere, rig.directory);
  await using _delivery = await rig.open();
  grant(rig.store, credentialOf());
  await eventually(() => rig.logged().includes('it is no folder'), { what: 'the refusal' });
  assert.deepEqual(await readdir(elsewhere), []);
  assert.match(rig.exposed(), /delivery_failures_total\{what="files"\} [1-9]/);
});

test('a command is run after a change, without values in its environment or arguments', {
  skip,
}, async () => {
  await using rig = await createRig();
  const out = join(rig.root, 'out');
  const argv = ['/bin/sh', '-c', 'env > "$0.new"; mv "$0.new" "$0"', out];
  const files = { directory: rig.directory, mode: 0o400, owner: undefined, isForced: false };
  process.env['WEFT_TEST_OF_SIDECAR'] = 'its own';
  await using _delivery = await FileDelivery.open({
    ...rig,
    files: { ...files, onChange: { kind: 'command', argv } },
  });
  grant(rig.store, credentialOf());
  await eventually(() => rig.has('db/password'), { what: 'the first version' });
  assert.equal(existsSync(out), false, 'nothing had changed yet');
  grant(rig.store, credentialOf({ version: '2', values: { password: 's3cret-2' } }));
  await eventually(() => existsSync(out), { what: 'the command' });
  const environment = await readFile(out, 'utf8');
  assert.doesNotMatch(environment, /s3cret|its own/);
  delete process.env['WEFT_TEST_OF_SIDECAR'];
});

test('a command that hangs keeps no value from coming or going', { skip }, async () => {
  await using rig = await createRig();
  const files = { directory: rig.directory, mode: 0o400, owner: undefined, isForced: false };
  const pidFile = join(rig.root, 'pid');
  const argv = ['/bin/sh', '-c', 'echo $$ > "$0"; exec sleep 60', pidFile];
  await using _delivery = await FileDelivery.open({
    ...rig,
    files: { ...files, onChange: { kind: 'command', argv } },
  });
  grant(rig.store, credentialOf());
  await eventually(() => rig.has('db/password'), { what: 'the first version' });
  grant(rig.store, credentialOf({ version: '2', values: { password: 'second' } }));
  await eventually(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'), {
    what: 'the command',
  });
  grant(rig.store, credentialOf({ version: '3', values: { password: 'third' } }));
  await eventually(() => rig.read('db/password') === 'third', { what: 'the next version' });
  grant(rig.store);
  await eventually(() => !rig.has('db'), { what: 'the withdrawal' });
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
});

test("what is in a credential's place is left there, said, and no reason to leave values behind", {
  skip,
}, async () => {
  await using rig = await createRig();
  await mkdir(join(rig.directory, 'db'));
  {
    await using _delivery = await rig.open();
    grant(rig.store, credentialOf(), credentialOf({ name: 'other' }));
    await eventually(() => rig.logged().includes('cannot write the files'), { what: 'the error' });
    assert.match(rig.logged(), /Cannot put db into .*: something else is there/);
    assert.equal(rig.read('other/password'), 's3cret', 'the others are there');
    const states = (await readdir(rig.directory)).filter((name) => name.startsWith('..gen-'));
    assert.ok(states.length <= 2, 'tries leave nothing behind');
  }
  assert.deepEqual(await readdir(rig.directory), ['db']);
  assert.doesNotMatch(rig.logged(), /s3cret/);
});

test('the process of a pid file gets its signal', { skip }, async () => {
  await using rig = await createRig();
  const pidFile = join(rig.root, 'app.pid');
  const script = `process.on('SIGHUP', () => { console.log('got it'); process.exit(0); });
    setInterval(() => undefined, 1000); console.log('waits')`;
  const app = spawn(process.execPath, ['-e', script]);
  let said = '';
  app.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(app.stdout, 'data');
  await writeFile(pidFile, `${app.pid}\n`);
  const files = { directory: rig.directory, mode: 0o400, owner: undefined, isForced: false };
  const onChange = { kind: 'signal', signal: 'SIGHUP', pidFile } as const;
  await using _delivery = await FileDelivery.open({ ...rig, files: { ...files, onChange } });
  grant(rig.store, credentialOf());
  await eventually(() => rig.has('db/password'), { what: 'the first version' });
  const ended = once(app, 'exit');
  grant(rig.store, credentialOf({ version: '2' }));
  await ended;
  assert.match(said, /got it/);
});

for (const [what, text] of [
  ['every process', '-1'],
  ['a group of processes', '0'],
  ['a group of others', '-4321'],
  ['the sidecar', `${process.pid}`],
  ['nobody', 'abc'],
  ['two', '12 13'],
] as const) {
  test(`a pid file that names ${what} signals nobody`, { skip }, async () => {
    await using rig = await createRig();
    const pidFile = join(rig.root, 'app.pid');
    await writeFile(pidFile, text);
    const files = { directory: rig.directory, mode: 0o400, owner: undefined, isForced: false };
    const onChange = { kind: 'signal', signal: 'SIGUSR2', pidFile } as const;
    await using _delivery = await FileDelivery.open({ ...rig, files: { ...files, onChange } });
    grant(rig.store, credentialOf());
    await eventually(() => rig.has('db/password'), { what: 'the first version' });
    grant(rig.store, credentialOf({ version: '2' }));
    await eventually(() => rig.logged().includes('cannot tell the application'), {
      what: 'the warning',
    });
    assert.match(rig.exposed(), /delivery_failures_total\{what="signal"\} 1/);
  });
}

test('another user reads nothing, the owner that was asked for does', {
  skip: process.getuid?.() === 0 ? skip : 'only root can be another user',
}, async () => {
  await using rig = await createRig({ owner: { uid: 65_533, gid: 65_533 }, mode: 0o400 });
  await chmod(rig.root, 0o755);
  await using _delivery = await rig.open();
  grant(rig.store, credentialOf());
  await eventually(() => rig.has('db/password'), { what: 'the file' });
  const readAs = (uid: number) =>
    spawnSync('cat', [join(rig.directory, 'db/password')], { uid, gid: uid, encoding: 'utf8' });
  assert.equal(readAs(65_533).stdout, 's3cret');
  const { status, stdout } = readAs(65_534);
  assert.notEqual(status, 0);
  assert.equal(stdout, '');
});
