// What must hold: the evaluator, live sidecars and a real Envoy that Weft's control plane drives decide every recorded request alike. Prints the table of it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { evaluateGroup } from '@weft/model/policy/eval-cases';
import { isBadPath, openConformanceApp } from '../support/conformance-caller.ts';
import {
  corpusSkip,
  EXCLUSIONS,
  type Exclusion,
  objectsOf,
  readCorpusGroups,
  type WireGroup,
  wireGroupOf,
} from '../support/conformance-corpus.ts';
import { type ConformanceMesh, openConformanceMesh } from '../support/conformance-mesh.ts';
import { runOnSidecars } from '../support/conformance-sidecar.ts';
import { findEnvoy } from '../support/envoy.ts';
import { runRedirected, whyNoRedirect } from '../support/redirected-process.ts';
import { shown } from '../support/shown.ts';

const PLACES = ['evaluator', 'sidecars', 'Envoy, delta', 'Envoy, sotw'] as const;
type Place = (typeof PLACES)[number];
/** Both forms of the protocol, for state of the world is what Envoy asks for unless it is told otherwise. */
const VARIANTS = { 'Envoy, delta': 'DELTA_GRPC', 'Envoy, sotw': 'GRPC' } as const;

const groups = readCorpusGroups();
const wires = groups.map(wireGroupOf);
const caseKey = (group: string, name: string): string => `${group}: ${name}`;
const tally = new Map<Place, { agree: number; differ: number; byPair: number }>();

/** Every case that can be run in a place, by what came out. */
function note(place: Place, isAlike: boolean, byPair = false): void {
  const known = tally.get(place) ?? { agree: 0, differ: 0, byPair: 0 };
  tally.set(place, known);
  if (isAlike) known.agree++;
  else known.differ++;
  if (byPair) known.byPair++;
}

const runnable = ({ cases }: WireGroup): number =>
  cases.filter(({ excluded }) => excluded === undefined).length;

/** A network of this process: other test files run beside it. */
const NETWORK = `127.${192 + ((process.pid >> 8) & 31)}.${process.pid & 255}`;

describe('recorded decisions in three places', { skip: corpusSkip }, () => {
  after(() => {
    printTable();
    const agrees = (place: Place): boolean => {
      const { agree = 0, differ = 0 } = tally.get(place) ?? {};
      return agree > 0 && differ === 0;
    };
    if (agrees('sidecars')) shown('weft', 'rules-agree');
    const inEnvoy = (['Envoy, delta', 'Envoy, sotw'] as const).filter((one) => tally.has(one));
    if (inEnvoy.length > 0 && inEnvoy.every(agrees)) shown('envoy', 'rules-agree');
  });

  test('the evaluator decides all of them as recorded', () => {
    const differing: string[] = [];
    for (const group of groups) {
      for (const result of evaluateGroup(group, objectsOf(group.policies)).results) {
        const isAlike = result.actual === result.expect;
        note('evaluator', isAlike);
        if (!isAlike) differing.push(caseKey(group.name, result.case));
      }
    }
    assert.deepEqual(differing, []);
  });

  describe('live sidecars', () => sidecarTests());
  describe('a real Envoy by delta xDS', () => envoyTests('Envoy, delta'));
  describe('a real Envoy by state of the world', () => envoyTests('Envoy, sotw'));
});

