// What a newer control plane says around a resource, or of a whole response, and is not known, keeps it from being put in force.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { TYPE_URLS } from '@weft/xds/resource';
import { deltaMethod, readResponse } from './read-response.ts';

/** Field 99, a varint. */
const UNKNOWN = Buffer.from([0x98, 0x06, 0x01]);
const RESPONSE = 'envoy.service.discovery.v3.DeltaDiscoveryResponse';

const field = (number: number, ...parts: readonly (Uint8Array | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  assert.ok(body.length < 128);
  return Buffer.concat([Buffer.from([number * 8 + 2, body.length]), body]);
};
const value = (name: string): Uint8Array =>
  encodeResource('endpoints', { clusterName: name, endpoints: [] }).bytes;
const any = (name: string, more = ''): Buffer =>
  field(2, field(1, TYPE_URLS.endpoints), field(2, value(name)), Buffer.from(more, 'hex'));
const resource = (name: string, ...more: readonly Uint8Array[]): Buffer =>
  field(2, field(1, 'v'), any(name), field(3, name), ...more);

function read(...parts: readonly Uint8Array[]) {
  const bytes = Buffer.concat([field(4, TYPE_URLS.endpoints), field(5, 'nonce'), ...parts]);
  const response = readResponse(deltaMethod().responseDeserialize(bytes));
  assert.ok(response !== undefined);
  const { errors, update, nonce } = response;
  return { errors, nonce, changed: [...update.changed.keys()], removed: [...update.removed] };
}

test('what is known is taken', () => {
  const { errors, changed } = read(resource('a'), resource('b'));
  assert.deepEqual([errors, changed], [[], ['a', 'b']]);
});

test('CVE-2022-21679: a resource around which something is said that is not known is refused by its name, the others are taken', () => {
  for (const [bad, typeName] of [
    [resource('b', UNKNOWN), 'envoy.service.discovery.v3.Resource'],
    [field(2, field(1, 'v'), any('b', '980601'), field(3, 'b')), 'google.protobuf.Any'],
  ] as const) {
    const { errors, changed } = read(resource('a'), bad, resource('c'));
    assert.deepEqual(changed, ['a', 'c']);
    assert.deepEqual(errors, [`b: has field number 99 of ${typeName}, which is not known here`]);
  }
});

test('CVE-2022-21679: a response of which something is said that is not known is refused whole, but for what it takes away', () => {
  const said = `has field number 99 of ${RESPONSE}, which is not known here`;
  const all = read(resource('a'), field(6, 'gone'), UNKNOWN, resource('b'));
  assert.deepEqual(all.changed, []);
  assert.deepEqual(all.removed, ['gone']);
  assert.deepEqual(all.errors, [`a: ${said}`, `b: ${said}`]);
  const none = read(field(6, 'gone'), UNKNOWN);
  assert.deepEqual([none.errors, none.nonce], [[`the response: ${said}`], 'nonce']);
});

test('what the control plane says of itself is nobody else’s business', () => {
  assert.deepEqual(read(resource('a'), field(7, UNKNOWN)).changed, ['a']);
});
