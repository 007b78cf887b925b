// What holds for every stream, whatever it carries: who may ask what, what ends it, and how clients of one node share what is set.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { Variant } from '@weft/xds/protocol/subscription';
import type { PlainMessage } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import { RawXdsStream, type ServiceName } from '../../support/raw-xds-client.ts';
import { openHandSetServer } from './hand-set-server.ts';

const node = { id: 'judge' };
const VARIANTS = ['sotw', 'delta'] as const;

interface Refusal {
  readonly rule: string;
  readonly service: ServiceName;
  readonly requests: readonly PlainMessage[];
  readonly code: status;
}
const REFUSALS: readonly Refusal[] = [
  {
    rule: "a stream's first request must name its node",
    service: 'ads',
    requests: [{ type_url: TYPE_URLS.cluster }],
    code: status.INVALID_ARGUMENT,
  },
  {
    rule: 'a request on the aggregated stream must name its type',
    service: 'ads',
    requests: [{ node }],
    code: status.INVALID_ARGUMENT,
  },
  {
    rule: 'a stream of one type serves no other',
    service: 'cluster',
    requests: [{ node, type_url: TYPE_URLS.listener }],
    code: status.INVALID_ARGUMENT,
  },
];

for (const variant of VARIANTS) {
  for (const { rule, service, requests, code } of REFUSALS) {
    test(`${variant}: ${rule}`, async () => {
      await using server = await openHandSetServer();
      using stream = new RawXdsStream(server.xds, { service, variant });
      for (const request of requests) stream.send(request);
      await assert.rejects(stream.next(), { code });
    });
  }
}

const asking = (variant: Variant, name: string): PlainMessage =>
  variant === 'sotw' ? { resource_names: [name] } : { resource_names_subscribe: [name] };

for (const variant of VARIANTS) {
  test(`${variant}: a type may be named on the stream of its own too`, async () => {
    await using server = await openHandSetServer();
    const { route: typeUrl } = TYPE_URLS;
    server.views.set(node.id, '1', [{ typeUrl, name: 'A', bytes: Buffer.from('A') }]);
    using stream = new RawXdsStream(server.xds, { service: 'route', variant });
    stream.send({ node, type_url: typeUrl, ...asking(variant, 'A') });
    assert.equal((await stream.next())?.['type_url'], typeUrl);
    assert.deepEqual(await stream.finish(), []);
  });

  test(`${variant}: nonces of one stream are all different, over all its types`, async () => {
    await using server = await openHandSetServer();
    const urls = Object.values(TYPE_URLS);
    server.views.set(
      node.id,
      '1',
      urls.map((typeUrl) => ({ typeUrl, name: 'A', bytes: Buffer.from('A') })),
    );
    using stream = new RawXdsStream(server.xds, { service: 'ads', variant });
    const nonces = new Set<unknown>();
    for (const type_url of urls) {
      stream.send({ node, type_url, ...asking(variant, 'A') });
      const response = await stream.next();
      assert.equal(response?.['type_url'], type_url);
      nonces.add(response['nonce']);
    }
    assert.equal(nonces.size, urls.length);
    assert.deepEqual(await stream.finish(), []);
  });

  test(`${variant}: each node sees what was set for it, on every stream that it opens, and nothing of others`, async () => {
    await using server = await openHandSetServer();
    const { cluster: typeUrl } = TYPE_URLS;
    for (const name of ['one', 'other']) {
      server.views.set(name, '1', [{ typeUrl, name, bytes: Buffer.from(name) }]);
    }
    for (const [id, service] of [
      ['one', 'ads'],
      ['one', 'cluster'],
      ['other', 'ads'],
    ] as const) {
      using stream = new RawXdsStream(server.xds, { service, variant });
      stream.send({ node: { id }, type_url: typeUrl });
      const text = JSON.stringify(await stream.next());
      const bytes = JSON.stringify([...Buffer.from(id)]).slice(1, -1);
      assert.ok(text.includes(bytes), `${id} has its own: ${text}`);
      assert.deepEqual(await stream.finish(), []);
    }
  });
}

test('a client that asks for types without end is answered no more of them, and its stream goes on', async () => {
  await using server = await openHandSetServer();
  using stream = new RawXdsStream(server.xds, { service: 'ads', variant: 'delta' });
  for (let number = 0; number < 40; number++) {
    const type_url = `type.googleapis.com/conformance.Type${number}`;
    stream.send({ node, type_url, resource_names_subscribe: ['A'] });
  }
  const answers = await stream.finish();
  assert.equal(answers.length, 32);
});
