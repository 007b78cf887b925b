// The client's half of the delta protocol, against a gRPC server that writes down what it is asked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import type { PlainMessage } from '@weft/xds/registry';
import { type ResourceByKind, type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import { messageOf, textMapOf, textOf, textsOf } from '@weft/xds/protocol/fields';
import { pino } from 'pino';
import { FakeControlPlane, type Sent } from '../../../test/support/fake-control-plane.ts';
import { eventually } from '../../../test/support/servers.ts';
import type { ResourceUpdate } from '../state/config-store.ts';
import { Channel } from '../control-plane/grpc/channel.ts';
import { ownChannel } from '../control-plane/shared-channel.ts';
import { XdsClient } from './client.ts';

interface Rig extends AsyncDisposable {
  readonly server: FakeControlPlane;
  readonly client: XdsClient;
  readonly clock: ReturnType<typeof createTurnableClock>;
  readonly updates: readonly ResourceUpdate[];
  readonly states: readonly boolean[];
  readonly warnings: readonly { readonly retryInMs?: number; readonly reason?: string }[];
  /** What the store answers to the next updates. */
  refuse: readonly string[];
  connectFailure: Error | undefined;
}

async function createRig(): Promise<Rig> {
  const owned = new AsyncDisposableStack();
  const server = owned.use(new FakeControlPlane());
  await server.start();
  const clock = createTurnableClock(0);
  const updates: ResourceUpdate[] = [];
  const states: boolean[] = [];
  const warnings: object[] = [];
  const client = new XdsClient({
    connect: () => {
      if (rig.connectFailure !== undefined) throw rig.connectFailure;
      const channel = new Channel({
        address: { host: '127.0.0.1', port: server.port },
        userAgent: 'test',
        maxMessageBytes: 1_000_000,
      });
      return ownChannel(channel);
    },
    node: { id: 'web-1.shop', cluster: 'shop' },
    version: '1.2.3',
    apply: (update) => {
      updates.push(update);
      return rig.refuse;
    },
    clock,
    random: () => 0.999,
    log: pino({ level: 'warn' }, { write: (line) => warnings.push(JSON.parse(line)) }),
    onState: (isConnected) => states.push(isConnected),
  });
  owned.use(client);
  const rig: Rig = {
    server,
    client,
    clock,
    updates,
    states,
    warnings,
    refuse: [],
    connectFailure: undefined,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
  return rig;
}

const bytesOf = <K extends ResourceKind>(kind: K, value: ResourceByKind[K]): Uint8Array =>
  encodeResource(kind, value).bytes;

const cluster = (name: string, version = '1'): Sent => ({
  kind: 'cluster',
  name,
  version,
  value: bytesOf('cluster', {
    name,
    discovery: { kind: 'originalDst' },
    connectTimeoutMs: 1_000,
    balancing: 'roundRobin',
    protocol: 'useDownstream',
  }),
});

const subscribed = (request: PlainMessage) => textsOf(request, 'resource_names_subscribe');
const unsubscribed = (request: PlainMessage) => textsOf(request, 'resource_names_unsubscribe');
const held = (request: PlainMessage) =>
  Object.fromEntries(textMapOf(request, 'initial_resource_versions'));

test('nothing is sent before start(), and then one request a kind, in the order of make before break', async () => {
  await using rig = await createRig();
  rig.client.subscribe('secret', 'ROOTCA');
  rig.client.subscribe('listener', 'inbound');
  rig.client.subscribe('cluster', 'b');
  rig.client.subscribe('cluster', 'a');
  assert.equal(rig.client.isConnected, false);
  rig.client.start();
  await rig.server.request(2);
  const { requests } = await rig.server.stream(0);
  assert.deepEqual(
    requests.map((request) => [textOf(request, 'type_url'), subscribed(request)]),
    [
      [TYPE_URLS.cluster, ['b', 'a']],
      [TYPE_URLS.listener, ['inbound']],
      [TYPE_URLS.secret, ['ROOTCA']],
    ],
  );
  assert.equal(rig.client.isConnected, true);
});

test('the node is named in the first request of a stream and in no other', async () => {
  await using rig = await createRig();
  rig.client.subscribe('listener', 'inbound');
  rig.client.subscribe('secret', 'ROOTCA');
  rig.client.start();
  const node = messageOf(await rig.server.request(0), 'node');
  assert.equal(textOf(node, 'id'), 'web-1.shop');
  assert.equal(textOf(node, 'cluster'), 'shop');
  assert.equal(textOf(node, 'user_agent_version'), '1.2.3');
  assert.equal(messageOf(await rig.server.request(1), 'node'), undefined);
});

test('a first request without names, which would ask for everything, is never sent', async () => {
  await using rig = await createRig();
  rig.client.subscribe('secret', 'ROOTCA');
  rig.client.subscribe('cluster', 'a');
  rig.client.unsubscribe('cluster', 'a');
  rig.client.start();
  await rig.server.request(0);
  rig.client.subscribe('route', 'r');
  rig.client.unsubscribe('route', 'r');
  rig.client.subscribe('listener', 'inbound');
  await rig.server.request(1);
  const { requests } = await rig.server.stream(0);
  assert.deepEqual(
    requests.map((request) => textOf(request, 'type_url')),
    [TYPE_URLS.secret, TYPE_URLS.listener],
  );
  assert.ok(requests.every((request) => !subscribed(request).includes('*')));
});

test('what is asked for in one turn goes out in one request', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'first');
  rig.client.start();
  await rig.server.request(0);
  rig.client.subscribe('cluster', 'a');
  rig.client.subscribe('cluster', 'b');
  rig.client.unsubscribe('cluster', 'first');
  rig.client.subscribe('cluster', 'a');
  const request = await rig.server.request(1);
  assert.deepEqual(subscribed(request), ['a', 'b']);
  assert.deepEqual(unsubscribed(request), ['first']);
  assert.deepEqual(held(request), {});
});

