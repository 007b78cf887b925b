// SDS of the agent: who gets the key, when, and that it is nowhere else.
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { parseTrustDomain } from '@weft/model/identity';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { bytesOf, messageOf, messagesOf, textOf } from '@weft/xds/protocol/fields';
import { decodeMessage, type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import { pino } from 'pino';
import { createKeeperRig } from '../../../test/support/keeper-rig.ts';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { eventually } from '../../../test/support/lab-wait.ts';
import { openScriptedControlPlane } from '../../../test/support/scripted-control-plane.ts';
import { MetricsRegistry } from '../telemetry/metrics.ts';
import { createAgentMetrics } from './agent-metrics.ts';
import { LocalServer } from './local-server.ts';
import { SdsServer } from './sds-server.ts';

const UID = process.getuid?.() ?? 0;
const SECRET = 'envoy.extensions.transport_sockets.tls.v3.Secret';

async function createRig({ uids = [UID] }: { readonly uids?: readonly number[] } = {}) {
  await using making = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-sds-'));
  making.defer(() => rm(folder, { recursive: true, force: true }));
  const server = making.use(await openScriptedControlPlane());
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const registry = new MetricsRegistry();
  const metrics = createAgentMetrics(registry);
  const sds = making.use(new SdsServer({ metrics, log }));
  const keeper = making.use(createKeeperRig(server, { onChange: (svid) => sds.follow(svid) }));
  const path = join(folder, 'agent.sock');
  const socket = { path, mode: 0o600, owner: undefined, allowed: { uids, gids: [], pids: [] } };
  making.use(await LocalServer.open({ socket, methods: sds.methods, metrics, log }));
  await keeper.start();
  const owned = making.move();
  return {
    server,
    keeper,
    sds,
    path,
    folder,
    text: () => lines.join('') + registry.expose(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Rig = Awaited<ReturnType<typeof createRig>>;

function createProxy({ path }: Rig, name: 'StreamSecrets' | 'DeltaSecrets') {
  const method = serviceDefinition('envoy.service.secret.v3.SecretDiscoveryService')[name];
  assert.ok(method);
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
  );
  const responses: PlainMessage[] = [];
  const failed = Promise.withResolvers<ServiceError>();
  stream.on('data', (message: PlainMessage) => responses.push(message));
  stream.on('error', (error: ServiceError) => failed.resolve(error));
  return {
    responses,
    ask: (request: PlainMessage) => void stream.write(request),
    response: (index: number): Promise<PlainMessage> =>
      eventually(() => responses[index], { what: `response ${index}` }),
    failure: () => failed.promise,
    [Symbol.dispose]: () => {
      stream.cancel();
      client.close();
    },
  };
}

/** The secrets of a response, by name. */
function secretsOf(response: PlainMessage): ReadonlyMap<string, PlainMessage> {
  const anys = messagesOf(response, 'resources').map((one) => messageOf(one, 'resource') ?? one);
  return new Map(
    anys.map((any) => {
      const secret = decodeMessage(SECRET, bytesOf(any, 'value'));
      return [textOf(secret, 'name'), secret];
    }),
  );
}

const inline = (message: PlainMessage | undefined, field: string): string =>
  textOf(messageOf(message, field), 'inline_string');

function certificateOf(response: PlainMessage): X509Certificate {
  const own = messageOf(secretsOf(response).get('default'), 'tls_certificate');
  const certificate = new X509Certificate(inline(own, 'certificate_chain'));
  assert.ok(certificate.checkPrivateKey(createPrivateKey(inline(own, 'private_key'))));
  return certificate;
}

const ask = (name: 'StreamSecrets' | 'DeltaSecrets', names: readonly string[]): PlainMessage => ({
  node: { id: 'web-0.shop' },
  type_url: TYPE_URLS.secret,
  ...(name === 'DeltaSecrets' ? { resource_names_subscribe: names } : { resource_names: names }),
});

for (const name of ['DeltaSecrets', 'StreamSecrets'] as const) {
  test(`${name} hands certificate, key and bundle over, and the next certificate as soon as it is there`, async () => {
    await using rig = await createRig();
    using proxy = createProxy(rig, name);
    proxy.ask(ask(name, ['default', 'ROOTCA']));
    const first = await proxy.response(0);
    const before = certificateOf(first);
    assert.equal(before.serialNumber.toLowerCase(), rig.keeper.keeper.svid?.serialHex);
    const bundle = messageOf(secretsOf(first).get('ROOTCA'), 'validation_context');
    assert.equal(inline(bundle, 'trusted_ca'), rig.server.authority.bundle().pem);
    const names = name === 'DeltaSecrets' ? [] : ['default', 'ROOTCA'];
    proxy.ask({ ...ask(name, names), response_nonce: textOf(first, 'nonce') });
    rig.keeper.clock.turn(1_800_000);
    const second = await proxy.response(1);
    assert.notEqual(certificateOf(second).serialNumber, before.serialNumber);
  });
}

test('roots of federated trust domains are handed over apart from our own, as soon as they are told', async () => {
  await using rig = await createRig();
  using proxy = createProxy(rig, 'DeltaSecrets');
  proxy.ask(ask('DeltaSecrets', ['ROOTCA']));
  const first = await proxy.response(0);
  proxy.ask({ ...ask('DeltaSecrets', []), response_nonce: textOf(first, 'nonce') });
  const trustDomain = parseTrustDomain('partner.test');
  assert.ok(trustDomain !== undefined);
  const { bundlePem: trustedCaPem } = createTestPki('partner.test');
  rig.keeper.keeper.setFederated([{ trustDomain, trustedCaPem }]);
  const [any] = messagesOf(await proxy.response(1), 'resources');
  const bytes = bytesOf(messageOf(any, 'resource') ?? {}, 'value');
  const secret = decodeResource('secret', bytes);
  assert.ok(secret.ok && 'trustedCaPem' in secret.value);
  const own = rig.server.authority.bundle().pem;
  assert.deepEqual(secret.value.byTrustDomain, [
    { trustDomain: 'mesh.test', trustedCaPem: own },
    { trustDomain: 'partner.test', trustedCaPem },
  ]);
});

test('the key is in no file, no log line and no metric', async () => {
  await using rig = await createRig();
  using proxy = createProxy(rig, 'DeltaSecrets');
  proxy.ask(ask('DeltaSecrets', ['default']));
  const own = messageOf(secretsOf(await proxy.response(0)).get('default'), 'tls_certificate');
  const [, line = ''] = inline(own, 'private_key').split('\n');
  assert.ok(line.length > 32);
  assert.equal(rig.text().includes(line), false);
  assert.deepEqual(await readdir(rig.folder), ['agent.sock']);
});

test('whom the kernel does not name gets no key', async () => {
  await using rig = await createRig({ uids: [UID + 1] });
  using proxy = createProxy(rig, 'DeltaSecrets');
  proxy.ask(ask('DeltaSecrets', ['default']));
  assert.equal((await proxy.failure()).code, status.PERMISSION_DENIED);
  assert.deepEqual(proxy.responses, []);
});

test('other names are nobody, and other types are refused', async () => {
  await using rig = await createRig();
  using proxy = createProxy(rig, 'DeltaSecrets');
  proxy.ask(ask('DeltaSecrets', ['tls-certificate/shop/other']));
  const { removed_resources: removed } = await proxy.response(0);
  assert.deepEqual(removed, ['tls-certificate/shop/other']);
  using other = createProxy(rig, 'DeltaSecrets');
  other.ask({ type_url: TYPE_URLS.cluster, resource_names_subscribe: ['*'] });
  assert.equal((await other.failure()).code, status.INVALID_ARGUMENT);
});

test('a certificate that has expired is given to nobody any more', async () => {
  await using rig = await createRig();
  rig.sds.follow(undefined);
  using proxy = createProxy(rig, 'DeltaSecrets');
  proxy.ask(ask('DeltaSecrets', ['default']));
  const { removed_resources: removed } = await proxy.response(0);
  assert.deepEqual(removed, ['default']);
});
