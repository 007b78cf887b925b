// The application's door to its credentials: open to attested callers alone, and always with what is granted now.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../../test/support/lab-wait.ts';
import type { UrlDelivery } from './options.ts';
import { createCredentialsRig, credentialOf, grant } from './testing/rig.ts';
import { UrlServer } from './url-server.ts';

const OWN = { uids: [process.getuid?.() ?? 0], gids: [], pids: [] };
const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

interface Asked {
  readonly status: number;
  readonly body: string;
  readonly headers: http.IncomingHttpHeaders;
}

function ask(
  where: http.RequestOptions,
  path: string,
  headers: http.OutgoingHttpHeaders = {},
): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const request = http.get({ ...where, path, agent: false, headers }, (response) => {
      let body = '';
      response.setEncoding('latin1');
      response.on('data', (text: string) => (body += text));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
      );
    });
    request.on('error', reject);
  });
}

async function createRig(url: Partial<UrlDelivery> & { readonly port?: boolean } = {}) {
  await using making = new AsyncDisposableStack();
  const folder = await mkdtemp(join(MEMORY, 'weft-url-'));
  making.defer(() => rm(folder, { recursive: true }));
  const rig = createCredentialsRig();
  const { port = false, ...rest } = url;
  const path = join(folder, 'credentials.sock');
  const listen = port
    ? ({ kind: 'tcp', host: '127.0.0.1', port: 0 } as const)
    : ({ kind: 'unix', path, mode: 0o666 } as const);
  const tokenPath = join(folder, 'token');
  const tokenFile = port ? { path: tokenPath, mode: 0o400 } : undefined;
  const options = { listen, allowed: OWN, tokenFile, isForced: true, ...rest };
  const server = making.use(await UrlServer.open({ ...rig, url: options }));
  const where = port
    ? { host: '127.0.0.1', port: Number(server.address.split(':').at(-1)) }
    : { socketPath: path };
  const owned = making.move();
  return {
    ...rig,
    server,
    where,
    path,
    folder,
    tokenPath,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('GET /v1/credentials/NAME is JSON with its version; what is no text is in base64', async () => {
  await using rig = await createRig();
  const values = { user: 'weft', blob: Buffer.from([0xff, 0x00]) };
  grant(rig.store, credentialOf({ version: 'v7', values }));
  const { status, body, headers } = await ask(rig.where, '/v1/credentials/db');
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(body), {
    name: 'db',
    version: 'v7',
    values: { user: 'weft' },
    base64: { blob: '/wA=' },
  });
  assert.equal(headers['cache-control'], 'no-store');
  assert.equal(headers['weft-credential-version'], 'v7');
});

test('GET …/raw/KEY is the bytes as they are', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf({ values: { blob: Buffer.from([0xff, 0x00, 0x0a]) } }));
  const { status, body, headers } = await ask(rig.where, '/v1/credentials/db/raw/blob');
  assert.equal(status, 200);
  assert.equal(body, '\xff\0\n');
  assert.equal(headers['content-type'], 'application/octet-stream');
});

test('GET /v1/credentials names what may be had here, without values', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf(), credentialOf({ name: 'api', ways: ['injected'] }));
  const { body } = await ask(rig.where, '/v1/credentials');
  assert.deepEqual(JSON.parse(body), {
    credentials: [{ name: 'db', version: '1', keys: ['password'] }],
  });
});

const REFUSED: readonly (readonly [string, string, number])[] = [
  ['a name that is not granted', '/v1/credentials/other', 404],
  ['a key that it has not', '/v1/credentials/db/raw/user', 404],
  ['a credential that is injected alone', '/v1/credentials/api', 403],
  ['a key of a credential that is injected alone', '/v1/credentials/api/raw/password', 403],
  ['another path', '/metrics', 404],
  ['a path with a segment too many', '/v1/credentials/db/raw/password/x', 404],
  ['a way up', '/v1/credentials/../../etc/passwd', 404],
  ['a wait that is no number', '/v1/credentials/db?after=1&wait=x', 400],
  ['a long address', `/v1/credentials/${'a'.repeat(2_000)}`, 414],
];
for (const [what, path, expected] of REFUSED) {
  test(`${what} is answered with ${expected}, and nothing of a value`, async () => {
    await using rig = await createRig();
    grant(rig.store, credentialOf(), credentialOf({ name: 'api', ways: ['injected'] }));
    const { status, body } = await ask(rig.where, path);
    assert.equal(status, expected);
    assert.doesNotMatch(body + rig.logged(), /s3cret/);
    assert.match(rig.exposed(), /weft_credentials_refused_total\{reason="[a-z-]+"\} 1/);
  });
}

