// Differential fuzz of policies: random policies and random requests, decided alike by the evaluator, by a live sidecar and by a real Envoy. FUZZ_SEED repeats a run, FUZZ_SECONDS bounds it.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { evaluateGroup } from '@weft/model/policy/eval-cases';
import fc from 'fast-check';
import { openConformanceApp } from '../support/conformance-caller.ts';
import { type CorpusGroup, objectsOf, wireGroupOf } from '../support/conformance-corpus.ts';
import { openConformanceMesh } from '../support/conformance-mesh.ts';
import { runOnSidecars } from '../support/conformance-sidecar.ts';
import { findEnvoy } from '../support/envoy.ts';
import {
  caseArbitrary,
  FUZZ_ROOT_NAMESPACE,
  FUZZ_WORKLOAD,
  policiesArbitrary,
} from '../support/policy-arbitraries.ts';
import { runRedirected, whyNoRedirect } from '../support/redirected-process.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 60);
/** Meshes of one batch, and requests at each. */
const GROUPS = 60;
const CASES = 25;
/** More differences of one kind say no more. */
const MAX_SHOWN = 20;

const meshArbitrary = fc.record({
  policies: policiesArbitrary(4),
  cases: fc.array(caseArbitrary, { minLength: CASES, maxLength: CASES }),
  pathNormalization: fc.constantFrom('NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
});

/** Expected is what the evaluator decides. */
function batchOf(seed: number): readonly CorpusGroup[] {
  const meshes = fc.sample(meshArbitrary, { seed, numRuns: GROUPS });
  return meshes.map(({ policies, cases, pathNormalization }, index) => {
    const group = {
      name: `seed ${seed} mesh ${index}`,
      workload: FUZZ_WORKLOAD,
      rootNamespace: FUZZ_ROOT_NAMESPACE,
      trustDomain: 'cluster.local',
      options: { pathNormalization },
      policies: policies.map((policy) => JSON.stringify(policy)).join('\n---\n'),
      cases: cases.map((request, at) => ({ name: String(at), request, expect: 'deny' as const })),
    };
    const { results } = evaluateGroup(group, objectsOf(group.policies));
    return {
      ...group,
      cases: group.cases.map((one, at) => ({ ...one, expect: results[at]?.actual ?? 'deny' })),
    };
  });
}

type Verdicts = ReadonlyMap<string, string>;
const keyOf = (group: string, name: string): string => `${group} case ${name}`;

async function byEnvoy(
  groups: readonly CorpusGroup[],
  how: { readonly binary: string; readonly folder: string },
): Promise<Verdicts> {
  const file = join(how.folder, 'groups.json');
  await writeFile(file, JSON.stringify(groups));
  const script = fileURLToPath(new URL('../support/conformance-envoy-main.ts', import.meta.url));
  const verdicts = new Map<string, string>();
  for await (const text of runRedirected(script, [how.binary, 'DELTA_GRPC', file])) {
    const line: { group?: string; case?: string; verdict?: string; detail?: string } =
      JSON.parse(text);
    if (line.group === undefined) continue;
    verdicts.set(keyOf(line.group, line.case ?? ''), `${line.verdict} ${line.detail}`);
  }
  return verdicts;
}

async function bySidecars(groups: readonly CorpusGroup[]): Promise<Verdicts> {
  const verdicts = new Map<string, string>();
  await using mesh = await openConformanceMesh({
    trustDomain: 'cluster.local',
    rootNamespace: FUZZ_ROOT_NAMESPACE,
  });
  await using app = await openConformanceApp('127.0.0.1', 0);
  for (const [index, group] of groups.entries()) {
    const outcomes = await runOnSidecars(wireGroupOf(group), {
      mesh,
      app: { address: '127.0.0.1', port: app.port },
      podIp: '127.89.0.1',
      callerIp: '127.89.0.2',
      pod: `workload-${index}`,
    });
    for (const { case: one, verdict, detail } of outcomes) {
      verdicts.set(keyOf(group.name, one.name), `${verdict} ${detail}`);
    }
  }
  return verdicts;
}

/** Weft refuses a NUL in a path in every mode, for no application means it; Envoy where it normalises alone. */
const isStricter = (group: CorpusGroup, path: string | undefined): boolean =>
  group.options?.pathNormalization === 'NONE' && path?.includes('%00') === true;

function differences(place: string, groups: readonly CorpusGroup[], verdicts: Verdicts): string[] {
  return groups.flatMap((group) =>
    group.cases.flatMap(({ name, expect, request }) => {
      const got = verdicts.get(keyOf(group.name, name)) ?? 'not run';
      if (got.startsWith(`${expect} `)) return [];
      if (place === 'Envoy' && expect === 'deny' && isStricter(group, request.path)) return [];
      const what = `${place}: ${got}; the evaluator: ${expect}`;
      const { pathNormalization } = group.options ?? {};
      return [`${what}\n${JSON.stringify(request)} ${pathNormalization}\n${group.policies}`];
    }),
  );
}

test(`evaluator, sidecar and Envoy decide alike (FUZZ_SEED=${SEED}, FUZZ_SECONDS=${SECONDS})`, async (t) => {
  const found = await findEnvoy();
  const why = found.ok ? await whyNoRedirect() : found.reason;
  if (why !== undefined) t.diagnostic(`without Envoy: ${why}`);
  const folder = await mkdtemp(join(tmpdir(), 'weft-fuzz-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const until = performance.now() + SECONDS * 1_000;
  let decided = 0;
  for (let seed = SEED; decided === 0 || performance.now() < until; seed++) {
    const groups = batchOf(seed);
    const differing = differences('sidecar', groups, await bySidecars(groups));
    if (found.ok && why === undefined) {
      const verdicts = await byEnvoy(groups, { binary: found.path, folder });
      differing.push(...differences('Envoy', groups, verdicts));
    }
    assert.equal(
      differing.length,
      0,
      `${differing.length} differ:\n${differing.slice(0, MAX_SHOWN).join('\n\n')}`,
    );
    decided += groups.reduce((sum, { cases }) => sum + cases.length, 0);
  }
  t.diagnostic(`${decided} requests decided alike`);
});
