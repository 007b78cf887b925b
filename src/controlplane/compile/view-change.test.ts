// What must hold: a resource that is other than before is named by the change, for everybody who may have asked for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh, Workload } from '@weft/model/mesh/mesh';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { RESOURCE_ORDER, type ResourceKind } from '@weft/xds/resource';
import fc from 'fast-check';
import { meshChanges } from '../../../test/support/mesh-arbitrary.ts';
import { podOf, serviceOf, snapshotOf } from '../../../test/support/mesh-objects.ts';
import { runs } from '../../../test/support/runs.ts';
import { PersistentMap } from '../registry/persistent-map.ts';
import { createResourceCache } from '../resources/resource-cache.ts';
import { createWorkloadView } from '../resources/workload-view.ts';
import { MeshCompiler } from './mesh-compiler.ts';
import { viewChangeOf } from './view-change.ts';

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);
const identity = { trustDomain, rootNamespace: 'weft-system' };
const cache = createResourceCache({ onFailure: () => undefined });
const bundle = { pem: '', version: '1' };

const viewOf = (mesh: Mesh, workload: Workload | undefined) =>
  createWorkloadView({ revision: 1, mesh, bundle, cache, shared: new Map(), workload });

/** Everything that anybody can ask for of either mesh. */
function namesOf(meshes: readonly Mesh[]): readonly (readonly [ResourceKind, string])[] {
  const direct = meshes.flatMap((mesh) =>
    [...mesh.workloads.values()].flatMap(({ ips, inbound }) =>
      ips.flatMap((ip) =>
        inbound.ports.flatMap(({ port }) => [`${ip}_${port}`, `endpoint|${port}||${ip}`]),
      ),
    ),
  );
  return RESOURCE_ORDER.filter((kind) => kind !== 'secret').flatMap((kind) => {
    const listed = meshes.flatMap((mesh) => [...viewOf(mesh, undefined).list(kind)]);
    const byName = meshes.flatMap((mesh) => [...mesh.destinations.keys()]);
    const names = new Set([...listed.map(({ name }) => name), ...byName, ...direct]);
    return [...names].map((name) => [kind, name] as const);
  });
}

function checkNamed(before: Mesh, after: Mesh): void {
  const change = viewChangeOf(before, after);
  if (change.isAll) return;
  const [old, now] = [viewOf(before, undefined), viewOf(after, undefined)];
  for (const [kind, name] of namesOf([before, after])) {
    const isSame = old.get(kind, name)?.version === now.get(kind, name)?.version;
    assert.ok(isSame || change.names.has(name), `${kind} ${name} has changed`);
  }
  for (const id of new Set([...before.workloads.keys(), ...after.workloads.keys()])) {
    const [one, other] = [before.workloads.get(id), after.workloads.get(id)];
    const own = (mesh: Mesh, workload: Workload | undefined): readonly string[] =>
      (['listener', 'cluster'] as const).flatMap((kind) =>
        [...viewOf(mesh, workload).list(kind)]
          .filter(({ name }) => name.startsWith('inbound'))
          .map(({ name, version }) => `${name} ${version}`),
      );
    const isSame = own(before, one).join() === own(after, other).join();
    assert.ok(isSame || change.proxies.has(id), `${id} has changed`);
    assert.ok(one?.identity === other?.identity || change.proxies.has(id), `${id} is another`);
  }
}

test('whatever differs between two meshes is named', () => {
  fc.assert(
    fc.property(fc.array(meshChanges, { minLength: 2, maxLength: 6 }), (rounds) => {
      const compiler = new MeshCompiler(identity);
      let objects = PersistentMap.from<RegistryObject>([]);
      let before: Mesh | undefined;
      for (const [revision, changes] of rounds.entries()) {
        objects = objects.with(changes);
        const after = compiler.compile({ revision, objects });
        if (before !== undefined) checkNamed(before, after);
        before = after;
      }
    }),
    { numRuns: runs(25) },
  );
});

test('a Pod that moves names its Service, itself by both addresses, and nothing else', () => {
  const compiler = new MeshCompiler(identity);
  const cart = [podOf('cart', { ips: ['10.0.0.2'] }), serviceOf('cart', { clusterIps: [] })];
  const web = serviceOf('web');
  const before = compiler.compile(snapshotOf([podOf('web'), web, ...cart]));
  const moved = podOf('web', { ips: ['10.0.0.9'] });
  const change = viewChangeOf(before, compiler.compile(snapshotOf([moved, web, ...cart], 2)));
  assert.deepEqual([...change.proxies], []);
  assert.deepEqual([...change.names].sort(), [
    '10.0.0.1_8080',
    '10.0.0.9_8080',
    'endpoint|8080||10.0.0.1',
    'endpoint|8080||10.0.0.9',
    'outbound|80||web.shop.svc.cluster.local',
  ]);
});
