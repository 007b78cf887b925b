// The control plane's benchmark must read responses of both spellings as they are, and change resources in nothing but the marker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { writeDeltaResponse } from '@weft/xds/protocol/delta';
import { writeSotwResponse } from '@weft/xds/protocol/sotw';
import { TYPE_URLS } from '@weft/xds/resource';
import { pemOf } from '../support/mesh-bench.ts';
import { settingsOf } from './controlplane/settings.ts';
import { BenchMesh } from './controlplane/mesh.ts';
import { encodeChange, replaceMarker } from './controlplane/recorded.ts';
import { readCarried } from './propagation/response.ts';

const RESOURCE = encodeResource('secret', { name: 'bundle', trustedCaPem: pemOf('one') });
const RESPONSE = {
  kind: 'secret',
  version: '7',
  nonce: 'n1',
  resources: [RESOURCE],
  removed: [],
} as const;
const VALUE = Buffer.from(RESOURCE.bytes);
const RECORDED = { kind: 'secret', name: 'bundle', value: VALUE, groups: ['a', 'b'] } as const;

test('readCarried() gives what a delta response carries', () => {
  const read = readCarried('delta', Buffer.from(writeDeltaResponse(RESPONSE, 'weft')));
  const { version } = RESOURCE;
  const resources = [{ name: 'bundle', version, value: VALUE }];
  assert.deepEqual(read, { typeUrl: TYPE_URLS.secret, nonce: 'n1', version: '', resources });
});

test('readCarried() gives what a state-of-the-world response carries', () => {
  const read = readCarried('sotw', Buffer.from(writeSotwResponse(RESPONSE, 'weft')));
  const resources = [{ name: 'bundle', version: '', value: VALUE }];
  assert.deepEqual(read, { typeUrl: TYPE_URLS.secret, nonce: 'n1', version: '7', resources });
});

test('encodeChange() is a delta response', () => {
  const [resource] = readCarried('delta', Buffer.from(encodeChange('3', [RECORDED]))).resources;
  assert.deepEqual(resource, { name: 'bundle', version: '3', value: VALUE });
});

test('replaceMarker() changes the resources that hold the text, and only there', () => {
  const other = { ...RECORDED, value: Buffer.from('nothing') };
  const changed = replaceMarker([RECORDED, other], 'one', 'two');
  assert.equal(changed.length, 1);
  assert.equal(changed[0]?.value.toString(), VALUE.toString().replace('one', 'two'));
  assert.ok(RECORDED.value.includes('one'), 'the original is left as it is');
  assert.throws(() => replaceMarker([RECORDED], 'one', 'longer'), RangeError);
});

test('a mesh of any size calls five services, and changes endpoints that somebody asks for', () => {
  for (const size of [
    { proxies: 2, services: 2 },
    { proxies: 100, services: 10 },
    { proxies: 100, services: 1_000 },
  ]) {
    const mesh = new BenchMesh(size);
    assert.equal(mesh.proxies.length, size.proxies);
    for (const service of mesh.changing) assert.ok(mesh.callersOf(service) > 0);
    assert.equal(mesh.calledBy(0).length, Math.min(5, size.services - 1));
  }
});

test('settingsOf() takes one setting, or all', () => {
  const one = settingsOf({ isLarge: false, proxies: '7', variant: 'sotw' });
  assert.deepEqual(one, [{ proxies: 7, services: 100, variant: 'sotw' }]);
  assert.equal(settingsOf({ isLarge: false }).length, 6);
  assert.equal(settingsOf({ isLarge: true }).length, 9);
  assert.throws(() => settingsOf({ isLarge: false, proxies: '1' }), RangeError);
  assert.throws(() => settingsOf({ isLarge: false, variant: 'rest' }), RangeError);
});
