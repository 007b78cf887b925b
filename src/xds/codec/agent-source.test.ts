// Of whom a proxy may be told to ask for its own key: of the agent beside it, and of nobody else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cluster } from '../resources/cluster.ts';
import { decodeResource, encodeResource } from './resource-codec.ts';

const cluster: Cluster = {
  name: 'outbound|80||a.b',
  discovery: { kind: 'eds', serviceName: 'a' },
  connectTimeoutMs: 1_000,
  balancing: 'roundRobin',
  protocol: 'http1',
  meshTls: {
    sni: 'a',
    alpn: ['h2'],
    certificateSecret: 'default',
    certificateFrom: 'agent',
    validationSecret: 'ROOTCA',
    peerUris: ['spiffe://mesh.test/ns/a/sa/b'],
  },
};

test('a TLS context with the certificate of the agent is read as it was written', () => {
  const read = decodeResource('cluster', encodeResource('cluster', cluster).bytes);
  assert.deepEqual(read, { ok: true, value: cluster, problems: [] });
});

test('a TLS context that asks another cluster for the own key is refused', () => {
  const { bytes } = encodeResource('cluster', cluster);
  const text = Buffer.from(bytes).toString('latin1');
  const other = Buffer.from(text.replace('weft-agent', 'fetch-keys'), 'latin1');
  const read = decodeResource('cluster', other);
  assert.equal(read.ok, false);
  assert.ok(!read.ok);
  assert.match(
    read.problems.map(({ message }) => message).join(),
    /must be the cluster weft-agent/,
  );
});
