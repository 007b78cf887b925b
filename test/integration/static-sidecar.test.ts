// A sidecar of its own file serves without a mesh, takes a good change at once, and never less than the last good version.
import assert from 'node:assert/strict';
import { mkdir, symlink, rename, writeFile, rm } from 'node:fs/promises';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { runWeft } from '../support/lab-daemon.ts';
import { curl, startStatic, staticFile } from '../support/static-rig.ts';
import { eventually } from '../support/lab-wait.ts';

/** Free a moment ago. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => {
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    return address.port;
  });
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

const allow = (path: string): string =>
  `authorization: [{rules: [{to: [{operation: {paths: ["${path}"]}}]}]}]`;

test('an unchanged application is served behind rules of a file, with no control plane and no identity', async () => {
  await using rig = await startStatic({ sections: allow('/open*') });
  assert.equal((await curl(`${rig.url}/open`)).status, 200);
  const refused = await curl(`${rig.url}/closed`);
  assert.equal(refused.status, 403);
  assert.match(refused.body, /^RBAC: access denied/);
  assert.equal((await curl(`${rig.url}/open/../closed`, '--path-as-is')).status, 403);
  const ready = await curl(`${rig.admin}/ready`);
  assert.equal(ready.status, 200, ready.body);
  const { code } = await rig.daemon.stop();
  assert.equal(code, 0);
});

test('a change is in force a moment later, and a bad one is refused by line and field while the last good one stays', async () => {
  await using rig = await startStatic({ sections: allow('/a') });
  const write = (sections: string): Promise<void> =>
    rig.write('sidecar.yaml', staticFile(rig.app.address, sections));
  await write(allow('/b'));
  await rig.taken();
  assert.equal((await curl(`${rig.url}/b`)).status, 200);
  assert.equal((await curl(`${rig.url}/a`)).status, 403);
  for (const bad of [
    'authorization: [{rules: [{too: []}]}]',
    'authorisation: []',
    'authorization: [',
    'authorization: [{selector: {matchLabels: {app: other}}}]',
    'settings: {trustedHops: many}',
  ]) {
    await write(bad);
    const { problems } = await rig.refused();
    assert.match(JSON.stringify(problems), /sidecar\.yaml:\d+/, bad);
    assert.equal((await curl(`${rig.url}/b`)).status, 200, bad);
    assert.equal((await curl(`${rig.url}/a`)).status, 403, bad);
  }
  const metrics = await curl(`${rig.admin}/metrics`);
  assert.match(metrics.body, /^weft_configuration_file_ok 0$/m);
  assert.match(metrics.body, /^weft_configuration_file_loads_total\{result="refused"\} 5$/m);
  await write(allow('/c'));
  await rig.taken();
  assert.equal((await curl(`${rig.url}/c`)).status, 200);
  assert.match((await curl(`${rig.admin}/metrics`)).body, /^weft_configuration_file_ok 1$/m);
});

test('a file that is emptied, removed or taken away with its folder leaves the last good version in force', async () => {
  await using rig = await startStatic({ sections: allow('/a') });
  await rig.write('sidecar.yaml', '');
  await rig.refused();
  await rm(join(rig.folder, 'sidecar.yaml'));
  await rig.refused();
  assert.equal((await curl(`${rig.url}/a`)).status, 200);
  assert.equal((await curl(`${rig.url}/b`)).status, 403);
});

test('addresses cannot change while it runs, and a change that names others is refused whole', async () => {
  await using rig = await startStatic({ sections: allow('/a') });
  await rig.write('sidecar.yaml', staticFile('127.0.0.1:1', allow('/*')));
  const { problems } = await rig.refused();
  assert.match(JSON.stringify(problems), /application: cannot change while the sidecar runs/);
  assert.equal((await curl(`${rig.url}/b`)).status, 403);
});

test('a request that is under way is judged again by a new file, and cut when it would not be let in', async () => {
  await using rig = await startStatic({ sections: allow('/hold*') });
  const held = curl(`${rig.url}/hold`);
  await eventually(() => rig.app.held === 1, { what: 'the answer that is held' });
  await rig.write('sidecar.yaml', staticFile(rig.app.address, allow('/b')));
  await rig.taken();
  await held;
  await eventually(() => rig.app.held === 0, { what: 'the end of the request' });
});

test('a link that is switched to another folder, as Kubernetes mounts a ConfigMap, is seen', async () => {
  await using rig = await startStatic({ sections: allow('/a') });
  const { folder } = rig;
  const version = async (name: string, path: string): Promise<void> => {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, 'sidecar.yaml'), staticFile(rig.app.address, allow(path)));
    await symlink(name, join(folder, '..data.new'));
    await rename(join(folder, '..data.new'), join(folder, '..data'));
  };
  await version('one', '/one');
  await symlink('..data/sidecar.yaml', join(folder, 'link'));
  await rename(join(folder, 'link'), join(folder, 'sidecar.yaml'));
  await rig.taken();
  assert.equal((await curl(`${rig.url}/one`)).status, 200);
  await version('two', '/two');
  await rig.taken();
  assert.equal((await curl(`${rig.url}/two`)).status, 200);
  assert.equal((await curl(`${rig.url}/one`)).status, 403);
});

test('--check says all that is wrong with file, line, field and cure, and ends with 1; of a good file with 0', async () => {
  await using rig = await startStatic({ sections: '' });
  await rig.write('good.yaml', staticFile('127.0.0.1:3000', allow('/a')));
  const good = await runWeft(['sidecar', '--config', join(rig.folder, 'good.yaml'), '--check']);
  assert.equal(good.code, 0, good.stderr);
  const text = [
    'apiVersion: sidecar.weft.dev/v2',
    'kind: Sidecar',
    'listen: [127.0.0.1:80800]',
    'aplication: 127.0.0.1:3000',
    'authorization:',
    '  - action: ALOW',
    '  - rules: [{to: [{operation: {ports: [http]}}]}]',
  ].join('\n');
  await rig.write('bad.yaml', text);
  const bad = await runWeft(['sidecar', '--config', join(rig.folder, 'bad.yaml'), '--check']);
  assert.equal(bad.code, 1);
  for (const [line, field] of [
    [1, 'apiVersion'],
    [3, 'listen[0]'],
    [4, 'aplication'],
    [6, 'authorization[0].action'],
    [7, 'authorization[1].rules[0].to[0].operation.ports[0]'],
  ] as const) {
    const found = bad.stderr
      .split('\n')
      .find((one) => one.includes(`bad.yaml:${line})`) && one.includes(` ${field}:`));
    assert.ok(found !== undefined, `${line} ${field} in ${bad.stderr}`);
    assert.match(found, / — /, 'says what to write');
  }
  const missing = await runWeft(['sidecar', '--config', join(rig.folder, 'no.yaml'), '--check']);
  assert.equal(missing.code, 1);
  const started = await runWeft(['sidecar', '--config', join(rig.folder, 'bad.yaml')]);
  assert.equal(started.code, 1);
  assert.equal(started.stdout, '', 'it must never say that it is ready');
});

test('tokens are verified with keys that stand in the file', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256' }] });
  const issuer = 'https://issuer.example';
  await using rig = await startStatic({
    sections: [
      'requestAuthentication:',
      `  - jwtRules: [{issuer: "${issuer}", jwks: '${jwks}'}]`,
      'authorization:',
      `  - rules: [{from: [{source: {requestPrincipals: ["${issuer}/ann"]}}]}]`,
    ].join('\n'),
  });
  const call = async (token: string): Promise<number> =>
    (await curl(`${rig.url}/`, '-H', `Authorization: Bearer ${token}`)).status;
  const tokenOf = (subject: string): Promise<string> =>
    new SignJWT({ iss: issuer, sub: subject })
      .setProtectedHeader({ alg: 'ES256' })
      .setExpirationTime('5m')
      .sign(privateKey);
  assert.equal((await curl(`${rig.url}/`)).status, 403);
  assert.equal(await call(await tokenOf('ann')), 200);
  assert.equal(await call(await tokenOf('eve')), 403);
  assert.equal(await call(`${await tokenOf('ann')}x`), 401);
});

test('several addresses are served, each under its own port in rules, with ports for probes and scrapers', async () => {
  const [one, two] = await freePorts(2);
  const rules = `authorization: [{rules: [{to: [{operation: {ports: ["${one}"]}}]}]}]`;
  await using rig = await startStatic({
    sections: `${rules}\nprobes: 127.0.0.1:0\nmetrics: 127.0.0.1:0`,
    listen: `[127.0.0.1:${one}, "127.0.0.1:${two}"]`,
  });
  assert.equal((await curl(`http://127.0.0.1:${one}/`)).status, 200);
  assert.equal((await curl(`http://127.0.0.1:${two}/`)).status, 403);
  assert.equal((await curl(`http://${String(rig.ready['probes'])}/ready`)).status, 200);
  assert.match((await curl(`http://${String(rig.ready['metrics'])}/metrics`)).body, /weft_ready 1/);
});

test('a file in JSON is as good, and a login that nobody could be asked for is refused', async () => {
  await using rig = await startStatic({ sections: '', files: { users: 'ann:x' } });
  const file = {
    apiVersion: 'sidecar.weft.dev/v1',
    kind: 'Sidecar',
    listen: 8080,
    application: '127.0.0.1:3000',
  };
  const check = async (more: object) => {
    await rig.write('file.json', JSON.stringify({ ...file, ...more }));
    return runWeft(['sidecar', '--config', join(rig.folder, 'file.json'), '--check']);
  };
  assert.equal((await check({})).code, 0);
  await rig.write('users', 'ann:$2b$08$sF6CQ9vo13WtOVejO94sZu3g6gF98XAcUHeRS6ieQCIGs1KygdlcW');
  const basicAuthentication = { users: { file: 'users' } };
  assert.equal((await check({ basicAuthentication })).code, 0);
  const bad = await check({ basicAuthentication, protocol: 'tcp' });
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /protocol: carries no requests/);
});

test('a port that is taken is said with the cure, and nothing stays open', async () => {
  await using rig = await startStatic({ sections: '' });
  const port = rig.url.slice(rig.url.lastIndexOf(':') + 1);
  await rig.write('second.yaml', staticFile(rig.app.address, '', `127.0.0.1:${port}`));
  const second = await runWeft(['sidecar', '--config', join(rig.folder, 'second.yaml')]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another process listens there/);
  await eventually(async () => (await curl(`${rig.url}/`)).status === 200, { what: 'an answer' });
});
