// Credentials in a mesh: handed over by identity in each way, rotated within 5 s, taken away with the grant, and seen nowhere else.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { call, echoed, startHttpApp } from '../support/lab-clients.ts';
import { modeYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, openLab } from '../support/lab.ts';

const MEMORY = '/dev/shm';
const skip = existsSync(MEMORY) ? false : `${MEMORY} is not there: no folder is in memory`;
/** What everyone entitled has to have a new value within. */
const ROTATION_MS = 5_000;

const SOURCES = (folder: string): string =>
  `sources:\n  - { name: vaulted, namespaces: [shop], layout: shared, folder: { path: ${folder} } }\n`;

const BINDING = `apiVersion: security.weft.dev/v1
kind: CredentialBinding
metadata: { name: web, namespace: shop }
spec:
  serviceAccounts: [web]
  credentials:
    - name: db
      source: { from: vaulted, path: db }
      ways: [url, files]
    - name: prices
      source: { from: vaulted, path: prices }
      ways: [inject]
      inject:
        - hosts: [prices.shop.svc.cluster.local]
          bearer: { key: token }
        - hosts: [stock.shop.svc.cluster.local]
          header: { name: X-Api-Key, key: token, prefix: 'Key ' }
        - hosts: ['legacy.shop.svc.cluster.local:80']
          basic: { userKey: user, passwordKey: token }
`;

interface Mesh extends AsyncDisposable {
  readonly lab: Lab;
  readonly web: LabSidecar;
  readonly folder: string;
  readonly socket: string;
  readonly files: string;
  /** Writes a value as an operator would: at once. */
  put(place: string, values: Readonly<Record<string, string>>): Promise<void>;
}

/** The source and the deliveries are in memory: whatever is found on the disk is a leak. */
async function createMesh(outbound: readonly string[] = []): Promise<Mesh> {
  await using making = new AsyncDisposableStack();
  const memory = await mkdtemp(join(MEMORY, 'weft-credentials-'));
  making.defer(() => rm(memory, { recursive: true, force: true }));
  const folder = join(memory, 'source');
  const files = join(memory, 'files');
  for (const path of [folder, files]) await mkdir(path);
  const put: Mesh['put'] = async (place, values) => {
    await mkdir(join(folder, place), { recursive: true });
    for (const [key, value] of Object.entries(values)) {
      await writeFile(join(memory, 'new'), value);
      await rename(join(memory, 'new'), join(folder, place, key));
    }
  };
  await put('db', { user: 'shop', password: 's3cret-db-1' });
  await put('prices', { user: 'weft', token: 's3cret-token-1' });
  const lab = making.use(await openLab());
  const sources = join(lab.root, 'sources.yaml');
  await writeFile(sources, SOURCES(folder));
  await lab.startControlPlane({ args: ['--credential-sources', sources] });
  const socket = join(memory, 'credentials.sock');
  const web = await lab.startSidecar({
    pod: 'web-0',
    outbound,
    outboundHttp: true,
    args: ['--credentials-socket', socket, '--credentials-dir', files, '--access-log', 'all'],
  });
  const owned = making.move();
  return {
    lab,
    web,
    folder,
    socket,
    files,
    put,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Asked {
  readonly status: number;
  readonly body: string;
}

function ask(socketPath: string, path: string): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      { socketPath, path: `/v1/credentials${path}`, agent: false },
      (answer) => {
        let body = '';
        answer.on('data', (chunk: Buffer) => (body += chunk.toString()));
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
      },
    );
    request.on('error', reject);
  });
}

const granted = (mesh: Mesh): Promise<Asked> =>
  eventually(
    async () => {
      const answer = await ask(mesh.socket, '/db');
      return answer.status === 200 && answer;
    },
    { what: 'the grant', told: () => mesh.web.daemon.tail() },
  );

