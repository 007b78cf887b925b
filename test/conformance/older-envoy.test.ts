// The Envoy of the minor version before is as good: tests of what real Envoys take, refuse and decide pass with it too, each file as it stands.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ENVOY_VERSIONS, findEnvoy, type FoundEnvoy } from '../bench/peers/envoy-binary.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const [, OLDER] = ENVOY_VERSIONS;
const LIMIT_MS = 120_000;

/** By what they show; with a pattern, those tests of a file alone. */
const FILES: readonly (readonly [what: string, file: string, pattern?: string])[] = [
  ['xDS, in both forms, aggregated and by type', 'test/conformance/xds/envoy.test.ts'],
  [
    'authorizers, trials, refused paths and denial answers',
    'test/conformance/filters-envoy.test.ts',
  ],
  ['TLS of clients outside the mesh', 'test/conformance/tls-envoy.test.ts'],
  ['tokens', 'test/conformance/jwt-envoy.test.ts'],
  ['traffic of callers', 'test/conformance/traffic-envoy.test.ts'],
  ['limits at the called side', 'test/conformance/traffic-limits-envoy.test.ts'],
  ['a sidecar', 'test/integration/envoy-sidecar.test.ts'],
  ['what it calls', 'test/integration/envoy-calls.test.ts'],
  ['recorded decisions', 'test/conformance/agreement.test.ts', 'a real Envoy by delta xDS'],
];

let envoy: FoundEnvoy = { ok: false, reason: 'it was not looked for' };
before(async () => {
  envoy = await findEnvoy(OLDER);
});

interface Outcome {
  readonly code: unknown;
  readonly said: string;
  readonly passed: number;
  readonly skipped: number;
}

/** Runs a file of tests in a process of its own, in which ENVOY names the binary. */
async function runFile(file: string, binary: string, pattern?: string): Promise<Outcome> {
  const only = pattern === undefined ? [] : [`--test-name-pattern=${pattern}`];
  // With it, a runner of tests takes itself for part of another's run, and runs nothing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, ['--test', '--test-reporter=tap', ...only, file], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, ENVOY: binary, WEFT_SHOWN_ENVOY: 'envoy-before' },
    timeout: LIMIT_MS,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code] = await once(child, 'close');
  const count = (kind: 'pass' | 'skipped'): number => {
    const line = said.split('\n').find((text) => text.startsWith(`# ${kind} `));
    return Number(line?.slice(`# ${kind} `.length) ?? Number.NaN);
  };
  return { code, said, passed: count('pass'), skipped: count('skipped') };
}

const failures = (said: string): string =>
  said
    .split('\n')
    .filter((line) => line.includes('not ok ') || line.includes('error:'))
    .slice(0, 20)
    .join('\n');

for (const [what, file, pattern] of FILES) {
  test(`Envoy ${OLDER}: ${what}`, async (t) => {
    if (process.env['ENVOY'] !== undefined) return t.skip('ENVOY names the only one to be tested');
    if (!envoy.ok) return t.skip(`no Envoy ${OLDER}: ${envoy.reason}`);
    assert.equal(envoy.version, OLDER);
    const { code, said, passed, skipped } = await runFile(file, envoy.path, pattern);
    assert.equal(code, 0, failures(said));
    assert.ok(passed > 0, 'nothing was tested');
    assert.equal(skipped, 0, 'something was skipped');
  });
}
