// A login by name and password before an unchanged application: with curl, over both versions of HTTP, and what guesses get.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import http2 from 'node:http2';
import { test } from 'node:test';
import { call, echoed, startHttpApp } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { listOf, startLab } from '../support/lab.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { fileOf, NAME } from '../support/tls-calls.ts';
import { missingTools, OutsideCa } from '../support/tls-clients.ts';
import { curl, staticFile, startStatic, type CurlAnswer } from '../support/static-rig.ts';
import { join } from 'node:path';

/** `secret` and `other`, at cost 8; made by another implementation of bcrypt. */
const SECRET = '$2b$08$sF6CQ9vo13WtOVejO94sZu3g6gF98XAcUHeRS6ieQCIGs1KygdlcW';
const OTHER = '$2y$08$VSqLqtl/7TkQUca2ypyBw.8Tl5a2dSeK57Vi1oWhgJu6ciiVfpjHi';
const USERS = { users: `ann:${SECRET}\nbob:${OTHER}\n` };

const section = (more = ''): string =>
  `basicAuthentication: {users: {file: users}${more === '' ? '' : `, ${more}`}}`;

const seenBy = (answer: CurlAnswer): Readonly<Record<string, unknown>> =>
  echoed({ ...answer, headers: {}, trailers: {} }).headers;

test('nobody is let in without a right password, and the application sees no credential', async () => {
  await using rig = await startStatic({ sections: section(), files: USERS });
  const asked = await curl(`${rig.url}/`);
  assert.equal(asked.status, 401);
  assert.equal(asked.headers.get('www-authenticate'), 'Basic realm="Restricted", charset="UTF-8"');
  const right = await curl('-u', 'ann:secret', `${rig.url}/`);
  assert.equal(right.status, 200);
  assert.equal(seenBy(right)['authorization'], undefined);
  for (const wrong of ['ann:wrong', 'ann:other', 'eve:secret', 'ann:', ':secret', 'ANN:secret']) {
    assert.equal((await curl('-u', wrong, `${rig.url}/`)).status, 401, wrong);
  }
  assert.equal((await curl('-H', 'Authorization: Bearer x', `${rig.url}/`)).status, 401);
  const twice = ['-H', `Authorization: Basic ${Buffer.from('ann:secret').toString('base64')}`];
  assert.equal((await curl(...twice, ...twice, `${rig.url}/`)).status, 401);
  assert.deepEqual(rig.app.requests, ['GET /']);
});

test('realm, exempt paths, the user’s header and the kept credential are as the file says', async () => {
  const more =
    'realm: "The \\"shop\\"", exemptPaths: [/healthz, "/public/*"], userHeader: X-User, keepCredential: true';
  await using rig = await startStatic({ sections: section(more), files: USERS });
  const asked = await curl(`${rig.url}/`);
  assert.equal(
    asked.headers.get('www-authenticate'),
    'Basic realm="The \\"shop\\"", charset="UTF-8"',
  );
  const right = seenBy(await curl('-u', 'ann:secret', '-H', 'X-User: root', `${rig.url}/`));
  assert.equal(right['x-user'], 'ann');
  assert.match(String(right['authorization']), /^Basic /);
  const exempt = seenBy(await curl('-H', 'X-User: root', `${rig.url}/healthz`));
  assert.equal(exempt['x-user'], undefined, 'nobody says who he is where nobody asks');
  assert.equal((await curl(`${rig.url}/public/a`)).status, 200);
  for (const path of [
    '/public/../admin',
    '/healthz/',
    '/healthz;x',
    '/HEALTHZ',
    '//healthz',
    '/%68ealthz/x',
  ]) {
    const { status } = await curl('--path-as-is', `${rig.url}${path}`);
    assert.equal(status, 401, path);
  }
});

test('rules may name the user, whom an exempt path has none of', async () => {
  const rules = [
    'authorization:',
    '  - rules:',
    '      - {when: [{key: request.auth.basic.user, values: [ann]}], to: [{operation: {paths: [/admin]}}]}',
    '      - {to: [{operation: {notPaths: [/admin]}}]}',
  ].join('\n');
  await using rig = await startStatic({
    sections: `${section('exemptPaths: [/free]')}\n${rules}`,
    files: USERS,
  });
  assert.equal((await curl('-u', 'ann:secret', `${rig.url}/admin`)).status, 200);
  assert.equal((await curl('-u', 'bob:other', `${rig.url}/admin`)).status, 403);
  assert.equal((await curl('-u', 'bob:other', `${rig.url}/`)).status, 200);
  assert.equal((await curl(`${rig.url}/free`)).status, 200);
});

