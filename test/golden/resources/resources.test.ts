// What must hold: each proxy is given the resources that are written beside this, and can decode every one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { readObjects } from '@weft/controlplane/registry/read-objects';
import { createResourceCache } from '@weft/controlplane/resources/resource-cache';
import { createWorkloadView } from '@weft/controlplane/resources/workload-view';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import type { ResourceView } from '@weft/xds/resource';
import { assertGolden } from '../../support/golden.ts';

function viewOf(id: string): ResourceView {
  const text = readFileSync(new URL('../compile/shop.in.yaml', import.meta.url), 'utf8');
  const objects = new Map<string, RegistryObject>();
  for (const { key, outcome } of readObjects(text, 'shop.in.yaml').objects)
    if (outcome.kind === 'good' && outcome.object !== undefined) objects.set(key, outcome.object);
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const mesh = compileMesh({ revision: 1, objects }, { trustDomain, rootNamespace: 'weft-system' });
  const workload = mesh.workloads.get(id);
  assert.ok(workload !== undefined);
  const pem = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';
  const cache = createResourceCache({ onFailure: ({ cause }) => assert.fail(String(cause)) });
  return createWorkloadView({ revision: 1, mesh, bundle: { pem, version: '1' }, cache, shared: new Map(), workload });
}

for (const id of ['web-1.shop', 'cart-1.shop', 'db-0.shop']) {
  test(`the inbound listener of ${id} is as recorded`, () => {
    const listener = viewOf(id).get('listener', 'inbound');
    assert.ok(listener !== undefined);
    const { version, bytes } = listener;
    const file = new URL(`inbound-${id}.json`, import.meta.url);
    assertGolden({ version, inbound: decodeResource('listener', bytes) }, file);
  });
}

for (const kind of ['cluster', 'endpoints', 'listener', 'route'] as const) {
  test(`every ${kind} that a proxy which takes everything is given is as recorded`, () => {
    const listed = [...viewOf('web-1.shop').list(kind)].filter(({ name }) => name !== 'inbound');
    const read = listed.map(({ version, bytes }) => ({ version, ...decodeResource(kind, bytes) }));
    assertGolden(read, new URL(`all-${kind}.json`, import.meta.url));
  });
}

test('what is asked for by name or by address is as recorded', () => {
  const view = viewOf('web-1.shop');
  const name = 'outbound|5432||db.shop.svc.cluster.local';
  const asked = [
    ['listener', name],
    ['listener', '10.0.0.4_5432'],
    ['cluster', 'endpoint|5432||10.0.0.4'],
    ['listener', 'fd00::1_8080'],
    ['cluster', 'endpoint|8080||fd00::1'],
    ['cluster', 'endpoint|9090||10.0.0.1'],
  ] as const;
  const read = asked.map(([kind, asName]) => {
    const resource = view.get(kind, asName);
    assert.ok(resource !== undefined, `${kind} ${asName}`);
    return decodeResource(kind, resource.bytes);
  });
  assertGolden(read, new URL('by-name.json', import.meta.url));
});
