import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseTrustDomain } from '@weft/model/identity';
import { openAuthority } from '../authority.ts';
import { openJoinTokens } from '../join-tokens.ts';
import { brokenDisk } from '../testing/broken-disk.ts';
import { type DiskCalls, diskCalls } from './atomic-file.ts';
import { openFileStore } from './file.ts';

const trustDomain = parseTrustDomain('mesh.test')!;

async function temporary(t: TestContext): Promise<string> {
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-store-'));
  t.after(() => rm(stateDir, { recursive: true }));
  return stateDir;
}

/** Opens the CA of the directory, and closes it again. */
async function versionIn(stateDir: string): Promise<string> {
  await using store = await openFileStore({ stateDir });
  await using authority = await openAuthority({ store, trustDomain });
  return authority.bundle().version;
}

test('the same root comes back after a restart, and files are for their owner alone', async (t) => {
  const stateDir = await temporary(t);
  const version = await versionIn(stateDir);
  assert.equal(await versionIn(stateDir), version);
  const modeOf = async (...path: string[]) => (await stat(join(stateDir, ...path))).mode & 0o777;
  assert.equal(await modeOf('ca'), 0o700);
  assert.equal(await modeOf('ca', 'state.json'), 0o600);
  assert.equal(await modeOf('bundle.pem'), 0o644);
  assert.deepEqual(await readdir(join(stateDir, 'ca')), ['state.json'], 'nothing is left behind');
});

test('a rotation resumes in its phase after a restart', async (t) => {
  const stateDir = await temporary(t);
  let version: string;
  {
    await using store = await openFileStore({ stateDir });
    await using authority = await openAuthority({ store, trustDomain });
    await authority.startRotation();
    await authority.advance(() => []);
    version = authority.issuerKeyId;
  }
  await using store = await openFileStore({ stateDir });
  await using authority = await openAuthority({ store, trustDomain });
  assert.equal(authority.status().rotation.phase, 'sign');
  assert.equal(authority.issuerKeyId, version);
  assert.equal(authority.bundle().rootsDer.length, 2);
  assert.equal(await readFile(join(stateDir, 'bundle.pem'), 'utf8'), authority.bundle().pem);
  const held = await authority.advance(() => []);
  assert.ok(held.ok && held.phase === 'sign', 'certificates of before the restart may be in use');
});