test('guesses are answered 429 with Retry-After, and who is logged in goes on', async () => {
  await using rig = await startStatic({ sections: section(), files: USERS });
  assert.equal((await curl('-u', 'ann:secret', `${rig.url}/`)).status, 200);
  const statuses: number[] = [];
  for (let count = 0; count < 14; count++) {
    const { status, headers } = await curl('-u', `ann:guess-${count}`, `${rig.url}/`);
    statuses.push(status);
    if (status === 429) assert.ok(Number(headers.get('retry-after')) >= 1);
  }
  assert.deepEqual(
    statuses.slice(0, 10),
    Array.from({ length: 10 }, () => 401),
  );
  assert.ok(statuses.slice(10).includes(429), statuses.join());
  assert.equal((await curl('-u', 'ann:secret', `${rig.url}/`)).status, 200);
  const metrics = await curl(`${rig.admin}/metrics`);
  assert.match(metrics.body, /login-throttled/, 'it is counted with its reason');
});

test('a list that changes is in force a moment later: who was taken out is out, also where he was remembered', async () => {
  await using rig = await startStatic({ sections: section(), files: USERS });
  assert.equal((await curl('-u', 'ann:secret', `${rig.url}/`)).status, 200);
  await rig.write('users', `ann:${OTHER}\n`);
  await rig.taken();
  assert.equal((await curl('-u', 'ann:secret', `${rig.url}/`)).status, 401);
  assert.equal((await curl('-u', 'ann:other', `${rig.url}/`)).status, 200);
  assert.equal((await curl('-u', 'bob:other', `${rig.url}/`)).status, 401);
  await rig.write('users', `ann:${OTHER}\nbob:$apr1$abcdefgh$0123456789012345678901\n`);
  const { problems } = await rig.refused();
  assert.match(JSON.stringify(problems), /line 2 .*bob.*MD5.*only bcrypt.*htpasswd -nB/);
  assert.equal((await curl('-u', 'ann:other', `${rig.url}/`)).status, 200);
});

test('weaker hashes are refused before anything listens, with advice and without the hash', async () => {
  await using rig = await startStatic({
    sections: '',
    files: { weak: 'ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n' },
  });
  await rig.write(
    'weak.yaml',
    staticFile(rig.app.address, 'basicAuthentication: {users: {file: weak}}'),
  );
  const { code, stderr } = await runWeft(['sidecar', '--config', join(rig.folder, 'weak.yaml')]);
  assert.equal(code, 1);
  assert.match(stderr, /basicAuthentication\.users\.file: line 1 \("ann"\) is hashed with SHA-1/);
  assert.match(stderr, /htpasswd -nB -C 12 USER/);
  assert.ok(!stderr.includes('5en6G6MezRroT3XKqkdPOmY'));
});

const ownAddress = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === 'IPv4' && !one.internal)?.address;

test('a password is not taken in the clear from another host, unless the file allows it', {
  skip: ownAddress === undefined && 'this machine has no address of its own',
}, async () => {
  for (const [more, status] of [
    ['', 403],
    ['allowPlaintext: true', 200],
  ] as const) {
    const listen = `"[::]:0"`;
    await using rig = await startStatic({ sections: section(more), files: USERS, listen });
    const port = rig.url.slice(rig.url.lastIndexOf(':') + 1);
    const from = ['--interface', String(ownAddress), '-u', 'ann:secret'];
    const far = await curl(...from, `http://${ownAddress}:${port}/`);
    assert.equal(far.status, status, far.body);
    assert.equal((await curl('-u', 'ann:secret', `http://127.0.0.1:${port}/`)).status, 200);
  }
});

test('over TLS a password is taken from another host, and without TLS it still is not', {
  skip: missingTools() ?? (ownAddress === undefined && 'this machine has no address of its own'),
}, async () => {
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: `DNS:${NAME},IP:${ownAddress}` });
  const tls = `tls: ${JSON.stringify({ plaintext: { mode: 'ALLOW' }, certificates: [fileOf(leaf)] })}`;
  const sections = `${tls}\n${section('userHeader: x-user')}`;
  await using rig = await startStatic({ sections, files: USERS, listen: '"[::]:0"' });
  const port = rig.url.slice(rig.url.lastIndexOf(':') + 1);
  const from = ['--interface', String(ownAddress), '--cacert', ca.certificate, '-u', 'ann:secret'];
  const secured = await curl(...from, `https://${ownAddress}:${port}/`);
  assert.equal(secured.status, 200, secured.body);
  assert.equal(seenBy(secured)['x-user'], 'ann');
  const wrong = [...from.slice(0, -1), 'ann:wrong'];
  assert.equal((await curl(...wrong, `https://${ownAddress}:${port}/`)).status, 401);
  assert.equal((await curl(...from, `http://${ownAddress}:${port}/`)).status, 403);
});

