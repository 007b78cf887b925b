// The registry: what it loads, and that envelopes carry encoded resources untouched.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeMessage, encodeMessage, messageType, serviceDefinition } from './registry.ts';

test('encodeMessage() and decodeMessage() keep snake case, enum names and absence', () => {
  const name = 'envoy.config.core.v3.ConfigSource';
  const bytes = encodeMessage(name, { ads: {}, resource_api_version: 'V3' });
  assert.deepEqual(decodeMessage(name, bytes), { ads: {}, resource_api_version: 'V3' });
  assert.deepEqual(decodeMessage(name, encodeMessage(name, {})), {});
});

test('encodeMessage() copies the bytes of an Any as they are', () => {
  const value = Uint8Array.of(0xff, 0xff, 0xff);
  const name = 'envoy.config.core.v3.TypedExtensionConfig';
  const bytes = encodeMessage(name, { name: 'x', typed_config: { type_url: 't/y', value } });
  assert.ok(Buffer.from(bytes).includes(value));
});

test('messageType() throws for a name that no file defines', () => {
  assert.throws(() => messageType('envoy.config.core.v3.Nothing'), /Cannot find message type/);
});

test('decodeMessage() throws on bytes that are not the message', () => {
  assert.throws(() => decodeMessage('envoy.config.core.v3.Node', Uint8Array.of(0x0a, 0xff)));
});

test('serviceDefinition() gives paths, streaming and serialisers that copy the resources of an answer', () => {
  const service = serviceDefinition('envoy.service.discovery.v3.AggregatedDiscoveryService');
  const method = service['DeltaAggregatedResources'];
  assert.ok(method !== undefined);
  assert.equal(
    method.path,
    '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
  );
  assert.deepEqual([method.requestStream, method.responseStream], [true, true]);
  // Not a message: decoding or encoding it anew would throw or change it.
  const value = Buffer.from([0xff, 0xff, 0xff]);
  const answer = { nonce: '1', resources: [{ name: 'r', resource: { type_url: 't', value } }] };
  assert.deepEqual(method.responseDeserialize(method.responseSerialize(answer)), answer);
});
