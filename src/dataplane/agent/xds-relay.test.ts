// The relay between a program's own gRPC client and a control plane: what passes, what is refused, and what is told of it.
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  Client,
  type ClientDuplexStream,
  credentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { systemClock } from '@weft/model/clock';
import { messageOf, textOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import { pino } from 'pino';
import { FakeControlPlane } from '../../../test/support/fake-control-plane.ts';
import { eventually } from '../../../test/support/lab-wait.ts';
import { Channel } from '../control-plane/grpc/channel.ts';
import { ownChannel } from '../control-plane/shared-channel.ts';
import { MetricsRegistry } from '../telemetry/metrics.ts';
import { createAgentMetrics } from './agent-metrics.ts';
import { LocalServer } from './local-server.ts';
import type { RelayedAnswer, RelayedResponse } from './relay-observer.ts';
import { XdsRelay } from './xds-relay.ts';

const UID = process.getuid?.() ?? 0;
const NODE = { id: 'web-0.shop', cluster: 'shop' };
const METHOD = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

interface RigOptions {
  readonly uids?: readonly number[];
  readonly maxStreams?: number;
  /** The control plane listens from the beginning; else nobody does until `server.start()`. */
  readonly starts?: boolean;
}

async function createRig({ uids = [UID], maxStreams, starts = true }: RigOptions = {}) {
  await using making = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-relay-'));
  making.defer(() => rm(folder, { recursive: true, force: true }));
  const server = making.use(new FakeControlPlane());
  if (starts) await server.start();
  const registry = new MetricsRegistry();
  const metrics = createAgentMetrics(registry);
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const delivered: RelayedResponse[] = [];
  const answered: RelayedAnswer[] = [];
  const told: string[] = [];
  let failure: Error | undefined;
  const relay = making.use(
    new XdsRelay({
      connect: () => {
        if (failure !== undefined) throw failure;
        const address = { host: '127.0.0.1', port: server.port };
        return ownChannel(new Channel({ address, userAgent: 'test', maxMessageBytes: 8_000_000 }));
      },
      node: NODE,
      observer: {
        onOpen: ({ userAgent, variant }) => told.push(`open ${userAgent} ${variant}`),
        onDelivered: (_, response) => delivered.push(response),
        onAnswered: (_, answer) => answered.push(answer),
        onClose: () => told.push('close'),
      },
      metrics,
      clock: systemClock,
      random: () => 0,
      log,
      ...(maxStreams !== undefined && { maxStreams }),
    }),
  );
  const path = join(folder, 'xds.sock');
  const socket = { path, mode: 0o600, owner: undefined, allowed: { uids, gids: [], pids: [] } };
  making.use(await LocalServer.open({ socket, methods: relay.methods, metrics, log }));
  const owned = making.move();
  return {
    server,
    relay,
    path,
    delivered,
    answered,
    told,
    text: () => lines.join('') + registry.expose(),
    fail: (error: Error | undefined) => {
      failure = error;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Program extends Disposable {
  readonly stream: ClientDuplexStream<PlainMessage, Buffer>;
  readonly responses: readonly Buffer[];
  ask(request: PlainMessage): void;
  response(index: number): Promise<PlainMessage>;
  failure(): Promise<ServiceError>;
}

function createProgram(path: string, method = METHOD): Program {
  const definition = serviceDefinition('envoy.service.discovery.v3.AggregatedDiscoveryService')[
    'DeltaAggregatedResources'
  ];
  assert.ok(definition);
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(
    method,
    definition.requestSerialize,
    (bytes: Buffer) => bytes,
  );
  const responses: Buffer[] = [];
  const failed = Promise.withResolvers<ServiceError>();
  stream.on('data', (bytes: Buffer) => responses.push(bytes));
  stream.on('error', (error: ServiceError) => failed.resolve(error));
  return {
    stream,
    responses,
    ask: (request) => void stream.write(request),
    response: async (index) => {
      await eventually(() => responses.length > index, { what: `response ${index}` });
      return { ...definition.responseDeserialize(responses[index] ?? Buffer.alloc(0)) };
    },
    failure: () => failed.promise,
    [Symbol.dispose]: () => {
      stream.cancel();
      client.close();
    },
  };
}

const FIRST: PlainMessage = {
  node: { ...NODE, user_agent_name: 'envoy', user_agent_version: '1.40' },
  type_url: TYPE_URLS.cluster,
  initial_resource_versions: { known: 'v0' },
};
const sent = {
  kind: 'cluster',
  name: 'a',
  version: 'v1',
  value: Buffer.from('any bytes'),
} as const;

test('requests and responses pass as they are, and what is acknowledged or refused is told with its resources', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.ask(FIRST);
  const asked = await rig.server.request(0);
  assert.equal(textOf(messageOf(asked, 'node'), 'id'), NODE.id);
  assert.deepEqual(asked['initial_resource_versions'], { known: 'v0' });
  const nonce = rig.server.send('cluster', [sent], ['gone']);
  const response = await program.response(0);
  assert.equal(textOf(response, 'nonce'), nonce);
  program.ask({ type_url: TYPE_URLS.cluster, response_nonce: nonce });
  await rig.server.request(1);
  const second = rig.server.send('cluster', [{ ...sent, version: 'v2' }]);
  await program.response(1);
  program.ask({
    type_url: TYPE_URLS.cluster,
    response_nonce: second,
    error_detail: { code: 3, message: 'no such field' },
  });
  const refused = await rig.server.request(2);
  assert.equal(textOf(messageOf(refused, 'error_detail'), 'message'), 'no such field');
  assert.deepEqual(
    rig.answered.map(({ response: { nonce: of, resources, removed }, refusal }) => ({
      of,
      names: resources.map(({ name, version, bytes }) => [name, version, String(bytes)]),
      removed,
      refusal,
    })),
    [
      { of: nonce, names: [['a', 'v1', 'any bytes']], removed: ['gone'], refusal: undefined },
      { of: second, names: [['a', 'v2', 'any bytes']], removed: [], refusal: 'no such field' },
    ],
  );
  assert.equal(rig.delivered.length, 2);
  assert.deepEqual(rig.told, ['open envoy/1.40 delta']);
  assert.match(rig.text(), /weft_agent_answers_total\{answer="refused"\} 1/);
  assert.match(rig.text(), /weft_agent_streams 1/);
});

test('nonces of another type or of nothing acknowledge nothing', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.ask(FIRST);
  await rig.server.request(0);
  const nonce = rig.server.send('cluster', [sent]);
  await program.response(0);
  program.ask({ type_url: TYPE_URLS.listener, response_nonce: nonce });
  program.ask({ type_url: TYPE_URLS.cluster, response_nonce: 'never was' });
  program.ask({ type_url: TYPE_URLS.cluster });
  await rig.server.request(3);
  assert.deepEqual(rig.answered, []);
});

const CLAIMS: readonly (readonly [string, PlainMessage, number])[] = [
  ['another node', { ...FIRST, node: { ...NODE, id: 'db-0.shop' } }, status.PERMISSION_DENIED],
  ['another cluster', { ...FIRST, node: { ...NODE, cluster: 'bank' } }, status.PERMISSION_DENIED],
  ['no node', { type_url: TYPE_URLS.cluster }, status.INVALID_ARGUMENT],
];
for (const [what, request, code] of CLAIMS) {
  test(`a program that names ${what} is refused, and the control plane hears nothing of it`, async () => {
    await using rig = await createRig();
    using program = createProgram(rig.path);
    program.ask(request);
    assert.equal((await program.failure()).code, code);
    assert.equal(rig.server.streams.length, 0);
    assert.match(rig.text(), /weft_agent_refused_total\{reason="(another-node|bad-request)"\} 1/);
  });
}

test('a program that names another node later is refused then', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.ask(FIRST);
  await rig.server.request(0);
  program.ask({ ...FIRST, node: { ...NODE, id: 'db-0.shop' } });
  assert.equal((await program.failure()).code, status.PERMISSION_DENIED);
  const { call, requests } = await rig.server.stream(0);
  await eventually(() => call.cancelled, { what: 'the end of the stream' });
  assert.equal(requests.length, 1);
  assert.deepEqual(rig.told, ['open envoy/1.40 delta', 'close']);
});

test('whom the kernel does not name is refused before anything is read', async () => {
  await using rig = await createRig({ uids: [UID + 1] });
  using program = createProgram(rig.path);
  program.ask(FIRST);
  assert.equal((await program.failure()).code, status.PERMISSION_DENIED);
  assert.equal(rig.server.streams.length, 0);
  assert.match(rig.text(), /weft_agent_refused_total\{reason="not-attested"\} 1/);
});

test('no other method is served', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path, '/weft.enrolment.v1.Enrolment/Renew');
  program.ask(FIRST);
  assert.equal((await program.failure()).code, status.UNIMPLEMENTED);
  assert.equal(rig.server.streams.length, 0);
});

