// Golden: one resource of each kind as Weft's value, as the wire message, and its version, so that no byte changes unnoticed.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeResource, encodeResource, typeNameOf } from '@weft/xds/codec/resource-codec';
import { messageType } from '@weft/xds/registry';
import { RESOURCE_ORDER, type ResourceByKind, type ResourceKind } from '@weft/xds/resource';

/** Writes the files anew: `UPDATE_GOLDEN=1`, then read the difference. */
const isUpdating = process.env['UPDATE_GOLDEN'] === '1';

interface Golden<K extends ResourceKind> {
  readonly value: ResourceByKind[K];
  readonly version: string;
  readonly wire: unknown;
}

const pathOf = (kind: ResourceKind): string =>
  fileURLToPath(new URL(`${kind}.json`, import.meta.url));

/** The message with every Any opened, as protobuf's own JSON has it. */
function wireOf(kind: ResourceKind, bytes: Uint8Array): unknown {
  const type = messageType(typeNameOf(kind));
  const open = { json: true, longs: String, enums: String, bytes: String };
  return type.toObject(type.decode(bytes), open);
}

function read<K extends ResourceKind>(kind: K): Golden<K> {
  const golden: Golden<K> = JSON.parse(readFileSync(pathOf(kind), 'utf8'));
  return golden;
}

function check<K extends ResourceKind>(kind: K, golden: Golden<K>): void {
  const { bytes, version } = encodeResource(kind, golden.value);
  const found: Golden<K> = { value: golden.value, version, wire: wireOf(kind, bytes) };
  if (isUpdating) writeFileSync(pathOf(kind), `${JSON.stringify(found, undefined, 2)}\n`);
  else assert.deepEqual(JSON.parse(JSON.stringify(found)), golden);
  assert.deepEqual(decodeResource(kind, bytes), { ok: true, value: golden.value, problems: [] });
}

for (const kind of RESOURCE_ORDER)
  test(`the ${kind} of ${kind}.json has the bytes that it always had`, () => {
    check(kind, read(kind));
  });
