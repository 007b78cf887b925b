// What must hold: a mesh that is kept compiled change by change is the mesh that its objects give from nothing, to the byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { readJwks } from '@weft/model/policy/jwks';
import { keyOf, NO_KEYS } from '@weft/model/policy/token-rules';
import { type EncodedResource, RESOURCE_ORDER } from '@weft/xds/resource';
import fc from 'fast-check';
import { KEYS_URI, meshChanges } from '../../../test/support/mesh-arbitrary.ts';
import { podOf, serviceOf, snapshotOf } from '../../../test/support/mesh-objects.ts';
import { runs } from '../../../test/support/runs.ts';
import { createTestKey, jwksOf } from '../../../test/support/tokens.ts';
import { PersistentMap } from '../registry/persistent-map.ts';
import { createResourceCache } from '../resources/resource-cache.ts';
import { createWorkloadView } from '../resources/workload-view.ts';
import { compileMesh } from './compile-mesh.ts';
import { MeshCompiler } from './mesh-compiler.ts';

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);
const identity = { trustDomain, rootNamespace: 'weft-system' };
const read = readJwks(jwksOf(createTestKey()));
assert.ok(read.ok);
const KEYS = new Map([[keyOf({ kind: 'jwks', uri: KEYS_URI, timeoutMs: 0 }), read.keys]]);

/** All that a mesh says but its problems, in the order in which it says it. */
const plain = ({ revision, settings, policies, ...mesh }: Mesh) => ({
  revision,
  settings,
  policies,
  workloads: [...mesh.workloads],
  workloadsByIp: [...mesh.workloadsByIp],
  destinations: [...mesh.destinations],
  destinationsByAddress: [...mesh.destinationsByAddress],
});

/** What every workload's proxy would be given, and one that is gone. */
function resourcesOf(mesh: Mesh): readonly (readonly [string, readonly EncodedResource[]])[] {
  const cache = createResourceCache({ onFailure: () => undefined });
  const bundle = { pem: '', version: '1' };
  return [...mesh.workloads.values(), undefined].map((workload) => {
    const view = createWorkloadView({
      revision: 1,
      mesh,
      bundle,
      cache,
      shared: new Map(),
      workload,
    });
    return [
      workload?.id ?? '',
      RESOURCE_ORDER.filter((kind) => kind !== 'secret').flatMap((kind) => [...view.list(kind)]),
    ] as const;
  });
}

const rounds = fc.array(fc.record({ changes: meshChanges, hasKeys: fc.boolean() }), {
  minLength: 1,
  maxLength: 12,
});

test('a mesh kept compiled is that of a full compile after every change, and gives the same bytes', () => {
  fc.assert(
    fc.property(rounds, (all) => {
      const compiler = new MeshCompiler(identity);
      let objects = PersistentMap.from<RegistryObject>([]);
      let kept: { readonly kept: Mesh; readonly fresh: Mesh } | undefined;
      for (const [at, { changes, hasKeys }] of all.entries()) {
        objects = objects.with(changes);
        const input = { revision: at, objects, keys: hasKeys ? KEYS : NO_KEYS };
        const mesh = compiler.compile(input);
        const fresh = compileMesh({ ...input, objects: new Map(objects) }, identity);
        assert.deepEqual(plain(mesh), plain(fresh));
        // Asked for late, when the next change has been compiled already.
        if (kept !== undefined) assert.deepEqual(kept.kept.problems, kept.fresh.problems);
        kept = { kept: mesh, fresh };
      }
      if (kept !== undefined) {
        assert.deepEqual(kept.kept.problems, kept.fresh.problems);
        assert.deepEqual(resourcesOf(kept.kept), resourcesOf(kept.fresh));
      }
    }),
    { numRuns: runs(40) },
  );
});

test('problems of an older mesh are its own, whenever they are asked for', () => {
  const compiler = new MeshCompiler(identity);
  const lone = compiler.compile(snapshotOf([serviceOf('web')]));
  const sound = compiler.compile(snapshotOf([serviceOf('web'), podOf('web')]));
  assert.deepEqual(
    [lone, sound].map(({ problems }) => problems.map(({ code }) => code)),
    [['no-endpoints'], []],
  );
});

test('a Pod that moves leaves every other workload and destination the same object', () => {
  const compiler = new MeshCompiler(identity);
  const others = Array.from({ length: 50 }, (_, n) => [
    podOf(`s${n}`, { ips: [`10.1.0.${n}`] }),
    serviceOf(`s${n}`, { clusterIps: [`10.96.1.${n}`] }),
  ]).flat();
  const before = compiler.compile(snapshotOf([...others, podOf('web'), serviceOf('web')]));
  const moved = podOf('web', { ips: ['10.0.0.99'] });
  const after = compiler.compile(snapshotOf([...others, moved, serviceOf('web')]));
  const changed = [
    ...[...after.workloads].filter(([id, one]) => before.workloads.get(id) !== one),
    ...[...after.destinations].filter(([name, one]) => before.destinations.get(name) !== one),
  ].map(([name]) => name);
  assert.deepEqual(changed, ['web-1.shop', 'outbound|80||web.shop.svc.cluster.local']);
  const same = compiler.compile({
    ...snapshotOf([...others, moved, serviceOf('web')]),
    revision: 3,
  });
  assert.equal(same.workloads, after.workloads);
  assert.equal(same.destinations, after.destinations);
});
