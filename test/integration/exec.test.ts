// `weft exec`: the application has its credentials in its environment, gets new ones as they come, loses them with their grant, and nobody else sees them.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCredentialsRig, credentialOf, grant } from '@weft/dataplane/credentials/testing/rig';
import { UrlServer } from '@weft/dataplane/credentials/url-server';
import { Daemon } from '../support/lab-daemon.ts';
import { eventually } from '../support/lab-wait.ts';

const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Says its environment's `SEEN` by length and end alone, and every signal. */
const APP = `
const say = () => console.log('has ' + process.env.SEEN.length + ' ..' + process.env.SEEN.slice(-2) + ' pid ' + process.pid);
for (const signal of ['SIGHUP', 'SIGUSR1']) process.on(signal, () => console.log('got ' + signal));
process.on('SIGTERM', () => { console.log('ends'); process.exit(5); });
setInterval(() => undefined, 1000);
say();
`;

async function createRig() {
  const owned = new AsyncDisposableStack();
  const folder = await mkdtemp(join(MEMORY, 'weft-exec-'));
  owned.defer(() => rm(folder, { recursive: true }));
  const rig = createCredentialsRig();
  const path = join(folder, 'credentials.sock');
  const allowed = { uids: [process.getuid?.() ?? 0], gids: [], pids: [] };
  const listen = { kind: 'unix', path, mode: 0o600 } as const;
  const open = (): Promise<UrlServer> =>
    UrlServer.open({ ...rig, url: { listen, allowed, tokenFile: undefined, isForced: true } });
  const exec = (...args: readonly string[]): Daemon => {
    const own = ['exec', '--from', `unix:${path}`, '--env', 'SEEN=db/password'];
    const daemon = owned.use(new Daemon('weft exec', [...own, ...args]));
    /** Not killed: its application would stay behind. */
    owned.defer(async () => void (await daemon.stop()));
    return daemon;
  };
  return { ...rig, open, exec, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const node = (script: string): readonly string[] => ['--', process.execPath, '-e', script];

const says = (daemon: Daemon, text: string): Promise<string> =>
  eventually(() => daemon.stdout.split('\n').find((line) => line.includes(text)), {
    what: `the application saying ${text}`,
    told: () => `${daemon.stdout}\n${daemon.tail()}`,
  });
const pidIn = (line: string): string => line.split(' ').at(-1) ?? '';

test('a change starts the application again with the new value, within 5 s; no value is seen elsewhere', async () => {
  await using rig = await createRig();
  await using _server = await rig.open();
  grant(rig.store, credentialOf({ values: { password: 's3cret-number-01\n' } }));
  const daemon = rig.exec(...node(APP));
  const first = pidIn(await says(daemon, 'has 16 ..01'));
  assert.match(readFileSync(`/proc/${first}/environ`, 'latin1'), /SEEN=s3cret-number-01/);
  for (const file of ['environ', 'cmdline']) {
    assert.doesNotMatch(readFileSync(`/proc/${daemon.pid}/${file}`, 'latin1'), /s3cret/);
  }
  assert.doesNotMatch(readFileSync(`/proc/${first}/cmdline`, 'latin1'), /s3cret/);
  const before = performance.now();
  grant(rig.store, credentialOf({ version: '2', values: { password: 's3cret-number-02' } }));
  const second = pidIn(await says(daemon, 'has 16 ..02'));
  assert.ok(performance.now() - before < 5_000);
  assert.notEqual(second, first);
  assert.equal(existsSync(`/proc/${first}`), false, 'one application at a time');
  process.kill(daemon.pid, 'SIGTERM');
  assert.equal((await daemon.exit()).code, 5);
  assert.doesNotMatch(daemon.stdout + daemon.stderr + rig.logged(), /s3cret/);
});

test('a change of version without another value starts nothing', async () => {
  await using rig = await createRig();
  await using _server = await rig.open();
  grant(rig.store, credentialOf());
  const daemon = rig.exec(...node(APP));
  await says(daemon, 'has 6 ..et');
  grant(rig.store, credentialOf({ version: '2' }));
  grant(rig.store, credentialOf({ version: '3', values: { password: 'another' } }));
  await says(daemon, 'has 7 ..er');
  assert.equal(daemon.stdout.split('\n').filter((line) => line.startsWith('has')).length, 2);
});

test('--on-change HUP signals instead, and other signals are passed on', async () => {
  await using rig = await createRig();
  await using _server = await rig.open();
  grant(rig.store, credentialOf());
  const daemon = rig.exec('--on-change', 'HUP', ...node(APP));
  await says(daemon, 'has 6');
  grant(rig.store, credentialOf({ version: '2', values: { password: 'other' } }));
  await says(daemon, 'got SIGHUP');
  process.kill(daemon.pid, 'SIGUSR1');
  await says(daemon, 'got SIGUSR1');
  assert.equal(daemon.stdout.split('\n').filter((line) => line.startsWith('has')).length, 1);
});

test('a withdrawal ends the application, also one that does not want to, with status 77', async () => {
  await using rig = await createRig();
  await using _server = await rig.open();
  grant(rig.store, credentialOf());
  const stubborn = `${APP}; process.removeAllListeners('SIGTERM'); process.on('SIGTERM', () => console.log('no'));`;
  const daemon = rig.exec('--grace', '2s', ...node(stubborn));
  await says(daemon, 'has 6');
  grant(rig.store);
  const { code } = await daemon.exit();
  assert.equal(code, 77);
  assert.match(daemon.stdout, /no/);
  assert.match(daemon.stderr, /db is withdrawn: no such credential is granted/);
});

test('while the sidecar is away the application goes on, and hears of what changed meanwhile', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf());
  const daemon = await (async () => {
    await using _server = await rig.open();
    const started = rig.exec(...node(APP));
    await says(started, 'has 6');
    return started;
  })();
  grant(rig.store, credentialOf({ version: '2', values: { password: 'meanwhile' } }));
  await using _server = await rig.open();
  await says(daemon, 'has 9');
});

