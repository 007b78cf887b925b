// What must hold: a snapshot compiles to the mesh that is written beside it, in whatever order its objects come.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { readObjects } from '@weft/controlplane/registry/read-objects';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { formatProblem } from '@weft/model/problem';
import fc from 'fast-check';
import { assertGolden, toJson } from '../../support/golden.ts';

const CASES = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.in.yaml'))
  .map((file) => file.slice(0, -'.in.yaml'.length))
  .sort();

function objectsOf(name: string): readonly (readonly [string, RegistryObject])[] {
  const text = readFileSync(new URL(`${name}.in.yaml`, import.meta.url), 'utf8');
  const read = readObjects(text, `${name}.in.yaml`);
  return read.objects.map(({ key, outcome, problems }) => {
    assert.ok(outcome.kind === 'good' && outcome.object !== undefined, JSON.stringify(problems));
    return [key, outcome.object];
  });
}

function compile(objects: Snapshot['objects'], previous?: Mesh): Mesh {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  return compileMesh({ revision: 1, objects }, { trustDomain, rootNamespace: 'weft-system' }, previous);
}

/** Each thing once: what workloads share is named. */
function summaryOf(mesh: Mesh) {
  const nameOf = (item: { readonly namespace: string; readonly name: string }): string =>
    `${item.namespace}/${item.name}`;
  return {
    settings: mesh.settings,
    workloads: [...mesh.workloads.values()].map(({ inbound, ...workload }) => ({
      ...workload,
      inbound: {
        mode: inbound.mode,
        ports: inbound.ports.map(({ port, protocol, mode }) => `${port} ${protocol} ${mode}`),
        policies: inbound.policies.map(nameOf),
        broken: inbound.broken.map(nameOf),
      },
    })),
    destinations: [...mesh.destinations.values()].map(({ target, upstream, endpoints }) => ({
      ...target,
      identities: upstream.identities,
      endpoints: endpoints.endpoints,
    })),
    byAddress: [...mesh.destinationsByAddress].map(([at, { target }]) => `${at} → ${target.name}`),
    problems: mesh.problems.map(formatProblem),
  };
}

for (const name of CASES) {
  test(`compileMesh() of ${name} is as recorded`, () => {
    const mesh = compile(new Map(objectsOf(name)));
    assertGolden(summaryOf(mesh), new URL(`${name}.out.json`, import.meta.url));
  });

  test(`compileMesh() of ${name} is the same for every order of its objects`, () => {
    const objects = objectsOf(name);
    const expected = toJson(compile(new Map(objects)));
    fc.assert(
      fc.property(fc.shuffledSubarray([...objects], { minLength: objects.length }), (shuffled) => {
        assert.ok(toJson(compile(new Map(shuffled))) === expected, 'another mesh');
      }),
      { numRuns: 30 },
    );
  });

  test(`compileMesh() of ${name} says the same whatever it was before`, () => {
    const objects = objectsOf(name);
    const expected = toJson(compile(new Map(objects)));
    fc.assert(
      fc.property(fc.subarray([...objects]), (some) => {
        const before = compile(new Map(some));
        assert.ok(toJson(compile(new Map(objects), before)) === expected, 'another mesh');
      }),
      { numRuns: 30 },
    );
  });

  test(`compileMesh() of ${name} keeps every object of an equal mesh before it`, () => {
    const before = compile(new Map(objectsOf(name)));
    const after = compile(new Map(objectsOf(name)), before);
    assert.equal(after.settings, before.settings);
    for (const [id, workload] of after.workloads) assert.equal(workload, before.workloads.get(id));
    for (const [id, destination] of after.destinations)
      assert.equal(destination, before.destinations.get(id));
  });
}
