// Every kind of resource there and back, and what must hold for all of them: same values, same bytes, no throw, no ignoring.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RESOURCES } from '../../../test/support/xds-arbitraries.ts';
import { encodeMessage } from '../registry.ts';
import { RESOURCE_ORDER, type ResourceByKind, type ResourceKind } from '../resource.ts';
import {
  decodeResource,
  encodeResource,
  MAX_RESOURCE_BYTES,
  typeNameOf,
} from './resource-codec.ts';

function roundTrip<K extends ResourceKind>(kind: K, value: ResourceByKind[K]): void {
  const encoded = encodeResource(kind, value);
  const decoded = decodeResource(kind, encoded.bytes);
  assert.deepEqual(decoded, { ok: true, value, problems: [] });
  const again = encodeResource(kind, structuredClone(value));
  assert.deepEqual(again, encoded);
  assert.match(encoded.version, /^[0-9a-f]{16}$/);
}

for (const kind of RESOURCE_ORDER) {
  test(`decodeResource() gives back every ${kind} that encodeResource() writes, and equal values have equal bytes`, () => {
    fc.assert(
      fc.property(RESOURCES[kind], (value) => roundTrip(kind, value)),
      { numRuns: 300 },
    );
  });
}
