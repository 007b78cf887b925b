import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { parseTrustDomain } from '@weft/model/identity';
import { bytesOf, messageOf, messagesOf, textOf } from '@weft/xds/protocol/fields';
import { decodeMessage, type PlainMessage } from '@weft/xds/registry';
import { pino } from 'pino';
import { createKeeperRig, type KeeperRig } from '../../../test/support/keeper-rig.ts';
import {
  openScriptedControlPlane,
  type ScriptedControlPlane,
} from '../../../test/support/scripted-control-plane.ts';
import { eventually } from '../../../test/support/lab-wait.ts';
import { MetricsRegistry } from '../telemetry/metrics.ts';
import type { WorkloadApiOptions } from './options.ts';
import { WorkloadApi } from './workload-api.ts';

const WEB = 'spiffe://mesh.test/ns/shop/sa/web';
const HOUR_MS = 3_600_000;
const UID = process.getuid?.() ?? 0;
const ALL = { uids: [UID], gids: [], pids: [] };

interface Rig extends AsyncDisposable {
  readonly server: ScriptedControlPlane;
  readonly keeper: KeeperRig;
  readonly api: WorkloadApi;
  readonly path: string;
  readonly told: () => string;
  /** Until this many changes of the application's certificate. */
  changes(count: number): Promise<void>;
}