function sidecarTests(): void {
  const meshes = new Map<string, ConformanceMesh>();
  let app: Awaited<ReturnType<typeof openConformanceApp>> | undefined;
  before(async () => {
    app = await openConformanceApp('127.0.0.1', 0);
    for (const group of groups) {
      if (!meshes.has(group.trustDomain)) {
        meshes.set(group.trustDomain, await openConformanceMesh(group));
      }
    }
  });
  after(async () => {
    for (const mesh of meshes.values()) await mesh[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
  });
  for (const [index, wire] of wires.entries()) {
    test(`sidecars decide ${runnable(wire)} requests alike: ${wire.group.name}`, async () => {
      const mesh = meshes.get(wire.group.trustDomain);
      assert.ok(mesh !== undefined && app !== undefined);
      let denials = 0;
      const outcomes = await runOnSidecars(wire, {
        mesh,
        app: { address: '127.0.0.1', port: app.port },
        podIp: `${NETWORK}.1`,
        callerIp: `${NETWORK}.2`,
        pod: `workload-${index}`,
        onDenied: () => denials++,
      });
      const differing = outcomes.filter((outcome) => {
        const isAlike = outcome.verdict === outcome.case.expect;
        note('sidecars', isAlike, outcome.by === 'pair');
        return !isAlike;
      });
      assert.deepEqual(differing, []);
      // A connection that ends could have ended for another reason.
      const denied = outcomes.filter((one) => one.verdict === 'deny' && !isBadPath(one));
      assert.equal(denials, denied.length, 'denials in the access log');
    });
  }
}

interface EnvoyLine {
  readonly group?: string;
  readonly case?: string;
  readonly verdict?: string;
  readonly detail?: string;
  readonly rejected?: Readonly<Record<string, number>>;
  /** By RBAC's own counters. */
  readonly denied?: number;
}

function envoyTests(place: keyof typeof VARIANTS): void {
  const outcomes = new Map<string, { readonly verdict: string; readonly detail: string }>();
  const rejected: string[] = [];
  let denials = 0;
  let unavailable: string | undefined;
  before(
    async () => {
      const found = await findEnvoy();
      unavailable = found.ok ? await whyNoRedirect() : found.reason;
      if (!found.ok || unavailable !== undefined) return;
      const script = fileURLToPath(
        new URL('../support/conformance-envoy-main.ts', import.meta.url),
      );
      for await (const text of runRedirected(script, [found.path, VARIANTS[place]])) {
        const line: EnvoyLine = JSON.parse(text);
        if (line.group !== undefined) {
          const { verdict = '', detail = '' } = line;
          outcomes.set(caseKey(line.group, line.case ?? ''), { verdict, detail });
        }
        denials += line.denied ?? 0;
        for (const [stat, count] of Object.entries(line.rejected ?? {})) {
          if (count !== 0) rejected.push(`${stat}: ${count}`);
        }
      }
    },
    { timeout: 170_000 },
  );
  test('Envoy refuses nothing that the control plane sends it', (t) => {
    if (unavailable !== undefined) t.skip(unavailable);
    else assert.deepEqual(rejected, []);
  });
  test("what was denied there was denied by Envoy's RBAC filters", (t) => {
    if (unavailable !== undefined) {
      t.skip(unavailable);
      return;
    }
    // A connection that ends could have ended for another reason.
    const denied = [...outcomes.values()].filter(
      (one) => one.verdict === 'deny' && !one.detail.includes(' 400 '),
    );
    assert.equal(denials, denied.length);
  });
  for (const wire of wires) {
    test(`Envoy decides ${runnable(wire)} requests alike: ${wire.group.name}`, (t) => {
      if (unavailable !== undefined) {
        t.skip(unavailable);
        return;
      }
      const differing: string[] = [];
      for (const { name, expect, excluded } of wire.cases) {
        if (excluded !== undefined) continue;
        const { verdict, detail } = outcomes.get(caseKey(wire.group.name, name)) ?? {
          verdict: 'not run',
          detail: '',
        };
        note(place, verdict === expect);
        if (verdict !== expect) differing.push(`${name}: ${verdict}, not ${expect} (${detail})`);
      }
      assert.deepEqual(differing, []);
    });
  }
}

function printTable(): void {
  const total = groups.reduce((sum, { cases }) => sum + cases.length, 0);
  const cell = (text: string | number): string => String(text).padStart(10);
  const lines = [
    `${'cases'.padEnd(14)}${['run', 'alike', 'differ', 'not run'].map(cell).join('')}`,
  ];
  for (const place of PLACES) {
    const { agree, differ, byPair } = tally.get(place) ?? { agree: 0, differ: 0, byPair: 0 };
    const run = agree + differ;
    const pairs = byPair > 0 ? `   ${byPair} of them from sidecar to sidecar` : '';
    lines.push(
      `${place.padEnd(14)}${[run, agree, differ, total - run].map(cell).join('')}${pairs}`,
    );
  }
  lines.push('not run on the wire:');
  for (const [exclusion, cases] of excludedCases()) {
    lines.push(`  ${cases.length} ${EXCLUSIONS[exclusion]}`);
    lines.push(...cases.map((name) => `     ${name}`));
  }
  process.stdout.write(`\n${lines.join('\n')}\n\n`);
}

function excludedCases(): ReadonlyMap<Exclusion, readonly string[]> {
  const byReason = new Map<Exclusion, string[]>();
  for (const { group, cases } of wires) {
    for (const { name, excluded } of cases) {
      if (excluded === undefined) continue;
      const known = byReason.get(excluded) ?? [];
      known.push(caseKey(group.name, name));
      byReason.set(excluded, known);
    }
  }
  return byReason;
}