test('a response is put in force and acknowledged by its nonce, and a removal with it', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.client.subscribe('cluster', 'gone');
  rig.client.start();
  await rig.server.request(0);
  const nonce = rig.server.send('cluster', [cluster('a')], ['gone']);
  const ack = await rig.server.request(1);
  assert.equal(textOf(ack, 'response_nonce'), nonce);
  assert.equal(messageOf(ack, 'error_detail'), undefined);
  assert.deepEqual(subscribed(ack), []);
  const [update] = rig.updates;
  assert.equal(update?.kind, 'cluster');
  assert.deepEqual([...(update?.changed.keys() ?? [])], ['a']);
  assert.deepEqual([...(update?.removed ?? [])], ['gone']);
});

const bad: readonly (readonly [string, Sent, RegExp])[] = [
  ['bytes that are no such message', { ...cluster('bad'), value: Buffer.from([7]) }, /^bad: /],
  [
    'a resource of another name',
    { ...cluster('other'), name: 'bad' },
    /^bad: holds a cluster of another name$/,
  ],
  [
    'a resource of another kind',
    { ...cluster('bad'), typeUrl: TYPE_URLS.route },
    /^bad: is no cluster$/,
  ],
];
for (const [what, sent, message] of bad) {
  test(`${what}: refused by name, while the good one beside it is put in force`, async () => {
    await using rig = await createRig();
    rig.client.subscribe('cluster', 'bad');
    rig.client.subscribe('cluster', 'a');
    rig.client.start();
    await rig.server.request(0);
    const nonce = rig.server.send('cluster', [sent, cluster('a')]);
    const nack = await rig.server.request(1);
    assert.equal(textOf(nack, 'response_nonce'), nonce);
    const detail = messageOf(nack, 'error_detail');
    assert.equal(detail?.['code'], 3);
    assert.match(textOf(detail, 'message'), message);
    assert.deepEqual([...(rig.updates[0]?.changed.keys() ?? [])], ['a']);
  });
}