async function createRig({
  allowed = ALL,
  starts = true,
  prepare,
}: {
  readonly allowed?: WorkloadApiOptions['allowed'];
  readonly starts?: boolean;
  readonly prepare?: (path: string) => Promise<void>;
} = {}): Promise<Rig> {
  await using making = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-api-'));
  making.defer(() => rm(folder, { recursive: true, force: true }));
  const server = making.use(await openScriptedControlPlane());
  let follow: WorkloadApi['follow'] = () => undefined;
  const keeper = making.use(createKeeperRig(server, { onChange: (svid) => follow(svid) }));
  const lines: string[] = [];
  const metrics = new MetricsRegistry();
  const path = join(folder, 'api.sock');
  await prepare?.(path);
  let count = 0;
  const trustDomain = parseTrustDomain('mesh.test');
  assert.ok(trustDomain);
  const api = making.use(
    await WorkloadApi.open({
      api: { path, mode: 0o660, owner: undefined, allowed },
      connect: () => keeper.keeper.connect(),
      trustDomain,
      namespace: 'shop',
      metrics,
      onChange: () => count++,
      clock: keeper.clock,
      random: () => 0.999,
      log: pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) }),
    }),
  );
  follow = (svid) => api.follow(svid);
  const changes = async (wanted: number): Promise<void> => {
    await eventually(() => count >= wanted, {
      what: `change ${wanted}`,
      told: () => lines.join(''),
    });
  };
  if (starts) {
    await keeper.start();
    await changes(1);
  }
  const owned = making.move();
  const told = (): string => lines.join('') + metrics.expose();
  return {
    server,
    keeper,
    api,
    path,
    told,
    changes,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const HEADER = { 'workload.spiffe.io': 'true' };

interface Calling extends Disposable {
  readonly answers: readonly PlainMessage[];
  answered(count: number): Promise<PlainMessage>;
  failed(): Promise<ServiceError>;
}

function callApi(
  path: string,
  method: string,
  headers: Readonly<Record<string, string>> = HEADER,
  request: Buffer = Buffer.alloc(0),
): Calling {
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const type = method === 'FetchX509SVID' ? 'X509SVIDResponse' : 'X509BundlesResponse';
  const answers: PlainMessage[] = [];
  let failure: ServiceError | undefined;
  const call = client.makeServerStreamRequest(
    `/SpiffeWorkloadAPI/${method}`,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => decodeMessage(type, bytes),
    request,
    metadata,
  );
  call.on('data', (message: PlainMessage) => answers.push(message));
  call.on('error', (error: ServiceError) => (failure = error));
  return {
    answers,
    answered: (count) => eventually(() => answers[count - 1], { what: `answer ${count}` }),
    failed: () => eventually(() => failure, { what: 'the failure' }),
    [Symbol.dispose]() {
      call.cancel();
      client.close();
    },
  };
}

const svidIn = (answer: PlainMessage): PlainMessage => {
  const [svid, ...more] = messagesOf(answer, 'svids');
  assert.ok(svid !== undefined && more.length === 0);
  return svid;
};

test('FetchX509SVID gives the identity with a key of its own, and again at each rotation', async () => {
  await using rig = await createRig();
  using call = callApi(rig.path, 'FetchX509SVID');
  const first = svidIn(await call.answered(1));
  assert.equal(textOf(first, 'spiffe_id'), WEB);
  const chain = Buffer.from(bytesOf(first, 'x509_svid'));
  const leaf = new X509Certificate(chain);
  const der = Buffer.from(bytesOf(first, 'x509_svid_key'));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  assert.ok(leaf.checkPrivateKey(key));
  const own = rig.keeper.keeper.svid;
  assert.ok(own !== undefined && !leaf.checkPrivateKey(createPrivateKey(own.keyPem)));
  assert.ok(chain.length > leaf.raw.length, 'the issuing CA goes with it');
  const root = new X509Certificate(own.bundlePem);
  assert.deepEqual(Buffer.from(bytesOf(first, 'bundle')), root.raw);

  rig.keeper.clock.turn(0.5 * HOUR_MS);
  const second = svidIn(await call.answered(2));
  assert.notDeepEqual(bytesOf(second, 'x509_svid'), bytesOf(first, 'x509_svid'));
  assert.notDeepEqual(bytesOf(second, 'x509_svid_key'), bytesOf(first, 'x509_svid_key'));
  assert.equal(rig.server.tokens.length, 1, 'no token is used for it');
});

test('another bundle is pushed to those who follow it, with the same certificate', async () => {
  await using rig = await createRig();
  using svids = callApi(rig.path, 'FetchX509SVID');
  using bundles = callApi(rig.path, 'FetchX509Bundles');
  const before = messageOf(await bundles.answered(1), 'bundles')?.['spiffe://mesh.test'];
  const first = svidIn(await svids.answered(1));
  await using other = await openScriptedControlPlane();
  const both = rig.server.authority.bundle().pem + other.authority.bundle().pem;
  rig.keeper.keeper.setBundle(both);
  const after = messageOf(await bundles.answered(2), 'bundles')?.['spiffe://mesh.test'];
  const second = svidIn(await svids.answered(2));
  assert.ok(before instanceof Uint8Array && after instanceof Uint8Array);
  assert.ok(after.length > before.length);
  assert.deepEqual(bytesOf(second, 'bundle'), after);
  assert.deepEqual(bytesOf(second, 'x509_svid'), bytesOf(first, 'x509_svid'));
});

test('a renewal is no news to those who follow bundles alone', async () => {
  await using rig = await createRig();
  using bundles = callApi(rig.path, 'FetchX509Bundles');
  await bundles.answered(1);
  rig.keeper.clock.turn(0.5 * HOUR_MS);
  await rig.changes(2);
  using again = callApi(rig.path, 'FetchX509SVID');
  await again.answered(1);
  assert.equal(bundles.answers.length, 1);
});

test('no answer, log line or metric but the answer for it has a key in it', async () => {
  await using rig = await createRig();
  using call = callApi(rig.path, 'FetchX509SVID');
  const der = Buffer.from(bytesOf(svidIn(await call.answered(1)), 'x509_svid_key'));
  using bundles = callApi(rig.path, 'FetchX509Bundles');
  const others = JSON.stringify(await bundles.answered(1)) + rig.told();
  for (const form of ['base64', 'hex'] as const) assert.ok(!others.includes(der.toString(form)));
  assert.ok(!others.includes('PRIVATE KEY'));
  assert.match(rig.told(), /handed over/);
});

for (const [what, method, headers, code] of [
  ['without the security header', 'FetchX509SVID', {}, status.INVALID_ARGUMENT],
  [
    'with another value of it',
    'FetchX509SVID',
    { 'workload.spiffe.io': 'TRUE' },
    status.INVALID_ARGUMENT,
  ],
  ['of a method that is not served', 'FetchSecrets', HEADER, status.UNIMPLEMENTED],
] as const) {
  test(`a call ${what} is refused with ${status[code]}, and counted`, async () => {
    await using rig = await createRig();
    using call = callApi(rig.path, method, headers);
    assert.equal((await call.failed()).code, code);
    assert.deepEqual(call.answers, []);
    assert.match(rig.told(), /weft_workload_api_refused_total\{reason="[a-z-]+"\} 1/);
  });
}

test('a request that is too long is refused', async () => {
  await using rig = await createRig();
  using call = callApi(rig.path, 'FetchX509SVID', HEADER, Buffer.alloc(20_000));
  assert.equal((await call.failed()).code, status.RESOURCE_EXHAUSTED);
});

test('who is not allowed gets nothing, whatever it says of itself, and learns no method', async () => {
  await using rig = await createRig({ allowed: { ...ALL, uids: [UID + 1] } });
  for (const method of ['FetchX509SVID', 'FetchX509Bundles', 'FetchSecrets']) {
    using call = callApi(rig.path, method, { ...HEADER, 'x-uid': String(UID + 1) });
    const { code, details } = await call.failed();
    assert.equal(code, status.PERMISSION_DENIED);
    assert.ok(details.startsWith(`uid ${UID} `), details);
  }
  assert.match(rig.told(), /refused_total\{reason="not-attested"\} 3/);
  assert.doesNotMatch(rig.told(), /handed over/);
});

test('strangers are eight at a time, and keep nobody out', async () => {
  await using rig = await createRig({ allowed: { ...ALL, uids: [UID + 1] } });
  const sockets: Socket[] = [];
  for (let count = 0; count < 8; count++) {
    const socket = connect(rig.path);
    sockets.push(socket);
    await once(socket, 'data');
  }
  const ninth = connect(rig.path);
  await once(ninth, 'close');
  for (const socket of sockets) socket.destroy();
  assert.match(rig.told(), /refused_total\{reason="too-many"\} 1/);
});

test('before there is a certificate, and when it has expired, callers are told to come again', async () => {
  await using rig = await createRig({ starts: false });
  using early = callApi(rig.path, 'FetchX509SVID');
  assert.equal((await early.failed()).code, status.UNAVAILABLE);
  assert.deepEqual(rig.api.reasons, ['no certificate for the workload API']);
  await rig.keeper.start();
  await rig.changes(1);
  assert.deepEqual(rig.api.reasons, []);
  rig.server.onRenew = () => undefined;
  rig.server.onEnrol = () => ({});
  rig.keeper.clock.turn(2 * HOUR_MS);
  using late = callApi(rig.path, 'FetchX509SVID');
  assert.equal((await late.failed()).code, status.UNAVAILABLE);
});

test('a certificate of another identity or another root is refused, and asked for again', async () => {
  await using rig = await createRig({ starts: false });
  await using other = await openScriptedControlPlane();
  const answers = [
    (csr: Uint8Array) => ({ svid: rig.server.svid(csr, 'shop/admin') }),
    (csr: Uint8Array) => ({ svid: other.svid(csr) }),
    (csr: Uint8Array) => ({ svid: rig.server.svid(csr) }),
  ];
  let asked = 0;
  rig.server.onRenew = (csr) => answers[asked++]?.(csr);
  await rig.keeper.start();
  for (const [index, reason] of [/for .*admin/, /no root of the bundle/].entries()) {
    await eventually(() => asked === index + 1 && reason.test(rig.api.reasons.join()), {
      what: `refusal ${index + 1}`,
    });
    rig.keeper.clock.turn(1_000 * 2 ** index);
  }
  await rig.changes(1);
  using call = callApi(rig.path, 'FetchX509SVID');
  assert.equal(textOf(svidIn(await call.answered(1)), 'spiffe_id'), WEB);
});

test('the socket has its mode, takes the place of an abandoned one, and goes with the sidecar', async () => {
  const rig = await createRig({
    async prepare(path) {
      const bind = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log(1))`;
      const child = spawn(process.execPath, ['-e', bind], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      child.kill('SIGKILL');
      await once(child, 'close');
      assert.ok(existsSync(path));
    },
  });
  assert.equal(statSync(rig.path).mode & 0o777, 0o660);
  using call = callApi(rig.path, 'FetchX509SVID');
  await call.answered(1);
  rig.api[Symbol.dispose]();
  assert.equal(existsSync(rig.path), false);
  await call.failed();
  await rig[Symbol.asyncDispose]();
});

test('what is no socket, and a socket that somebody answers, are left alone', async () => {
  const file = createRig({ prepare: (path) => writeFile(path, 'mine') });
  await assert.rejects(file, /something else is there/);
  const server = createServer();
  const used = createRig({
    async prepare(path) {
      server.listen(path);
      await once(server, 'listening');
    },
  });
  await assert.rejects(used, /another process does/);
  server.close();
});

test('bytes that are no HTTP/2, and callers who go while they are told, end nothing', async () => {
  await using rig = await createRig();
  const garbage = connect(rig.path);
  garbage.on('error', () => undefined);
  garbage.end('GET / HTTP/1.1\r\n\r\n');
  garbage.resume();
  await once(garbage, 'close');
  const leaving = callApi(rig.path, 'FetchX509SVID');
  await leaving.answered(1);
  leaving[Symbol.dispose]();
  await eventually(() => rig.told().includes('weft_workload_api_calls 0'), { what: 'its end' });
  rig.keeper.clock.turn(0.5 * HOUR_MS);
  await rig.changes(2);
  using call = callApi(rig.path, 'FetchX509SVID');
  await call.answered(1);
});