test('a CA that is killed in a rotation keeps root, phase and tokens', async (t) => {
  const stateDir = await temporary(t);
  const program = fileURLToPath(new URL('../testing/doomed-ca.ts', import.meta.url));
  const child = spawn(process.execPath, [program, stateDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  const told: { version: string; token: string } = JSON.parse(String(line));
  await assert.rejects(openFileStore({ stateDir }), /has taken it/);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await using store = await openFileStore({ stateDir });
  await using authority = await openAuthority({ store, trustDomain });
  assert.equal(authority.bundle().version, told.version);
  assert.equal(authority.status().rotation.phase, 'distribute');
  const tokens = await openJoinTokens({ stateDir });
  assert.ok((await tokens.consume(told.token)).ok);
});

test('a damaged, cut or foreign state is refused with its name and a cure, and never replaced', async (t) => {
  const stateDir = await temporary(t);
  await versionIn(stateDir);
  const path = join(stateDir, 'ca', 'state.json');
  const good = await readFile(path, 'utf8');
  const at = good.indexOf('longestLeafMs') + 20;
  for (const bad of [
    '',
    '{}',
    'null',
    good.slice(0, good.length / 2),
    `${good.slice(0, at)}${good[at] === '1' ? '2' : '1'}${good.slice(at + 1)}`,
    good.replace('"version":1', '"version":2'),
    good.replace('weft-ca', 'weft-cb'),
  ]) {
    await writeFile(path, bad);
    await assert.rejects(versionIn(stateDir), (error: Error) => {
      assert.ok(error.message.startsWith(`Cannot read ${path}: `), error.message);
      assert.match(error.message, /restore it from a backup/);
      return true;
    });
    assert.equal(await readFile(path, 'utf8'), bad);
  }
  await rm(path);
  await assert.rejects(versionIn(stateDir), /bundle\.pem is there, and .*state\.json is not/);
});

test('a state that others may read is refused', async (t) => {
  const stateDir = await temporary(t);
  await versionIn(stateDir);
  const path = join(stateDir, 'ca', 'state.json');
  await chmod(path, 0o640);
  await assert.rejects(versionIn(stateDir), /mode is 640.*chmod 600/);
  await chmod(path, 0o600);
  await chmod(join(stateDir, 'ca'), 0o750);
  await assert.rejects(versionIn(stateDir), /mode is 750.*chmod 700/);
});

test('the CA of another trust domain is refused', async (t) => {
  const stateDir = await temporary(t);
  await versionIn(stateDir);
  await using store = await openFileStore({ stateDir });
  const other = parseTrustDomain('other.test')!;
  await assert.rejects(openAuthority({ store, trustDomain: other }), /holds that of mesh\.test/);
});

test('on a full disk a new CA is refused, and an old one goes on with what it had', async (t) => {
  const stateDir = await temporary(t);
  for (const call of ['writeFile', 'sync', 'rename'] as const) {
    {
      // The lock has to be taken before the disk is full.
      let disk: DiskCalls = diskCalls;
      const switched: DiskCalls = {
        ...diskCalls,
        open: (...args) => disk.open(...args),
        rename: (...args) => disk.rename(...args),
      };
      await using store = await openFileStore({ stateDir, disk: switched });
      await using authority = await openAuthority({ store, trustDomain });
      const before = authority.bundle();
      disk = brokenDisk(call, 'ENOSPC');
      const outcome = await authority.startRotation();
      assert.ok(!outcome.ok && outcome.reasonCode === 'store-failed');
      assert.match(outcome.reason, /Cannot write .*state\.json: ENOSPC/);
      assert.equal(authority.bundle(), before);
      assert.equal(authority.status().rotation.phase, 'stable');
      disk = diskCalls;
    }
    assert.deepEqual(await readdir(join(stateDir, 'ca')), ['state.json']);
  }
  const version = await versionIn(stateDir);
  assert.equal(await versionIn(stateDir), version);
  const empty = await temporary(t);
  const disk = brokenDisk('writeFile', 'ENOSPC');
  await assert.rejects(openFileStore({ stateDir: empty, disk }), { code: 'ENOSPC' });
});

test('a directory is one process’s at a time, and a dead one’s lock does not stay', async (t) => {
  const stateDir = await temporary(t);
  const lockPath = join(stateDir, 'ca', 'lock');
  {
    await using _ = await openFileStore({ stateDir });
    await assert.rejects(openFileStore({ stateDir }), /holds it already/);
    const mine: { host: string; pid: number; started: string } = JSON.parse(
      await readFile(lockPath, 'utf8'),
    );
    assert.equal(mine.pid, process.pid);
  }
  const { hostname } = await import('node:os');
  const write = (owner: object) => writeFile(lockPath, JSON.stringify(owner));
  const host = hostname();
  await write({ host, pid: process.ppid, started: await startTicks(process.ppid) });
  await assert.rejects(
    openFileStore({ stateDir }),
    /has taken it; if no such process runs, remove/,
  );
  await write({ host: 'elsewhere.test', pid: 1, started: '1' });
  await assert.rejects(openFileStore({ stateDir }), /on elsewhere\.test has taken it/);
  await truncate(lockPath, 0);
  await assert.rejects(openFileStore({ stateDir }), /it is damaged/);
  for (const stale of [
    { host, pid: 4_194_303, started: '1' },
    { host, pid: process.ppid, started: '1' },
    { host, pid: process.pid, started: '1' },
  ]) {
    await write(stale);
    await using _ = await openFileStore({ stateDir });
  }
});

async function startTicks(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1');
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