test('before all has come a name is 503, not 404: it may be granted', async () => {
  await using rig = await createRig();
  assert.equal((await ask(rig.where, '/v1/credentials/db')).status, 503);
  grant(rig.store);
  assert.equal((await ask(rig.where, '/v1/credentials/db')).status, 404);
});

test('?after=VERSION is answered once the credential has changed', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf());
  const waiting = ask(rig.where, '/v1/credentials/db?after=1');
  await ask(rig.where, '/v1/credentials');
  grant(rig.store, credentialOf(), credentialOf({ name: 'other' }));
  grant(rig.store, credentialOf({ version: '2', values: { password: 'new' } }));
  const { status, body } = await waiting;
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(body), { name: 'db', version: '2', values: { password: 'new' } });
  assert.equal((await ask(rig.where, '/v1/credentials/db?after=1')).status, 200, 'at once');
  assert.equal((await ask(rig.where, '/v1/credentials/db?after=2&wait=0')).status, 304);
});

test('who waits for a change is told of a withdrawal', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf());
  const waiting = ask(rig.where, '/v1/credentials/db?after=1');
  await ask(rig.where, '/v1/credentials');
  grant(rig.store);
  assert.equal((await waiting).status, 404);
});

test('no more than 64 wait at a time', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf());
  const waiting = Array.from({ length: 64 }, () => ask(rig.where, '/v1/credentials/db?after=1'));
  let last: Asked;
  do last = await ask(rig.where, '/v1/credentials/db?after=1&wait=1');
  while (last.status === 304);
  assert.equal(last.status, 503);
  grant(rig.store);
  for (const one of await Promise.all(waiting)) assert.equal(one.status, 404);
});

test("the kernel's word on the caller is in the audit, and decides", async () => {
  await using rig = await createRig({ allowed: { uids: [], gids: [], pids: [process.pid] } });
  grant(rig.store, credentialOf());
  assert.equal((await ask(rig.where, '/v1/credentials/db')).status, 200);
  const receiver = `uid ${process.getuid?.()} gid ${process.getgid?.()} pid ${process.pid}`;
  assert.match(rig.logged(), new RegExp(`"way":"url","receiver":"${receiver}"`));
  await using other = await createRig({ allowed: { uids: [], gids: [], pids: [1] } });
  grant(other.store, credentialOf());
  const { status, body } = await ask(other.where, '/v1/credentials/db');
  assert.equal(status, 403);
  assert.doesNotMatch(body, /s3cret/);
});

test('a caller must fit every list that is given, and with none nobody does', async () => {
  for (const allowed of [
    { uids: [], gids: [], pids: [] },
    { ...OWN, gids: [4_000_000] },
    { ...OWN, pids: [process.pid + 1] },
  ]) {
    await using rig = await createRig({ allowed });
    grant(rig.store, credentialOf());
    assert.equal((await ask(rig.where, '/v1/credentials/db')).status, 403);
  }
});

const isRoot = process.getuid?.() === 0;
const CALL = `require('http').get({socketPath: process.argv[1], path: '/v1/credentials/db'},
  (answer) => { answer.pipe(process.stdout); process.exitCode = answer.statusCode === 200 ? 0 : 9; })`;
test('a process of another user is refused, whatever it says of itself', {
  skip: isRoot ? false : 'only root can be another user',
}, async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf());
  await chmod(rig.folder, 0o755);
  const child = await import('node:child_process').then(({ spawn }) =>
    spawn(process.execPath, ['-e', CALL, rig.path], { uid: 65_534, gid: 65_534, cwd: '/' }),
  );
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code] = await once(child, 'exit');
  assert.equal(code, 9, said);
  assert.match(said, /uid 65534 gid 65534 may not read/);
  assert.doesNotMatch(said, /s3cret/);
});