for (const [what, code, args, said] of [
  ['not granted', 77, ['--env', 'X=other/key'], /other: no such credential is granted/],
  ['of no such key', 77, ['--env', 'X=db/user'], /X: db\/user does not exist/],
  ['of no text', 77, ['--env', 'X=db/blob'], /X: db\/blob is no text/],
  ['a place that decides what runs', 1, ['--env', 'LD_PRELOAD=db/password'], /decides what runs/],
  ['no mapping', 1, ['--env', 'X=db'], /write VARIABLE=CREDENTIAL\/KEY/],
] as const) {
  test(`nothing is started for a variable ${what}`, async () => {
    await using rig = await createRig();
    await using _server = await rig.open();
    const values = { password: 's3cret', blob: Buffer.from([0xff]) };
    grant(rig.store, credentialOf({ values }));
    const daemon = rig.exec(...args, ...node("console.log('started')"));
    assert.equal((await daemon.exit()).code, code, daemon.tail());
    assert.match(daemon.stderr, said);
    assert.doesNotMatch(daemon.stdout, /started/);
    assert.doesNotMatch(daemon.stderr, /s3cret/);
  });
}

test('without a sidecar nothing is started, and the status says so', async () => {
  await using rig = await createRig();
  const daemon = rig.exec('--wait', '500ms', ...node("console.log('started')"));
  assert.equal((await daemon.exit()).code, 69);
  assert.match(daemon.stderr, /no credentials in time: db: /);
  assert.doesNotMatch(daemon.stdout, /started/);
});

test("the application's own status is the command's", async () => {
  await using rig = await createRig();
  await using _server = await rig.open();
  grant(rig.store, credentialOf());
  assert.equal((await rig.exec(...node('process.exit(7)')).exit()).code, 7);
  assert.equal((await rig.exec(...node("process.kill(process.pid, 'SIGKILL')")).exit()).code, 137);
  assert.equal((await rig.exec('--', '/no/such/program').exit()).code, 127);
});