test('over HTTP/2 it is the same', async () => {
  const server = http2.createServer((request, response) => {
    const { authorization = 'none', 'x-user': user = 'nobody' } = request.headers;
    response.end(`${String(user)} ${authorization}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { port } = address;
  {
    await using rig = await startStatic({
      sections: `protocol: http2\n${section('userHeader: x-user')}`,
      files: USERS,
      application: `127.0.0.1:${port}`,
    });
    const ask = (...args: readonly string[]) =>
      curl('--http2-prior-knowledge', ...args, `${rig.url}/`);
    const asked = await ask();
    assert.equal(asked.status, 401);
    assert.match(asked.headers.get('www-authenticate') ?? '', /^Basic realm=/);
    assert.equal((await ask('-u', 'ann:wrong')).status, 401);
    assert.equal((await ask('-u', 'ann:secret')).body, 'ann none');
    assert.equal((await ask('-u', 'ann:secret')).body, 'ann none', 'also when it is remembered');
  }
  server.close();
});

test('no password and no hash is in any log, dump or metric', async () => {
  await using rig = await startStatic({ sections: `${section()}\naccessLog: all`, files: USERS });
  await curl('-u', 'ann:secret', `${rig.url}/`);
  await curl('-u', 'ann:hunter2', `${rig.url}/`);
  await rig.daemon.line(({ msg, status }) => msg === 'access' && status === 401, 'the refusal');
  const served = await rig.daemon.line(
    ({ status }) => status === 200,
    'the request that was served',
  );
  assert.equal(served['user'], 'ann', 'the log says who it was');
  const dumps = await Promise.all(
    ['config_dump', 'metrics', 'denials', 'clusters'].map((path) => curl(`${rig.admin}/${path}`)),
  );
  assert.ok(dumps.every(({ status }) => status !== 0));
  const encoded = Buffer.from('ann:secret').toString('base64');
  const all = `${rig.daemon.stderr}${rig.daemon.stdout}${dumps.map(({ body }) => body).join('')}`;
  for (const secret of ['ann:secret', 'hunter2', SECRET.slice(10, 30), encoded]) {
    assert.ok(
      !all.includes(secret),
      `${secret} is in ${all.slice(all.indexOf(secret) - 80).slice(0, 160)}`,
    );
  }
});

const MANIFESTS = {
  login: JSON.stringify({
    apiVersion: 'security.weft.dev/v1',
    kind: 'BasicAuthentication',
    metadata: { name: 'login', namespace: 'shop' },
    spec: { selector: { matchLabels: { app: 'web' } }, users: { secretName: 'web-users' } },
  }),
  users: (list: string): string =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'web-users', namespace: 'shop' },
      data: { auth: Buffer.from(list).toString('base64') },
    }),
};

test('in a mesh the kind does the same over mutual TLS, its Secret is followed, and a broken one closes', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  const via = client.via('web.shop:80');
  const statusOf = async (credentials?: string): Promise<number> => {
    const encoded = credentials && Buffer.from(credentials).toString('base64');
    const headers = encoded === undefined ? {} : { authorization: `Basic ${encoded}` };
    return (await call(via, '/', { headers })).status;
  };
  const becomes = (status: number, credentials?: string): Promise<unknown> =>
    eventually(async () => (await statusOf(credentials)) === status, {
      what: `${status} for ${credentials ?? 'nobody'}`,
      told: () => web.daemon.tail(),
    });
  assert.equal(await statusOf(), 200);
  await lab.write('login.yaml', MANIFESTS.login);
  await becomes(401);
  await lab.problem('has no users: the Secret web-users with the key auth is not there');
  assert.equal(await statusOf('ann:secret'), 401, 'without a list nobody is let in');
  await lab.write('users.yaml', MANIFESTS.users(`ann:${SECRET}`));
  await becomes(200, 'ann:secret');
  await lab.write('users.yaml', MANIFESTS.users(`bob:${OTHER}`));
  await becomes(401, 'ann:secret');
  await becomes(200, 'bob:other');
  const placed = listOf(await lab.ask('/v1/policies'), 'policies').find(
    ({ kind }) => kind === 'BasicAuthentication',
  );
  assert.ok(placed !== undefined, 'it has a status');
  const dump = await web.ask('/config_dump');
  assert.ok(!dump.body.includes(OTHER.slice(10, 30)), 'no dump shows a hash');
  await lab.write('login.yaml', MANIFESTS.login.replace('"users"', '"usres"'));
  await lab.problem('unknown field');
  assert.equal(await statusOf('bob:other'), 200, 'the last good version holds');
});
