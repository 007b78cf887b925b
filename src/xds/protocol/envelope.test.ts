// Envelopes written by hand are what the protobuf library reads, and hold the resources' own bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeMessage, encodeMessage } from '../registry.ts';
import { type EncodedResource, RESOURCE_ORDER, TYPE_URLS } from '../resource.ts';
import { readDeltaRequest, writeDeltaResponse } from './delta.ts';
import { messagesOf } from './fields.ts';
import { readSotwRequest, writeSotwResponse } from './sotw.ts';

const PACKAGE = 'envoy.service.discovery.v3';

const resources = fc.array(
  fc.record({
    kind: fc.constant('cluster' as const),
    name: fc.string({ minLength: 1, unit: 'grapheme' }),
    version: fc.string({ minLength: 1 }),
    bytes: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 5 },
);

const asBuffer = (value: unknown): Buffer =>
  value instanceof Uint8Array ? Buffer.from(value) : Buffer.alloc(0);

const anyOf = (resource: EncodedResource) => ({
  type_url: TYPE_URLS[resource.kind],
  value: resource.bytes,
});

test('writeSotwResponse() writes what a protobuf reader reads back', () => {
  fc.assert(
    fc.property(resources, fc.string({ minLength: 1 }), (resources, nonce) => {
      const response = { kind: 'cluster', nonce, version: 'v', resources, removed: [] } as const;
      const read = decodeMessage(
        `${PACKAGE}.DiscoveryResponse`,
        writeSotwResponse(response, 'weft'),
      );
      const { resources: anys, ...rest } = read;
      assert.deepEqual(rest, {
        version_info: 'v',
        type_url: TYPE_URLS.cluster,
        nonce,
        control_plane: { identifier: 'weft' },
      });
      const found = messagesOf({ anys }, 'anys');
      assert.deepEqual(
        found.map((any) => [any['type_url'], asBuffer(any['value'])]),
        resources.map((resource) => [anyOf(resource).type_url, asBuffer(resource.bytes)]),
      );
    }),
  );
});

test('writeDeltaResponse() writes what a protobuf reader reads back', () => {
  const names = fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1 });
  fc.assert(
    fc.property(resources, names, (resources, removed) => {
      const response = { kind: 'cluster', nonce: '7', version: '', resources, removed } as const;
      const bytes = writeDeltaResponse(response, 'weft');
      const { resources: wrapped, ...rest } = decodeMessage(
        `${PACKAGE}.DeltaDiscoveryResponse`,
        bytes,
      );
      assert.deepEqual(rest, {
        type_url: TYPE_URLS.cluster,
        nonce: '7',
        removed_resources: removed,
        control_plane: { identifier: 'weft' },
      });
      const found = messagesOf({ wrapped }, 'wrapped').map(({ name, version, resource }) => {
        const [any] = messagesOf({ any: [resource] }, 'any');
        return [name, version, any?.['type_url'], asBuffer(any?.['value'])];
      });
      const wanted = resources.map((resource) => {
        const { type_url, value } = anyOf(resource);
        return [resource.name, resource.version, type_url, asBuffer(value)];
      });
      assert.deepEqual(found, wanted);
    }),
  );
});

for (const kind of RESOURCE_ORDER) {
  test(`readSotwRequest() reads a refusal of ${kind} as it was written`, () => {
    const bytes = encodeMessage(`${PACKAGE}.DiscoveryRequest`, {
      version_info: 'v',
      resource_names: ['a', 'b'],
      type_url: TYPE_URLS[kind],
      response_nonce: '3',
      error_detail: { code: 3, message: 'no' },
    });
    const request = readSotwRequest(decodeMessage(`${PACKAGE}.DiscoveryRequest`, bytes), kind);
    const names = { kind: 'replace', names: ['a', 'b'] };
    assert.deepEqual(request, { kind, nonce: '3', error: 'no', names });
  });
}

test('readDeltaRequest() reads names and initial versions; an error without text is still a refusal', () => {
  const bytes = encodeMessage(`${PACKAGE}.DeltaDiscoveryRequest`, {
    resource_names_subscribe: ['a'],
    resource_names_unsubscribe: ['b'],
    initial_resource_versions: { c: '1' },
    error_detail: {},
  });
  const message = decodeMessage(`${PACKAGE}.DeltaDiscoveryRequest`, bytes);
  assert.deepEqual(readDeltaRequest(message, 'route'), {
    kind: 'route',
    nonce: '',
    error: '',
    names: {
      kind: 'adjust',
      subscribe: ['a'],
      unsubscribe: ['b'],
      initialVersions: new Map([['c', '1']]),
    },
  });
});

test('readDeltaRequest() takes an empty message for a request without names or answer', () => {
  const names = { kind: 'adjust', subscribe: [], unsubscribe: [], initialVersions: new Map() };
  const wanted = { kind: 'route', nonce: '', error: undefined, names };
  assert.deepEqual(readDeltaRequest({}, 'route'), wanted);
});
