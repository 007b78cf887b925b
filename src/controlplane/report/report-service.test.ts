// Reports over a real gRPC connection: believed of their own proxy alone, and bounded.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Client, credentials, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { systemClock } from '@weft/model/clock';
import { parseSpiffeId } from '@weft/model/identity';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import type { ReportedEdge } from './reported-edge.ts';
import { ReportService } from './report-service.ts';

const identity = parseSpiffeId('spiffe://mesh.test/ns/shop/sa/web');
assert.ok(identity);
const ID = identity;

interface Rig extends AsyncDisposable {
  readonly service: ReportService;
  readonly edges: ReportedEdge[];
  open(): ReturnType<typeof openStream>;
  reported(): Promise<void>;
}

function openStream(client: Client) {
  const method = serviceDefinition('weft.report.v1.Reports')['Report'];
  assert.ok(method);
  const stream = client.makeBidiStreamRequest<PlainMessage, PlainMessage>(
    method.path,
    method.requestSerialize,
    (bytes) => ({ ...method.responseDeserialize(bytes) }),
  );
  /** The status says the same, and every test that cares looks at it. */
  stream.on('error', () => undefined);
  return stream;
}

/** `once` would fail at the error that comes before it. */
const ended = (stream: ReturnType<typeof openStream>): Promise<status> =>
  new Promise((resolve) => {
    stream.on('status', ({ code }: { readonly code: status }) => resolve(code));
  });

/** Every connection is `web`'s; `web-1.shop` is the one proxy that it may be. */
async function createRig(): Promise<Rig> {
  const server = new Server();
  const edges: ReportedEdge[] = [];
  const service = new ReportService(server, {
    peerOf: () => ({ ok: true, identity: ID }),
    views: {
      resolve: ({ id }) =>
        id === 'web-1.shop'
          ? { ok: true, proxy: { id, identity: ID, namespace: 'shop', workload: 'web-1' } }
          : { ok: false, code: 'identity-mismatch', reason: 'not yours' },
    },
    clock: systemClock,
    log: pino({ level: 'silent' }),
    onEdges: (_proxy, reported) => edges.push(...reported),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  return {
    service,
    edges,
    open: () => openStream(client),
    reported: () =>
      new Promise((resolve) => {
        const subscription = service.onReport(() => {
          subscription[Symbol.dispose]();
          resolve();
        });
      }),
    async [Symbol.asyncDispose]() {
      client.close();
      service[Symbol.dispose]();
      server.forceShutdown();
    },
  };
}

test('what a proxy says it evaluates is known while its stream is open, and no longer', async () => {
  await using rig = await createRig();
  assert.deepEqual(rig.service.evaluationOf('web-1.shop', 'inbound'), { isReporting: false });
  const stream = rig.open();
  const [reply] = (await once(stream, 'data')) as [PlainMessage];
  assert.equal(reply['interval_seconds'], 10);
  const reported = rig.reported();
  stream.write({ node_id: 'web-1.shop', evaluated: [{ listener: 'inbound', digest: 'v1' }] });
  await reported;
  assert.deepEqual(rig.service.evaluationOf('web-1.shop', 'inbound'), {
    isReporting: true,
    digests: ['v1'],
  });
  stream.end();
  await ended(stream);
  assert.deepEqual(rig.service.evaluationOf('web-1.shop', 'inbound'), { isReporting: false });
});

test('a second process of the same proxy that evaluates other rules is seen beside the first', async () => {
  await using rig = await createRig();
  for (const digest of ['v1', 'v0']) {
    const reported = rig.reported();
    rig.open().write({ node_id: 'web-1.shop', evaluated: [{ listener: 'inbound', digest }] });
    await reported;
  }
  const evaluation = rig.service.evaluationOf('web-1.shop', 'inbound');
  assert.deepEqual(evaluation.isReporting && [...evaluation.digests].sort(), ['v0', 'v1']);
});

test("a report of another's proxy is refused", async () => {
  await using rig = await createRig();
  const stream = rig.open();
  stream.resume();
  stream.write({ node_id: 'cart-1.shop', evaluated: [{ listener: 'inbound', digest: 'v1' }] });
  assert.equal(await ended(stream), status.PERMISSION_DENIED);
  assert.deepEqual(rig.service.evaluationOf('cart-1.shop', 'inbound'), { isReporting: false });
});

test('edges are read within bounds; who reports without end is told to go', async () => {
  await using rig = await createRig();
  const stream = rig.open();
  stream.resume();
  const reported = rig.reported();
  stream.write({
    node_id: 'web-1.shop',
    edges: [
      {
        source: 'spiffe://mesh.test/ns/shop/sa/cart',
        port: 8080,
        method: 'GET',
        path: '/a',
        is_allowed: true,
        count: 3,
      },
      { source: 'x'.repeat(5_000), port: 8080, count: 1 },
      { source: 'nobody', port: 8080, count: 0 },
    ],
  });
  await reported;
  assert.deepEqual(
    rig.edges.map(({ source, count }) => [source.length, count]),
    [
      [34, 3],
      [1_024, 1],
    ],
  );
  for (let at = 0; at < 400; at++) stream.write({ evaluated: [] });
  assert.equal(await ended(stream), status.RESOURCE_EXHAUSTED);
});