test('at a port the start-up token must be shown; it is new at each start and gone at the end', async () => {
  let first = '';
  let path = '';
  {
    await using rig = await createRig({ port: true });
    grant(rig.store, credentialOf());
    path = rig.tokenPath;
    first = await readFile(path, 'latin1');
    assert.equal((await stat(path)).mode & 0o777, 0o400);
    const get = (authorization?: string): Promise<Asked> =>
      ask(rig.where, '/v1/credentials/db', authorization === undefined ? {} : { authorization });
    for (const wrong of [undefined, '', 'Bearer', `Bearer ${first}x`, first, `Basic ${first}`]) {
      const { status, body } = await get(wrong);
      assert.equal(status, 401, String(wrong));
      assert.doesNotMatch(body, /s3cret/);
    }
    assert.equal((await get(`Bearer ${first}`)).status, 200);
    assert.ok(!rig.logged().includes(first), 'the token is in no log');
    const page = { authorization: `Bearer ${first}` };
    const origin = { ...page, origin: 'https://evil.example' };
    assert.equal((await ask(rig.where, '/v1/credentials/db', origin)).status, 403);
    const rebound = { ...page, host: 'evil.example' };
    assert.equal((await ask(rig.where, '/v1/credentials/db', rebound)).status, 403);
  }
  assert.equal(existsSync(path), false);
  await using again = await createRig({ port: true });
  assert.notEqual(await readFile(again.tokenPath, 'latin1'), first);
});

test('a port without a token is not opened', async () => {
  await assert.rejects(
    createRig({ port: true, tokenFile: undefined }),
    /nobody says who calls; give a token file/,
  );
});

test('a token is not written to a disk', { skip: onDisk() }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-disk-'));
  try {
    const tokenFile = { path: join(folder, 'token'), mode: 0o400 };
    await assert.rejects(createRig({ port: true, tokenFile, isForced: false }), /is not in memory/);
    assert.equal(existsSync(tokenFile.path), false);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("an earlier process's socket is taken over, anything else is left alone", async () => {
  await using rig = await createRig();
  const listen = { kind: 'unix', path: join(rig.folder, 'file'), mode: 0o666 } as const;
  const { writeFile } = await import('node:fs/promises');
  await writeFile(listen.path, 'mine');
  await assert.rejects(createRig({ listen }), /something else is there/);
  assert.equal(await readFile(listen.path, 'utf8'), 'mine');
  const left = join(rig.folder, 'left.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(existsSync(left));
  await using taken = await createRig({ listen: { kind: 'unix', path: left, mode: 0o666 } });
  assert.equal((await ask({ socketPath: left }, '/v1/credentials')).status, 200);
  assert.ok(taken);
});

test('a socket at which another process answers is left to it', async () => {
  await using rig = await createRig();
  const listen = { kind: 'unix', path: rig.path, mode: 0o666 } as const;
  await assert.rejects(createRig({ listen }), /another process does/);
  assert.equal((await ask(rig.where, '/v1/credentials')).status, 200);
});

test('callers who may not ask are eight at a time, and keep nobody out', async () => {
  await using rig = await createRig({ allowed: { uids: [], gids: [], pids: [1] } });
  grant(rig.store, credentialOf());
  const sockets = Array.from({ length: 200 }, () => net.connect(rig.path));
  let closed = 0;
  for (const socket of sockets) {
    socket.on('error', () => undefined);
    socket.once('close', () => closed++);
    socket.resume();
  }
  await eventually(() => closed === 192, { what: 'the end of all but eight' });
  for (const socket of sockets) socket.destroy();
  await eventually(() => closed === 200, { what: 'the end of the rest' });
  const { status, headers } = await eventually(() => ask(rig.where, '/v1/credentials/db'), {
    what: 'an answer to the next',
  });
  assert.deepEqual([status, headers.connection], [403, 'close']);
});

test('bytes that are no HTTP, and callers who go while they wait, end nothing', async () => {
  await using rig = await createRig();
  grant(rig.store, credentialOf());
  const socket = net.connect(rig.path);
  socket.on('error', () => undefined);
  socket.end('\x16\x03\x01 not http\r\n\r\n');
  await once(socket, 'close');
  const waiting = http.get({
    socketPath: rig.path,
    path: '/v1/credentials/db?after=1',
    agent: false,
  });
  waiting.on('error', () => undefined);
  await ask(rig.where, '/v1/credentials');
  waiting.destroy();
  assert.equal((await ask(rig.where, '/v1/credentials/db')).status, 200);
});

function onDisk(): false | string {
  const TMPFS = ['tmpfs', 'ramfs'];
  const found = spawnSync('stat', ['-f', '-c', '%T', tmpdir()], { encoding: 'utf8' }).stdout.trim();
  return TMPFS.includes(found) ? `${tmpdir()} is in memory here` : false;
}