test('URL and files follow binding and source: granted, rotated, withdrawn, each within 5 s', {
  skip,
}, async () => {
  await using mesh = await createMesh();
  assert.equal((await ask(mesh.socket, '/db')).status, 404, 'nothing is granted without a binding');
  assert.deepEqual(await readdir(join(mesh.files, '..data')), []);
  await mesh.lab.write('binding.yaml', BINDING);
  const first = JSON.parse((await granted(mesh)).body) as Record<string, unknown>;
  assert.deepEqual(first['values'], { user: 'shop', password: 's3cret-db-1' });
  const file = join(mesh.files, 'db', 'password');
  await eventually(() => existsSync(file), { what: 'the file' });
  assert.equal(readFileSync(file, 'utf8'), 's3cret-db-1');
  await eventually(async () => (await ask(mesh.socket, '/prices')).status === 403, {
    what: 'the refusal of what is injected alone',
  });
  assert.equal(existsSync(join(mesh.files, 'prices')), false);

  const waiting = ask(mesh.socket, `/db?after=${String(first['version'])}`);
  const before = performance.now();
  await mesh.put('db', { password: 's3cret-db-2' });
  const changed = await waiting;
  assert.match(changed.body, /s3cret-db-2/);
  await eventually(() => readFileSync(file, 'utf8') === 's3cret-db-2', { what: 'the new file' });
  assert.ok(performance.now() - before < ROTATION_MS);

  await mesh.lab.remove('binding.yaml');
  await eventually(async () => (await ask(mesh.socket, '/db')).status === 404, {
    what: 'the withdrawal at the URL',
    withinMs: ROTATION_MS,
  });
  await eventually(() => !existsSync(join(mesh.files, 'db')), {
    what: 'the withdrawal of the files',
    withinMs: ROTATION_MS,
  });
});

test('requests are given the credential over HTTP/1 and HTTP/2, whatever the application sent under its name', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  const app = owned.use(await startHttpApp());
  const mesh = owned.use(await createMesh(['prices.shop:80', 'grpc.shop:80']));
  const { lab, web } = mesh;
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  for (const pod of ['prices-0', 'stock-0', 'legacy-0', 'other-0']) {
    await lab.startSidecar({ pod, inbound: { 8080: app.address }, service });
  }
  const headersAt = async (host: string, headers: http.OutgoingHttpHeaders = {}) =>
    echoed(await call(web.http, '/', { headers: { host, ...headers } })).headers;
  assert.equal((await headersAt('prices.shop'))['authorization'], undefined, 'before the grant');
  await lab.write('binding.yaml', BINDING);
  await granted(mesh);
  // Values and what is done with them come by two streams, in no order.
  await eventually(
    async () => (await headersAt('prices.shop'))['authorization'] === 'Bearer s3cret-token-1',
    { what: 'the token in a request', withinMs: ROTATION_MS },
  );
  assert.equal((await headersAt('stock.shop'))['x-api-key'], 'Key s3cret-token-1');
  const basic = Buffer.from('weft:s3cret-token-1').toString('base64');
  assert.equal((await headersAt('legacy.shop'))['authorization'], `Basic ${basic}`);
  const other = await headersAt('other.shop', { authorization: 'Bearer own' });
  assert.equal(other['authorization'], 'Bearer own', 'what is not injected is left alone');
  const own = { 'X-API-Key': 'own', x_api_key: 'own too', connection: 'x-api-key' };
  const replaced = await headersAt('stock.shop', own);
  assert.equal(replaced['x-api-key'], 'Key s3cret-token-1');
  assert.equal(replaced['x_api_key'], undefined);
  const direct = await call(web.via('prices.shop:80'), '/', { headers: { host: 'evil.example' } });
  assert.equal(echoed(direct).headers['authorization'], 'Bearer s3cret-token-1', 'by destination');
  await mesh.put('prices', { token: 's3cret-token-2' });
  await eventually(
    async () => (await headersAt('prices.shop'))['authorization'] === 'Bearer s3cret-token-2',
    { what: 'the rotated token in a request', withinMs: ROTATION_MS },
  );
  await lab.remove('binding.yaml');
  await eventually(async () => (await headersAt('prices.shop'))['authorization'] === undefined, {
    what: 'requests without the withdrawn token',
    withinMs: ROTATION_MS,
  });
});

