// Control planes of one mesh: the leader knows what proxies of the others enforce, and hears it from control planes alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, credentials, Server, status } from '@grpc/grpc-js';
import { createKeyAndRequest } from '@weft/dataplane/enrol/csr';
import { openAuthority } from '@weft/ca/authority';
import { createServerCredentials, peerOf } from '@weft/ca/server-credentials';
import { createMemoryStore } from '@weft/ca/store/memory';
import { systemClock } from '@weft/model/clock';
import { parseSpiffeId, parseTrustDomain } from '@weft/model/identity';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import { eventually } from '../../../test/support/lab-wait.ts';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import type { ProxyState } from './proxy-state.ts';
import { ReplicaLink } from './replica-link.ts';
import { joinEvaluations, REPLICAS_SERVICE, ReplicaService } from './replica-service.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const WEB = parseSpiffeId('spiffe://mesh.test/ns/shop/sa/web')!;
const log = pino({ level: 'silent' });

const state = (proxyId: string, version: string): ProxyState => ({
  proxyId,
  identity: WEB,
  acked: version,
  evaluation: { isReporting: true, digests: [version] },
});

async function openRig() {
  const owned = new AsyncDisposableStack();
  const authority = owned.use(await openAuthority({ store: createMemoryStore(), trustDomain }));
  const server = new Server();
  const { controlPlaneId } = authority;
  const service = owned.use(new ReplicaService(server, { peerOf, controlPlaneId, log }));
  const made = owned.use(
    createServerCredentials({ mode: 'mutual', authority, dnsNames: [], ipAddresses: [] }),
  );
  owned.defer(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', made.credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const address = `127.0.0.1:${port}`;
  const states = new Map<string, ProxyState>();
  let changed = (): void => undefined;
  const follow = (replica: string, leader: () => string | undefined = () => address) =>
    new ReplicaLink({
      authority,
      replica,
      leaderAddress: leader,
      states: () => new Map(states),
      onChange: (listener) => {
        changed = listener;
        return { [Symbol.dispose]: () => undefined };
      },
      clock: systemClock,
      log,
    });
  return {
    authority,
    service,
    address,
    follow,
    set: (...all: readonly ProxyState[]) => {
      states.clear();
      for (const one of all) states.set(one.proxyId, one);
      changed();
    },
    ackedBy: (proxyId: string) =>
      service
        .statusOf('listener', INBOUND_LISTENER)
        .filter((one) => one.proxyId === proxyId)
        .map(({ acked }) => acked),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('what proxies of another control plane enforce is known to the leader, and follows them', async () => {
  await using rig = await openRig();
  rig.set(state('web-1.shop', 'v1'), state('web-2.shop', 'v1'));
  using _link = rig.follow('cp-b');
  await eventually(() => rig.ackedBy('web-2.shop').length === 1, { what: 'the leader hears it' });
  assert.deepEqual(rig.ackedBy('web-1.shop'), ['v1']);
  assert.deepEqual(rig.service.names(), ['cp-b']);
  assert.deepEqual(rig.service.evaluationOf('web-1.shop', INBOUND_LISTENER), {
    isReporting: true,
    digests: ['v1'],
  });
  assert.deepEqual(rig.service.statusOf('cluster', INBOUND_LISTENER), []);
  rig.set(state('web-1.shop', 'v2'));
  await eventually(() => rig.ackedBy('web-1.shop')[0] === 'v2', { what: 'the leader hears it' });
  assert.deepEqual(rig.ackedBy('web-2.shop'), [], 'it is connected no more');
});

test('what a proxy of another control plane refused is known with its words, until it accepts', async () => {
  await using rig = await openRig();
  const refusal = () => {
    const [one] = rig.service.statusOf('listener', INBOUND_LISTENER);
    return one && [one.acked, one.refused, one.refusal];
  };
  const refusing = (words: string) =>
    rig.set({ ...state('web-1.shop', 'v1'), refused: { version: 'v2', words } });
  refusing('x'.repeat(10_000));
  using _link = rig.follow('cp-b');
  await eventually(() => refusal()?.[1] === 'v2', { what: 'the leader hears it' });
  assert.deepEqual(refusal(), ['v1', 'v2', 'x'.repeat(512)]);
  refusing('no');
  await eventually(() => refusal()?.[2] === 'no', { what: 'the leader hears other words' });
  rig.set(state('web-1.shop', 'v2'));
  await eventually(() => refusal()?.[0] === 'v2', { what: 'the leader hears of the acceptance' });
  assert.deepEqual(refusal(), ['v2', undefined, undefined]);
});

test('a control plane that ends takes its word with it, and one that connects anew replaces it', async () => {
  await using rig = await openRig();
  rig.set(state('web-1.shop', 'v1'));
  {
    using _link = rig.follow('cp-b');
    await eventually(() => rig.ackedBy('web-1.shop').length === 1, { what: 'the leader hears it' });
    using _anew = rig.follow('cp-b');
    await eventually(() => rig.ackedBy('web-1.shop').length === 1, { what: 'the leader hears it' });
    assert.deepEqual(rig.service.names(), ['cp-b']);
  }
  await eventually(() => rig.service.names().length === 0, { what: 'the leader hears it' });
  assert.deepEqual(rig.ackedBy('web-1.shop'), []);
});

test('which programs serve without a proxy at another control plane is known to the leader, by libraries that there are', async () => {
  await using rig = await openRig();
  const web = state('web-1.shop', 'v1');
  const now = () => [...rig.service.grpcServers()].map(({ library }) => library).join();
  const unknown = JSON.parse('["go","rust"]');
  rig.set({ ...web, grpc: unknown }, state('cart-1.shop', 'v1'));
  using _link = rig.follow('cp-b');
  await eventually(() => now() === 'go', { what: 'word' });
  rig.set({ ...web, grpc: ['core', 'go'] });
  await eventually(() => now() === 'core,go', { what: 'word of another' });
  rig.set(web);
  await eventually(() => now() === '', { what: 'word that none does' });
});

test('which credentials are in force at proxies of another control plane is known to the leader', async () => {
  await using rig = await openRig();
  const web = state('web-1.shop', 'v1');
  rig.set({ ...web, credentials: ['db', 'pay'] }, state('cart-1.shop', 'v1'));
  using _link = rig.follow('cp-b');
  await eventually(() => rig.service.credentialsOf('web-1.shop').length === 1, { what: 'word' });
  assert.deepEqual(rig.service.credentialsOf('web-1.shop'), [['db', 'pay']]);
  assert.deepEqual(rig.service.credentialsOf('cart-1.shop'), [], 'it watches none');
  rig.set({ ...web, credentials: [] });
  await eventually(() => rig.service.credentialsOf('web-1.shop')[0]?.length === 0, {
    what: 'word',
  });
});

test('a workload cannot speak as a control plane', async () => {
  await using rig = await openRig();
  const { csrDer, keyPem } = await createKeyAndRequest();
  const issued = rig.authority.issue(
    csrDer,
    { namespace: 'shop', serviceAccount: 'web' },
    'test',
    'test',
  );
  assert.ok(issued.ok);
  const pem = (der: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
  const client = new Client(
    rig.address,
    credentials.createSsl(
      Buffer.from(rig.authority.bundle().pem),
      Buffer.from(keyPem),
      Buffer.from(issued.svid.chainDer.map(pem).join('')),
      { checkServerIdentity: () => undefined },
    ),
    { 'grpc.ssl_target_name_override': 'weft-control-plane' },
  );
  const method = serviceDefinition(REPLICAS_SERVICE)['Share']!;
  const stream = client.makeBidiStreamRequest<PlainMessage, PlainMessage>(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
  );
  const code = await new Promise((resolve) => {
    stream.on('error', (error: Error & { readonly code?: number }) => resolve(error.code));
    stream.on('data', () => undefined);
    stream.write({ replica: 'cp-x', proxies: [] });
  });
  client.close();
  assert.equal(code, status.PERMISSION_DENIED);
  assert.deepEqual(rig.service.names(), []);
});

test('joinEvaluations() lets every stream count, wherever it is', () => {
  const silent = { isReporting: false } as const;
  const says = (...digests: readonly string[]) => ({ isReporting: true, digests }) as const;
  assert.deepEqual(joinEvaluations(silent, silent), silent);
  assert.deepEqual(joinEvaluations(says('a'), silent), says('a'));
  assert.deepEqual(joinEvaluations(silent, says('b')), says('b'));
  assert.deepEqual(joinEvaluations(says('a'), says('b')), says('a', 'b'));
});