test('more streams than there may be are refused', async () => {
  await using rig = await createRig({ maxStreams: 1 });
  using program = createProgram(rig.path);
  program.ask(FIRST);
  await rig.server.request(0);
  using other = createProgram(rig.path);
  other.ask(FIRST);
  assert.equal((await other.failure()).code, status.RESOURCE_EXHAUSTED);
});

test('a stream waits for a control plane that is not there yet, and what it asked is asked then', async () => {
  await using rig = await createRig();
  rig.fail(new Error('there is no certificate'));
  using program = createProgram(rig.path);
  program.ask(FIRST);
  program.ask({ type_url: TYPE_URLS.listener });
  await eventually(() => rig.text().includes('there is no certificate'), { what: 'the first try' });
  assert.equal(rig.server.streams.length, 0);
  rig.fail(undefined);
  assert.equal(textOf(await rig.server.request(0), 'type_url'), TYPE_URLS.cluster);
  assert.equal(textOf(await rig.server.request(1), 'type_url'), TYPE_URLS.listener);
  rig.server.send('cluster', [sent]);
  await program.response(0);
});

test('a control plane that goes without an answer is asked anew, and one that has answered ends the stream as it says', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.ask(FIRST);
  await rig.server.request(0);
  const end = (index: number, code: status): void =>
    void rig.server.streams[index]?.call.emit('error', { code, details: 'it says so' });
  end(0, status.UNAVAILABLE);
  const again = await rig.server.request(0, 1);
  assert.deepEqual(again['initial_resource_versions'], { known: 'v0' });
  rig.server.send('cluster', [sent]);
  await program.response(0);
  end(1, status.UNAVAILABLE);
  const failure = await program.failure();
  assert.deepEqual([failure.code, failure.details], [status.UNAVAILABLE, 'it says so']);
  assert.equal(rig.relay.size, 0);
});