test('after a lost stream only what was put in force is told as held, in versions', async () => {
  await using rig = await createRig();
  for (const name of ['good', 'bad', 'removed', 'dropped', 'refused']) {
    rig.client.subscribe('cluster', name);
  }
  rig.client.start();
  await rig.server.request(0);
  const first = ['good', 'bad', 'removed', 'dropped', 'refused'].map((name) => cluster(name, 'v1'));
  rig.server.send('cluster', first);
  await rig.server.request(1);
  rig.refuse = ['refused: has chains that cannot be run'];
  const broken = { ...cluster('bad', 'v2'), value: Buffer.from([7]) };
  rig.server.send(
    'cluster',
    [cluster('good', 'v2'), broken, cluster('refused', 'v2'), cluster('never-asked', 'v2')],
    ['removed'],
  );
  const nack = await rig.server.request(2);
  assert.match(textOf(messageOf(nack, 'error_detail'), 'message'), /^bad: .*\nrefused: has chains/);
  rig.client.unsubscribe('cluster', 'dropped');
  await rig.server.request(3);
  (await rig.server.stream(0)).call.end();
  await eventually(() => rig.states.at(-1) === false, 'the loss');
  assert.equal(rig.client.isConnected, false);
  rig.clock.turn(10_000);
  const again = await rig.server.request(0, 1);
  assert.deepEqual(subscribed(again), ['good', 'bad', 'removed', 'refused']);
  assert.deepEqual(held(again), { good: 'v2', bad: 'v1', refused: 'v1' });
  assert.deepEqual(unsubscribed(again), []);
  assert.equal(textOf(again, 'response_nonce'), '');
  assert.notEqual(messageOf(again, 'node'), undefined);
});

test('what is dropped and asked for again in one turn is asked for, and not told as held', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.client.start();
  await rig.server.request(0);
  rig.server.send('cluster', [cluster('a')]);
  await rig.server.request(1);
  rig.client.unsubscribe('cluster', 'a');
  rig.client.subscribe('cluster', 'a');
  const request = await rig.server.request(2);
  assert.deepEqual(subscribed(request), ['a']);
  assert.deepEqual(unsubscribed(request), [], 'a server that unsubscribes last would forget it');
});

test('a resource that only the store can refuse is refused by name as well', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.client.start();
  await rig.server.request(0);
  rig.refuse = ['a: cannot be run'];
  rig.server.send('cluster', [cluster('a')]);
  const nack = await rig.server.request(1);
  assert.equal(textOf(messageOf(nack, 'error_detail'), 'message'), 'a: cannot be run');
});

test('resources of a type that nobody asked for are passed over, and the stream goes on', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.client.start();
  await rig.server.request(0);
  const { call } = await rig.server.stream(0);
  call.write({ type_url: 'type.googleapis.com/envoy.config.unknown', nonce: 'x' });
  const nonce = rig.server.send('cluster', [cluster('a')]);
  assert.equal(textOf(await rig.server.request(1), 'response_nonce'), nonce);
});

test('streams that fail are tried again later and later, up to ten seconds, until one has lived for long', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.connectFailure = new Error('no certificate');
  rig.client.start();
  const delays: number[] = [];
  for (let count = 0; count < 8; count++) {
    const { retryInMs = 0, reason } = rig.warnings[count] ?? {};
    assert.equal(reason, 'no certificate');
    delays.push(Math.round(retryInMs / 100) * 100);
    rig.clock.turn(retryInMs - 20);
    assert.equal(rig.warnings.length, count + 1, 'not before its time');
    if (count < 7) rig.clock.turn(20.6);
  }
  assert.deepEqual(delays, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
  rig.connectFailure = undefined;
  rig.clock.turn(20.6);
  await rig.server.request(0);
  rig.clock.turn(10_000);
  (await rig.server.stream(0)).call.end();
  await eventually(() => rig.warnings.length === 9, 'the loss');
  assert.ok(
    (rig.warnings[8]?.retryInMs ?? 0) <= 200,
    'a stream that lived for long was a good one',
  );
});

test('a stream that dies young does not make the next wait short', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.client.start();
  for (let count = 0; count < 3; count++) {
    await rig.server.request(0, count);
    (await rig.server.stream(count)).call.end();
    await eventually(() => rig.warnings.length === count + 1, 'the loss');
    rig.clock.turn(10_000);
  }
  assert.ok((rig.warnings[2]?.retryInMs ?? 0) > 700);
});

test('after disposal nothing is tried again', async () => {
  await using rig = await createRig();
  rig.client.subscribe('cluster', 'a');
  rig.client.start();
  const { call } = await rig.server.stream(0);
  rig.client[Symbol.dispose]();
  await eventually(() => call.cancelled, 'the end of the stream');
  rig.clock.turn(60_000);
  rig.client.subscribe('cluster', 'b');
  assert.equal(rig.server.streams.length, 1);
  assert.equal(rig.warnings.length, 0);
});