test('HTTP/2 streams are given the credential, each anew, and no table keeps it', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200 });
    const { authorization = 'none', 'x-own': own = 'none', 'x-api-key': key = 'none' } = headers;
    /** Names that came never-indexed. */
    const secrets: unknown = Reflect.get(headers, http2.sensitiveHeaders);
    const names = Array.isArray(secrets) ? secrets.map(String) : [];
    stream.end([authorization, own, key, ...names].join(' '));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  owned.defer(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const mesh = owned.use(await createMesh(['prices.shop:80', 'stock.shop:80']));
  const { lab, web } = mesh;
  const service = [{ name: 'http2', port: 80, targetPort: 8080 }];
  for (const pod of ['prices-0', 'stock-0']) {
    await lab.startSidecar({ pod, inbound: { 8080: `127.0.0.1:${port}` }, service });
  }
  await lab.write('binding.yaml', BINDING);
  await granted(mesh);
  const open = (service: string): http2.ClientHttp2Session => {
    const session = http2.connect(`http://${web.via(service)}`);
    owned.defer(() => session.destroy());
    return session.on('error', () => undefined);
  };
  const prices = open('prices.shop:80');
  const answer = async (session = prices): Promise<string> => {
    const stream = session.request({ ':path': '/', authorization: 'Bearer own', 'x-own': 'kept' });
    let body = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => (body += text));
    await once(stream, 'end');
    return body;
  };
  const answers = (token: string) => async () =>
    (await answer()) === `Bearer ${token} kept none authorization`;
  await eventually(answers('s3cret-token-1'), { what: 'the token', withinMs: ROTATION_MS });
  const stock = open('stock.shop:80');
  for (const tried of ['first', 'second']) {
    const said = await answer(stock);
    assert.equal(said, 'Bearer own kept Key s3cret-token-1 authorization x-api-key', tried);
  }
  await mesh.put('prices', { token: 's3cret-token-2' });
  const what = 'the rotated token on the same connection';
  await eventually(answers('s3cret-token-2'), { what, withinMs: ROTATION_MS });
});

test('a credential goes to nobody without TLS, unless its binding allows it', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  const app = owned.use(await startHttpApp());
  const mesh = owned.use(await createMesh());
  const { lab, web } = mesh;
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  await lab.startSidecar({ pod: 'prices-0', inbound: { 8080: app.address }, service });
  await lab.write('mode.yaml', modeYaml('DISABLE', 'prices'));
  const headers = { host: 'prices.shop' };
  await eventually(async () => (await call(web.http, '/', { headers })).status === 200, {
    what: 'the service',
  });
  await lab.write('binding.yaml', BINDING);
  await granted(mesh);
  const refused = await eventually(
    async () => {
      const answer = await call(web.http, '/', { headers });
      return answer.status === 503 && answer;
    },
    { what: 'the refusal' },
  );
  assert.equal(refused.body, 'credential-needs-tls\n');
  assert.ok((await web.metric('weft_credentials_refused_total', 'reason="needs-tls"')) >= 1);
  const allowed = BINDING.replace(
    'bearer: { key: token }',
    'bearer: { key: token }\n          allowPlaintext: true',
  );
  await lab.write('binding.yaml', allowed);
  await eventually(
    async () => {
      const answer = await call(web.http, '/', { headers });
      return (
        answer.status === 200 && echoed(answer).headers['authorization'] === 'Bearer s3cret-token-1'
      );
    },
    { what: 'the credential, in the clear by its binding' },
  );
});

/** What the admin port says. */
const TOLD = ['/config_dump', '/clusters', '/certs', '/metrics', '/denials', '/dry-run', '/ready'];
const injected = (entry: Readonly<Record<string, unknown>>): boolean =>
  entry['credential'] === 'prices' && entry['way'] === 'injected';

