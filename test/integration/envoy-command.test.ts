// `weft sidecar --proxy envoy`: what it refuses before anything runs, and that Envoy itself accepts what it writes.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { createTestPki } from '../support/mesh-pki.ts';
import { runWeft } from '../support/lab-daemon.ts';

const found = await findEnvoy();
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-envoy-command-'));
  await writeFile(join(folder, 'bundle.pem'), createTestPki().bundlePem);
});
after(() => rm(folder, { recursive: true, force: true }));

const start = (...more: readonly string[]) =>
  runWeft([
    'sidecar',
    '--proxy',
    'envoy',
    '--pod',
    'web-0',
    '--namespace',
    'shop',
    '--pod-ip',
    '10.0.0.2',
    '--bundle',
    join(folder, 'bundle.pem'),
    ...more,
  ]);

test('Envoy accepts the bootstrap', { skip: found.ok ? false : found.reason }, async () => {
  assert.ok(found.ok);
  const args = [
    '--transparent',
    '--envoy',
    found.path,
    '--zone',
    'z1',
    '--region',
    'r1',
    '--check',
  ];
  const { code, stdout, stderr } = await start(...args);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /configuration '.*' OK/);
});

const REFUSED: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['connections that nobody redirected', [], /needs --transparent/],
  [
    "ports of Weft's own sidecar",
    ['--transparent', '--inbound', '8080=127.0.0.1:3000'],
    /--inbound is of Weft's own sidecar/,
  ],
  [
    'other ports of interception',
    ['--transparent', '--inbound-listen', '[::]:16006'],
    /15006 and 15001 of an Envoy/,
  ],
  [
    'a program that is not there',
    ['--transparent', '--envoy', '/nowhere/envoy'],
    /--envoy: there is no program \/nowhere\/envoy/,
  ],
  ['no threads', ['--transparent', '--envoy-concurrency', '0'], /no number of threads/],
];
for (const [what, args, why] of REFUSED) {
  test(`it refuses ${what}, and says what to do`, async () => {
    const { code, stderr } = await start(...args);
    assert.equal(code, 1);
    assert.match(stderr, why);
  });
}

test('`weft guard` runs nothing for a parent that is gone', async () => {
  const { code, stderr } = await runWeft(['guard', '1', '/bin/echo', 'ran']);
  assert.equal(code, 1);
  assert.match(stderr, /whoever asked for it is gone/);
});
