// What must hold: a change re-encodes only what it changes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RegistryObject } from '@weft/model/mesh/objects';
import {
  allowWeb,
  decoded,
  MeshBench,
  pemOf,
  SHOP,
  WEB,
} from '../../../test/support/mesh-bench.ts';
import { podOf, serviceOf } from '../../../test/support/mesh-objects.ts';

/** Everything that two proxies would have asked for. */
function fetchAll(bench: MeshBench): void {
  for (const [id, account] of [
    ['web-1.shop', 'web'],
    ['cart-1.shop', 'cart'],
  ] as const) {
    const view = bench.views.viewFor(bench.proxy(id, account));
    for (const kind of ['cluster', 'endpoints', 'listener', 'route', 'secret'] as const)
      for (const { name } of view.list(kind)) view.get(kind, name);
  }
}

/** How many resources a change encodes anew. */
function encodesOf(bench: MeshBench, change: () => void): number {
  fetchAll(bench);
  const before = bench.views.encodes;
  change();
  bench.elapse();
  fetchAll(bench);
  return bench.views.encodes - before;
}

const changes: readonly {
  readonly name: string;
  readonly encodes: number;
  readonly objects: readonly RegistryObject[];
}[] = [
  {
    name: 'a policy: the inbound listener that it selects',
    encodes: 1,
    objects: [...SHOP, allowWeb],
  },
  {
    name: 'an endpoint that drains: its load assignment',
    encodes: 1,
    objects: [WEB, podOf('cart', { ips: ['10.0.0.2'], isDeleting: true }), ...SHOP.slice(2)],
  },
  {
    name: 'equal objects read again: nothing',
    encodes: 0,
    objects: SHOP.map((one) => structuredClone(one)),
  },
  {
    name: 'a Pod that nobody asks about: nothing',
    encodes: 0,
    objects: [...SHOP, podOf('lone', { ips: ['10.0.0.9'] })],
  },
  {
    name: 'a Service: cluster, endpoints, route and listener by address',
    encodes: 4,
    objects: [...SHOP, serviceOf('other', { clusterIps: ['10.96.0.9'] })],
  },
];
for (const { name, encodes, objects } of changes) {
  test(`a change re-encodes only what it changes: ${name}`, () => {
    using bench = new MeshBench(SHOP);
    assert.equal(
      encodesOf(bench, () => bench.change(objects)),
      encodes,
    );
  });
}

test('a new bundle re-encodes the secret alone, and is a new revision', () => {
  using bench = new MeshBench(SHOP);
  assert.equal(
    encodesOf(bench, () => bench.rotate()),
    1,
  );
  assert.equal(bench.views.revision, 2);
  const view = bench.views.viewFor(bench.proxy('web-1.shop', 'web'));
  const trusted = decoded(view, 'secret', 'ROOTCA');
  assert.equal('trustedCaPem' in trusted && trusted.trustedCaPem, pemOf('two'));
});
