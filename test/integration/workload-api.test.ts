// The Workload API, judged by SPIFFE's own libraries: identities are fetched, watched through rotations, and good for mutual TLS with each other and with a sidecar.
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { PlainObject } from '@weft/model/policy/reader';
import { createLocalJWKSet, type JWK, jwtVerify } from 'jose';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { modeYaml, podYaml, serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import {
  goSpiffe,
  pySpiffe,
  SpiffeProcess,
  type SpiffeProgram,
} from '../support/spiffe-programs.ts';

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const PRICES = 'spiffe://cluster.local/ns/shop/sa/prices';

const programs = {
  'go-spiffe': { missing: 'it was not built' } as SpiffeProgram,
  'py-spiffe': { missing: 'it was not fetched' } as SpiffeProgram,
};
const NAMES = ['go-spiffe', 'py-spiffe'] as const;

before(async () => {
  programs['go-spiffe'] = await goSpiffe();
  programs['py-spiffe'] = await pySpiffe();
});

interface Workload {
  readonly sidecar: LabSidecar;
  readonly socket: string;
}

async function startWorkload(
  lab: Lab,
  pod: string,
  args: readonly string[] = [],
): Promise<Workload> {
  const socket = join(lab.root, `${pod}.sock`);
  const api = ['--workload-api', `unix:${socket}`, ...args];
  return { socket, sidecar: await lab.startSidecar({ pod, args: api }) };
}

/** What one line says, and nothing went wrong. */
async function ask(program: readonly string[], socket: string): Promise<PlainObject> {
  await using process = new SpiffeProcess(program, socket);
  const said = await process.heard(1);
  assert.equal(await process.ended(), 0, process.complaint);
  return said;
}

for (const name of NAMES) {
  test(`${name} fetches the identity and the bundle, with a key that is not the sidecar's`, async (t) => {
    const program = programs[name];
    if ('missing' in program) return t.skip(program.missing);
    await using lab = await startLab();
    const { socket, sidecar } = await startWorkload(lab, 'web-0');
    const said = await ask([...program.argv, 'fetch'], socket);
    assert.equal(said['spiffeId'], WEB);
    assert.deepEqual([said['roots'], said['bundles']], [1, 1]);
    const { certificate } = (await sidecar.askJson('/certs')) as {
      readonly certificate: PlainObject;
    };
    assert.notEqual(said['serial'], certificate['serial']);
    assert.ok((await sidecar.metric('weft_workload_api_handed_over_total')) >= 2);
    assert.equal(statSync(socket).mode & 0o777, 0o660);
    await sidecar.daemon.stop();
    assert.equal(existsSync(socket), false, 'the socket is gone with its sidecar');
  });
}

test('go-spiffe and py-spiffe watch the identity through renewals and a rotation of the root', async (t) => {
  const found = NAMES.map((name) => programs[name]).filter((program) => 'argv' in program);
  if (found.length === 0) return t.skip('neither of them is there');
  await using lab = await startLab({ svidTtl: '10s' });
  const { socket } = await startWorkload(lab, 'web-0');
  await using watching = new AsyncDisposableStack();
  const watchers = found.map(({ argv }) =>
    watching.use(new SpiffeProcess([...argv, 'watch'], socket)),
  );
  for (const watcher of watchers) {
    await watcher.heard(3);
    const serials = watcher.said.map(({ serial }) => serial);
    assert.equal(new Set(serials).size, serials.length, 'each of them is another certificate');
  }
  const { code, stderr } = await runWeft(['ca', 'rotate', '--state-dir', lab.state]);
  assert.equal(code, 0, stderr);
  const newest = (): readonly unknown[] => watchers.map(({ said }) => said.at(-1)?.['roots']);
  for (const roots of [2, 1]) {
    const hasCome = (): boolean => newest().every((count) => count === roots);
    await eventually(hasCome, { what: `${roots} roots`, withinMs: 60_000 });
  }
  for (const { said } of watchers) {
    assert.deepEqual(new Set(said.map(({ spiffeId }) => spiffeId)), new Set([WEB]));
  }
});

test('programs with go-spiffe and py-spiffe call each other over mutual TLS, and nobody else', async (t) => {
  const [go, py] = NAMES.map((name) => programs[name]);
  if (go === undefined || 'missing' in go) return t.skip(go?.missing);
  await using lab = await startLab();
  const web = await startWorkload(lab, 'web-0');
  const prices = await startWorkload(lab, 'prices-0');
  await using server = new SpiffeProcess([...go.argv, 'serve', WEB], prices.socket);
  const address = String((await server.heard(1))['address']);
  const answer = await ask([...go.argv, 'call', address, PRICES, 'http/1.1'], web.socket);
  assert.deepEqual(answer, { status: 200, body: `you are ${WEB}` });
  await using other = new SpiffeProcess(
    [...go.argv, 'call', address, PRICES, 'http/1.1'],
    prices.socket,
  );
  assert.equal(await other.ended(), 1);
  assert.match(other.complaint, /bad certificate/);
  if (py === undefined || 'missing' in py) return t.skip(py?.missing);
  const second = await ask([...py.argv, 'call', address, PRICES], web.socket);
  assert.deepEqual(second, { body: `you are ${WEB}` });
});

test('a program with go-spiffe calls a workload behind a sidecar, and is who the API said', async (t) => {
  const go = programs['go-spiffe'];
  if ('missing' in go) return t.skip(go.missing);
  await using app = await startHttpApp();
  await using lab = await startLab();
  await lab.write('mode.yaml', modeYaml('STRICT'));
  const prices = await lab.startSidecar({
    pod: 'prices-0',
    inbound: { 8080: app.address },
    args: ['--access-log', 'all'],
  });
  const { socket } = await startWorkload(lab, 'web-0');
  const front = prices.front(8080);
  const answer = await ask([...go.argv, 'call', front, PRICES, 'weft-http/1.1'], socket);
  assert.equal(answer['status'], 200);
  await prices.access((line) => line['source'] === WEB, 'the call of the program');
});

test('a sidecar calls a program with go-spiffe that has no proxy before it, and each knows the other', async (t) => {
  const go = programs['go-spiffe'];
  if ('missing' in go) return t.skip(go.missing);
  await using lab = await startLab();
  const podIp = lab.nextIp();
  await lab.write(
    'prices.yaml',
    podYaml({ name: 'prices-0', ip: podIp, ports: [8080] }),
    serviceYaml({ name: 'prices', ports: [{ name: 'http', port: 80, targetPort: 8080 }] }),
  );
  const socket = join(lab.root, 'prices.sock');
  await lab.startSidecar({
    pod: 'prices-0',
    podIp,
    manifest: false,
    args: ['--workload-api', `unix:${socket}`],
  });
  const program = [...go.argv, 'serve', WEB, `${podIp}:8080`, 'weft-http/1.1'];
  await using server = new SpiffeProcess(program, socket);
  await server.heard(1);
  const web = await lab.startSidecar({ pod: 'web-0', outbound: ['prices.shop:80'] });
  const answer = await call(web.via('prices.shop:80'), '/');
  assert.deepEqual([answer.status, answer.body], [200, `you are ${WEB}`]);
  const bank = await lab.startSidecar({ pod: 'bank-0', outbound: ['prices.shop:80'] });
  assert.equal((await call(bank.via('prices.shop:80'), '/')).status, 503);
});

for (const name of NAMES) {
  test(`${name} fetches a JWT SVID, which the API, the library and a stranger with the published keys find good`, async (t) => {
    const program = programs[name];
    if ('missing' in program) return t.skip(program.missing);
    await using lab = await startLab({ args: ['--token-issuer', 'https://tokens.example.com'] });
    const { socket, sidecar } = await startWorkload(lab, 'web-0');
    const said = await ask([...program.argv, 'token', 'https://vault.example.com'], socket);
    assert.equal(said['judged'], WEB);
    const { issuer, jwks_uri: keysAt } = await lab.ask('/.well-known/openid-configuration');
    assert.deepEqual(
      [issuer, keysAt],
      ['https://tokens.example.com', 'https://tokens.example.com/keys'],
    );
    const keys = (await lab.ask('/keys')) as { readonly keys: JWK[] } & PlainObject;
    assert.ok(!JSON.stringify(keys).includes('"d"'));
    const token = String(said['token']);
    const options = { issuer: 'https://tokens.example.com', audience: 'https://vault.example.com' };
    const { payload } = await jwtVerify(token, createLocalJWKSet(keys), options);
    assert.equal(payload.sub, WEB);
    assert.ok(payload.exp !== undefined && payload.exp - Date.now() / 1_000 <= 300);
    assert.ok(!lab.controlPlane.tail().includes(token) && !sidecar.daemon.tail().includes(token));

    await lab.controlPlane.stop();
    await lab.startControlPlane({ args: ['--token-issuer', 'https://tokens.example.com'] });
    assert.deepEqual(await lab.ask('/keys'), keys, 'the keys outlive the control plane');
  });
}

test('who is not allowed gets no identity, is told so, and is counted', async (t) => {
  const go = programs['go-spiffe'];
  if ('missing' in go) return t.skip(go.missing);
  await using lab = await startLab();
  const nobody = String((process.getuid?.() ?? 0) + 1);
  const { socket, sidecar } = await startWorkload(lab, 'web-0', [
    '--workload-api-allow',
    `uid=${nobody}`,
  ]);
  await using asking = new SpiffeProcess([...go.argv, 'fetch'], socket);
  assert.equal(await asking.ended(), 1);
  assert.match(asking.complaint, /PermissionDenied/);
  assert.equal(await sidecar.metric('weft_workload_api_refused_total', 'not-attested'), 1);
  assert.equal(await sidecar.metric('weft_workload_api_handed_over_total'), 0);
});