test('what the control plane refuses is told at once, and not asked again', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.ask(FIRST);
  const { call } = await rig.server.stream(0);
  call.emit('error', { code: status.PERMISSION_DENIED, details: 'not yours' });
  const failure = await program.failure();
  assert.deepEqual([failure.code, failure.details], [status.PERMISSION_DENIED, 'not yours']);
  assert.equal(rig.server.streams.length, 1);
});

test('a program that reads nothing holds the control plane up, and is held no more than its windows take', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.stream.pause();
  program.ask(FIRST);
  const { call } = await rig.server.stream(0);
  await rig.server.request(0);
  const value = Buffer.alloc(1_000_000, 1);
  const count = 64;
  for (let n = 0; n < count; n++) rig.server.send('cluster', [{ ...sent, value }]);
  let before = -1;
  await eventually(
    () => {
      const isStill = rig.delivered.length === before;
      before = rig.delivered.length;
      return isStill && before > 0;
    },
    { what: 'the relay at rest', everyMs: 200 },
  );
  assert.ok(rig.delivered.length < 40, `${rig.delivered.length} of ${count} are held`);
  assert.ok(call.writableLength > 0, 'the rest waits at the control plane');
  program.stream.resume();
  await program.response(count - 1);
});

test('a request that is longer than the control plane takes is refused', async () => {
  await using rig = await createRig();
  using program = createProgram(rig.path);
  program.ask({ ...FIRST, resource_names_subscribe: ['x'.repeat(1_100_000)] });
  assert.equal((await program.failure()).code, status.RESOURCE_EXHAUSTED);
});

test('the socket is for its owner alone, and goes with the agent', async () => {
  const rig = await createRig();
  assert.equal(statSync(rig.path).mode & 0o777, 0o600);
  using program = createProgram(rig.path);
  program.ask(FIRST);
  const { call } = await rig.server.stream(0);
  await rig[Symbol.asyncDispose]();
  await program.failure();
  await eventually(() => call.cancelled || call.destroyed, { what: 'the end of the stream' });
  assert.equal(existsSync(rig.path), false);
});

test('a path that the system would cut is refused', async () => {
  const metrics = createAgentMetrics(new MetricsRegistry());
  const allowed = { uids: [UID], gids: [], pids: [] };
  const path = join(tmpdir(), 'x'.repeat(108));
  const open = LocalServer.open({
    socket: { path, mode: 0o600, owner: undefined, allowed },
    methods: new Map(),
    metrics,
    log: pino({ level: 'silent' }),
  });
  await assert.rejects(open, /longer than 107 bytes/);
});