test('values are in no log, dump, metric, argument, environment or file of Weft', {
  skip,
}, async () => {
  await using owned = new AsyncDisposableStack();
  /** Tells that it was asked, and not what with: its own sidecar's logs are searched as well. */
  const app = owned.use(await startHttpApp({ handle: (_request, response) => response.end('ok') }));
  const mesh = owned.use(await createMesh());
  const { lab, web } = mesh;
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const prices = await lab.startSidecar({
    pod: 'prices-0',
    inbound: { 8080: app.address },
    service,
    args: ['--access-log', 'all'],
  });
  await lab.write('binding.yaml', BINDING);
  await granted(mesh);
  // Values come one by one: the first calls may be without.
  await eventually(
    async () => {
      const answer = await call(web.http, '/', { headers: { host: 'prices.shop' } });
      assert.equal(answer.status, 200);
      return web.daemon.lines.some(injected);
    },
    { what: 'an injected credential' },
  );
  await mesh.put('db', { password: 's3cret-db-2' });
  await eventually(async () => (await ask(mesh.socket, '/db')).body.includes('s3cret-db-2'), {
    what: 'a rotation',
  });
  const said: [string, string][] = [];
  for (const sidecar of [web, prices]) {
    for (const path of TOLD) {
      said.push([path, (await sidecar.ask(path)).body]);
    }
  }
  for (const path of [
    '/v1/status',
    '/v1/policies',
    '/v1/problems',
    '/metrics',
    '/v1/config-dump',
  ]) {
    said.push([path, (await call(lab.addresses.admin, path)).body]);
  }
  for (const daemon of [web.daemon, prices.daemon, lab.controlPlane]) {
    said.push([`${daemon.name} said`, daemon.stdout + daemon.stderr]);
    for (const file of ['cmdline', 'environ']) {
      said.push([`${daemon.name} ${file}`, readFileSync(`/proc/${daemon.pid}/${file}`, 'latin1')]);
    }
  }
  for (const entry of await readdir(lab.root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    said.push([path, await readFile(path, 'latin1')]);
  }
  assert.ok(said.length > 20);
  const secrets = ['s3cret', Buffer.from('s3cret-db-1').toString('base64')];
  for (const [where, text] of said) {
    for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is in ${where}`);
  }
  const dump = said.find(([path]) => path === '/config_dump')?.[1] ?? '';
  assert.match(dump, /"name": "db"/, 'names and versions are shown');
  const line = await web.daemon.line(
    (entry) => entry['msg'] === 'credential handed over' && entry['way'] === 'url',
    'the audit of the URL',
  );
  assert.equal(line['credential'], 'db');
  assert.match(String(line['receiver']), /^uid \d+ gid \d+ pid \d+$/);
  assert.equal(line['identity'], web.spiffeId);
  assert.equal(
    (await web.daemon.line(injected, 'the audit of the injection'))['receiver'],
    'outbound|80||prices.shop.svc.cluster.local',
  );
  const onward = await lab.controlPlane.line(
    (entry) => entry['msg'] === 'credential handed on',
    "the control plane's audit of what was handed on",
  );
  assert.equal(onward['identity'], web.spiffeId);
});

test('while the control plane is away credentials stay, and what was withdrawn meanwhile goes', {
  skip,
}, async () => {
  await using mesh = await createMesh();
  const { lab } = mesh;
  await lab.write('binding.yaml', BINDING);
  await granted(mesh);
  await lab.controlPlane.stop();
  assert.equal((await ask(mesh.socket, '/db')).status, 200);
  await lab.remove('binding.yaml');
  const sources = join(lab.root, 'sources.yaml');
  await lab.startControlPlane({ args: ['--credential-sources', sources] });
  await eventually(async () => (await ask(mesh.socket, '/db')).status === 404, {
    what: 'the withdrawal',
    withinMs: 10_000,
  });
});
