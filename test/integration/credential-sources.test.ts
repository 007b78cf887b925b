// What must hold: whoever is granted a credential has it from its source, has each change within five seconds, loses it
// when the grant goes, and every hand-over is written down; no value is in anything that the control plane writes.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listOf, openLab, type Lab, type LabSidecar } from '../support/lab.ts';
import { call } from '../support/lab-clients.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { CREDENTIAL_MS, eventually } from '../support/lab-wait.ts';
import { startVaultServer, type VaultServer } from '../support/vault-server.ts';

/** Words that are nowhere else: found again wherever they leak. */
const VALUES = {
  folder: ['folder-value-Gk3vQ9', 'folder-value-Wn7xT2'],
  vault: ['vault-value-Pz5hL8', 'vault-value-Rc4jM6'],
} as const;
const JWT = 'jwt-of-the-control-plane-Yb2nK1';

const binding = (serviceAccounts: string): string => `apiVersion: security.weft.dev/v1
kind: CredentialBinding
metadata: { name: web, namespace: shop }
spec:
  serviceAccounts: ${serviceAccounts}
  credentials:
    - name: db
      source: { from: files, path: db }
      ways: [url]
    - name: pay
      source: { from: vault, path: pay }
      keys: [token]
      ways: [url]
`;

let lab: Lab;
let vault: VaultServer;
let web: LabSidecar;
let cart: LabSidecar;

const writeFolder = (password: string): void => {
  const place = join(lab.root, 'files', 'shop', 'db');
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'password'), password);
};

before(async () => {
  lab = await openLab();
  vault = await startVaultServer({ jwt: JWT });
  writeFolder(VALUES.folder[0]);
  vault.put('weft/shop/pay', { token: VALUES.vault[0], unbound: 'vault-value-never-bound' });
  writeFileSync(join(lab.root, 'jwt'), JWT, { mode: 0o600 });
  const sources = join(lab.root, 'sources.yaml');
  writeFileSync(
    sources,
    `sources:
  - { name: files, namespaces: [shop], folder: { path: ${join(lab.root, 'files')} } }
  - name: vault
    namespaces: [shop]
    prefix: weft
    vault: { address: '${vault.url}', auth: { jwtFile: ${join(lab.root, 'jwt')} } }
`,
  );
  await lab.write('binding.yaml', binding('[web]'));
  await lab.startControlPlane({ args: ['--credential-sources', sources, '--log-level', 'trace'] });
  [web, cart] = await Promise.all([start('web-0'), start('cart-0')]);
});
after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await vault?.[Symbol.asyncDispose]();
});

const start = (pod: string): Promise<LabSidecar> =>
  lab.startSidecar({
    pod,
    inbound: { 8080: '127.0.0.1:1' },
    args: ['--credentials-socket', socketOf(pod)],
  });

const socketOf = (pod: string): string => join(lab.root, `${pod}.sock`);

interface Told {
  readonly status: number;
  readonly body: string;
}

/** As the application asks its sidecar. */
const ask = (pod: string, path: string): Promise<Told> => askAt(socketOf(pod), path);

function askAt(socketPath: string, path: string): Promise<Told> {
  const { promise, resolve, reject } = Promise.withResolvers<Told>();
  const request = http.get({ socketPath, path, agent: false }, (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (part: string) => (body += part));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    response.on('error', reject);
  });
  request.on('error', reject);
  return promise;
}

/** @returns milliseconds until it was so. */
async function timeUntil(
  pod: string,
  path: string,
  isSo: (told: Told) => boolean,
): Promise<number> {
  const startedAt = performance.now();
  await eventually(async () => isSo(await ask(pod, path)), { what: path, withinMs: 20_000 });
  return performance.now() - startedAt;
}

const raw = (name: string, key: string): string => `/v1/credentials/${name}/raw/${key}`;

async function cli(...args: readonly string[]): Promise<string> {
  const { admin } = lab.addresses;
  const { code, stdout, stderr } = await runWeft(['credentials', ...args, '--admin', admin]);
  assert.equal(code, 0, stderr);
  return stdout;
}

test('an application has from each source what its identity is granted, and no key more', async () => {
  await timeUntil('web-0', raw('db', 'password'), ({ body }) => body === VALUES.folder[0]);
  await timeUntil('web-0', raw('pay', 'token'), ({ body }) => body === VALUES.vault[0]);
  assert.equal((await ask('web-0', raw('pay', 'unbound'))).status, 404);
});

test('another identity of the namespace has none of it', async () => {
  assert.equal((await ask('cart-0', raw('db', 'password'))).status, 404);
  assert.equal((await ask('cart-0', raw('pay', 'token'))).status, 404);
});

test('a change in a folder, and one in Vault, is there within five seconds', async () => {
  writeFolder(VALUES.folder[1]);
  vault.put('weft/shop/pay', { token: VALUES.vault[1] });
  const [folder, engine] = await Promise.all([
    timeUntil('web-0', raw('db', 'password'), ({ body }) => body === VALUES.folder[1]),
    timeUntil('web-0', raw('pay', 'token'), ({ body }) => body === VALUES.vault[1]),
  ]);
  assert.ok(folder < CREDENTIAL_MS, `${folder} ms`);
  assert.ok(engine < CREDENTIAL_MS, `${engine} ms`);
});

