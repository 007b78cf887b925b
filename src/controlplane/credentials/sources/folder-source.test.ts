// Credentials from a folder: whole, soon, and from nowhere else on the disk.
import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execFileSync } from 'node:child_process';
import { openFolderSource } from './folder-source.ts';
import { readingsOf } from '../testing/readings.ts';

interface Folder extends Disposable {
  readonly path: string;
  write(place: string, values: Readonly<Record<string, string>>): void;
}

function createFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'weft-credentials-'));
  return {
    path,
    write(place, values) {
      mkdirSync(join(path, place), { recursive: true });
      for (const [key, value] of Object.entries(values)) {
        writeFileSync(join(path, place, `.${key}`), value);
        renameSync(join(path, place, `.${key}`), join(path, place, key));
      }
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  };
}

const open = (path: string) => openFolderSource({ directory: path, pollMs: 10 });

test('follow() tells the values of a folder, and each change of them under another version', async () => {
  using folder = createFolder();
  folder.write('shop/db', { username: 'web', password: 'one' });
  await using source = await open(folder.path);
  using readings = readingsOf(source, 'shop/db');
  const first = await readings.next();
  assert.deepEqual(first.texts, { password: 'one', username: 'web' });
  folder.write('shop/db', { password: 'two' });
  const second = await readings.next();
  assert.deepEqual(second.texts, { password: 'two', username: 'web' });
  assert.notEqual(first.version, second.version);
});

test('follow() has the same version after a restart, and no version says anything of the values', async () => {
  using folder = createFolder();
  folder.write('db', { password: 'one' });
  const versions: (string | undefined)[] = [];
  for (let at = 0; at < 2; at++) {
    await using source = await open(folder.path);
    using readings = readingsOf(source, 'db');
    versions.push((await readings.next()).version);
  }
  assert.equal(versions[0], versions[1]);
  using other = createFolder();
  other.write('db', { password: 'one' });
  await using source = await open(other.path);
  using readings = readingsOf(source, 'db');
  assert.notEqual((await readings.next()).version, versions[0]);
});

test("follow() reads a volume of kubelet's whole, and each swap of it", async () => {
  using folder = createFolder();
  const place = join(folder.path, 'db');
  const fill = (name: string, password: string): void => {
    mkdirSync(join(place, name), { recursive: true });
    writeFileSync(join(place, name, 'password'), password);
    symlinkSync(name, join(place, '..tmp'));
    renameSync(join(place, '..tmp'), join(place, '..data'));
  };
  fill('..one', 'one');
  symlinkSync('..data/password', join(place, 'password'));
  await using source = await open(folder.path);
  using readings = readingsOf(source, 'db');
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
  fill('..two', 'two');
  rmSync(join(place, '..one'), { recursive: true });
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
});

test('follow() says when a place goes, and when it comes back', async () => {
  using folder = createFolder();
  folder.write('db', { password: 'one' });
  await using source = await open(folder.path);
  using readings = readingsOf(source, 'db');
  await readings.next();
  rmSync(join(folder.path, 'db'), { recursive: true });
  assert.equal((await readings.next()).kind, 'gone');
  folder.write('db', { password: 'two' });
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
});

test('follow() takes nothing away while the whole folder is not there', async () => {
  using folder = createFolder();
  folder.write('db', { password: 'one' });
  await using source = await open(folder.path);
  using readings = readingsOf(source, 'db');
  await readings.next();
  renameSync(folder.path, `${folder.path}-away`);
  assert.equal((await readings.next()).kind, 'unavailable');
  renameSync(`${folder.path}-away`, folder.path);
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
});

const BAD: readonly (readonly [string, (folder: string) => void])[] = [
  ['is not there', () => undefined],
  [
    'leads out of it by a link',
    (folder) => {
      symlinkSync('/etc', join(folder, 'db'));
    },
  ],
  [
    'has a file that leads out of it',
    (folder) => {
      mkdirSync(join(folder, 'db'));
      symlinkSync('/etc/passwd', join(folder, 'db', 'password'));
    },
  ],
  [
    'has a pipe in it',
    (folder) => {
      mkdirSync(join(folder, 'db'));
      execFileSync('mkfifo', [join(folder, 'db', 'password')]);
    },
  ],
  [
    'has more than can be handed over',
    (folder) => {
      mkdirSync(join(folder, 'db'));
      writeFileSync(join(folder, 'db', 'password'), Buffer.alloc(300_000));
    },
  ],
  [
    'has too many files',
    (folder) => {
      mkdirSync(join(folder, 'db'));
      for (let at = 0; at < 65; at++) writeFileSync(join(folder, 'db', `k${at}`), 'x');
    },
  ],
];

for (const [what, prepare] of BAD) {
  test(`follow() hands nothing over of a place that ${what}`, async () => {
    using folder = createFolder();
    prepare(folder.path);
    await using source = await open(folder.path);
    using readings = readingsOf(source, 'db');
    assert.equal((await readings.next()).kind, 'gone');
  });
}

for (const place of ['../db', '/etc', 'a/../../b', '.', '']) {
  test(`follow() looks nowhere else for ${JSON.stringify(place)}`, async () => {
    using folder = createFolder();
    folder.write('db', { password: 'one' });
    await using source = await open(join(folder.path, 'db'));
    using readings = readingsOf(source, place);
    assert.equal((await readings.next()).kind, 'gone');
  });
}

test('openFolderSource() says which folder cannot be read', async () => {
  using folder = createFolder();
  await assert.rejects(open(join(folder.path, 'none')), /Cannot read credentials from .*none/);
  writeFileSync(join(folder.path, 'file'), '');
  chmodSync(join(folder.path, 'file'), 0o600);
  await assert.rejects(open(join(folder.path, 'file')), /name a folder/);
});