test('weft credentials status says where a binding is in force, audit who was handed what', async () => {
  const bindings = await eventually(
    async () => {
      const [one] = listOf(JSON.parse(await cli('status', '--json')), 'bindings');
      return one?.['state'] === 'Enforced' ? one : undefined;
    },
    { what: 'that the binding is in force', withinMs: 10_000 },
  );
  assert.deepEqual([bindings['name'], bindings['enforced']], ['web', '1/1']);
  const lines = listOf(JSON.parse(await cli('audit', '--json')), 'lines');
  const handed = lines.filter(
    ({ act, credential }) => act === 'handed-over' && credential === 'db',
  );
  assert.deepEqual(
    [...new Set(handed.flatMap((line) => [line['identity'], line['proxy'], line['binding']]))],
    ['spiffe://cluster.local/ns/shop/sa/web', 'web-0.shop', 'shop/web'],
  );
  assert.ok(new Set(handed.map(({ version }) => version)).size >= 2);
  assert.ok(lines.some(({ act, way }) => act === 'handed-on' && way === 'url'));
  const logged = await lab.controlPlane.line(
    ({ msg, credential }) => msg === 'credential handed over' && credential === 'pay',
    'a line of the log',
  );
  assert.equal(logged['identity'], 'spiffe://cluster.local/ns/shop/sa/web');
});

test('weft policy check finds what is wrong with a binding before anybody applies it', async () => {
  const file = join(lab.root, 'checked.yaml');
  writeFileSync(file, binding('["*"]'));
  const bad = await runWeft(['policy', 'check', file]);
  assert.equal(bad.code, 1, bad.stdout);
  assert.match(bad.stdout, /CredentialBinding shop\/web .*:5\) spec\.serviceAccounts\[0\]/);
  writeFileSync(file, binding('[web]'));
  assert.equal((await runWeft(['policy', 'check', file])).code, 0);
});

test('while Vault is sealed what was read stays, and the status says so', async () => {
  vault.seal(true);
  await lab.problem('it is sealed or in maintenance; what was read last holds', 10_000);
  assert.equal((await ask('web-0', raw('pay', 'token'))).body, VALUES.vault[1]);
  vault.seal(false);
});

test('a withdrawn binding takes all of it away within five seconds; another identity gets it', async () => {
  await lab.write('binding.yaml', binding('[cart]'));
  const [gone, come] = await Promise.all([
    timeUntil('web-0', raw('db', 'password'), ({ status }) => status === 404),
    timeUntil('cart-0', raw('db', 'password'), ({ body }) => body === VALUES.folder[1]),
  ]);
  assert.ok(gone < CREDENTIAL_MS, `${gone} ms`);
  assert.ok(come < CREDENTIAL_MS, `${come} ms`);
  assert.equal((await ask('web-0', raw('pay', 'token'))).status, 404);
});

test('what goes at its source goes at the application', async () => {
  rmSync(join(lab.root, 'files', 'shop', 'db'), { recursive: true });
  await timeUntil('cart-0', raw('db', 'password'), ({ status }) => status === 404);
});

test('no value, token or JWT is in a log, an endpoint, a command or a file of the control plane', async () => {
  const told = [lab.controlPlane.stderr, lab.controlPlane.stdout];
  told.push(web.daemon.stderr, cart.daemon.stderr);
  const paths = ['/metrics', '/v1/credentials', '/v1/credentials/audit', '/v1/problems'];
  for (const path of [...paths, '/v1/policies', '/v1/sessions']) {
    told.push((await call(lab.addresses.admin, path)).body);
  }
  told.push(await cli('status'), await cli('audit'));
  for (const file of filesIn(lab.state)) told.push(readFileSync(file, 'latin1'));
  const secrets = [...VALUES.folder, ...VALUES.vault, JWT, ...vault.tokens];
  for (const secret of secrets) {
    for (const form of [secret, btoa(secret)]) {
      assert.equal(
        told.findIndex((text) => text.includes(form)),
        -1,
        form,
      );
    }
  }
});

test('a change is there within five seconds also where the certificate of the connection has ended since', async () => {
  await using other = await openLab();
  const files = join(other.root, 'files');
  const put = (password: string): void => {
    mkdirSync(join(files, 'shop', 'db'), { recursive: true });
    writeFileSync(join(files, 'shop', 'db', 'password'), password);
  };
  put('one');
  const sources = join(other.root, 'sources.yaml');
  const source = `{ name: files, namespaces: [shop], folder: { path: ${files} } }`;
  writeFileSync(sources, `sources: [${source}]\n`);
  await other.write(
    'binding.yaml',
    binding('[web]').replace('from: vault, path: pay', 'from: files, path: db'),
  );
  await other.startControlPlane({ svidTtl: '10s', args: ['--credential-sources', sources] });
  const socket = join(other.root, 'web.sock');
  const sidecar = await other.startSidecar({
    pod: 'web-1',
    serviceAccount: 'web',
    inbound: { 8080: '127.0.0.1:1' },
    args: ['--credentials-socket', socket],
  });
  const told = (): Promise<Told> => askAt(socket, raw('db', 'password'));
  await eventually(async () => (await told()).body === 'one', { what: 'the credential' });
  const inUse = (): number =>
    sidecar.daemon.lines.filter(({ msg }) => msg === 'certificate in use').length;
  // Each is used for half of its life at most: the first has ended when the fourth is there.
  await eventually(() => inUse() >= 4, { what: 'three renewals', withinMs: 30_000 });
  const startedAt = performance.now();
  put('two');
  await eventually(async () => (await told()).body === 'two', { what: 'it', withinMs: 20_000 });
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < CREDENTIAL_MS, `${tookMs} ms`);
});

const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
