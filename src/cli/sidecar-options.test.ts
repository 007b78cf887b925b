// What a sidecar is made of from its command line and from what a Pod gives it.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Command } from 'commander';
import { pino } from 'pino';
import { createTestPki } from '../../test/support/mesh-pki.ts';
import { addSidecarOptions, type SidecarFlags, sidecarOptionsOf } from './sidecar-options.ts';

const log = pino({ enabled: false });
const POD_ENV = { WEFT_POD: 'web-0', WEFT_NAMESPACE: 'shop', WEFT_POD_IP: '10.0.0.7' };
let folder: string;
let bundle: string;
let token: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-options-'));
  bundle = join(folder, 'bundle.pem');
  token = join(folder, 'token');
  await writeFile(bundle, createTestPki().bundlePem);
  await writeFile(token, 'first\n');
});
after(() => rm(folder, { recursive: true }));

/** With these variables set, and every other that a sidecar reads unset. */
function parse(args: readonly string[], env: Readonly<Record<string, string>> = {}): SidecarFlags {
  const names = [...Object.keys(POD_ENV), 'WEFT_APP_PROBES'];
  const kept = names.map((name) => [name, process.env[name]] as const);
  for (const name of names) delete process.env[name];
  Object.assign(process.env, env);
  try {
    const command = addSidecarOptions(new Command('sidecar')).exitOverride();
    command.configureOutput({ writeErr: () => undefined });
    return command.parse([...args], { from: 'user' }).opts<SidecarFlags>();
  } finally {
    for (const [name, value] of kept) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

const inPod = (...more: readonly string[]): readonly string[] => [
  '--transparent',
  '--bundle',
  bundle,
  '--service-account-token-file',
  token,
  ...more,
];

test('a Pod says who it is in the environment, and the command line has the last word', async () => {
  const options = await sidecarOptionsOf(parse(inPod(), POD_ENV), log);
  assert.deepEqual([options.pod, options.namespace, options.podIp], ['web-0', 'shop', '10.0.0.7']);
  const named = await sidecarOptionsOf(parse(inPod('--pod', 'web-1'), POD_ENV), log);
  assert.equal(named.pod, 'web-1');
  assert.throws(() => parse(inPod(), {}), /required option '--pod <name>' not specified/);
});

test('the evidence of a Pod is its token as it is then, with its name', async () => {
  const options = await sidecarOptionsOf(parse(inPod(), POD_ENV), log);
  const evidence = { kind: 'service-account-token', pod: 'web-0', namespace: 'shop' };
  assert.deepEqual(await options.readEvidence(), { ...evidence, token: 'first' });
  await writeFile(token, 'second\n');
  assert.deepEqual(await options.readEvidence(), { ...evidence, token: 'second' });
  assert.equal(options.afterRefusal, 'retry');
  assert.equal(options.drainsOutbound, true);
  assert.equal(await options.readBundle?.(), options.bundlePem);
});

test('outside a Pod a join token is the evidence, and a refusal is the end', async () => {
  const named = ['--pod', 'web-0', '--namespace', 'shop', '--pod-ip', '10.0.0.7'];
  const flags = parse([...named, '--bundle', bundle, '--token-file', token]);
  const options = await sidecarOptionsOf(flags, log);
  assert.equal((await options.readEvidence()).kind, 'join-token');
  assert.equal(options.afterRefusal, 'end');
  assert.equal(options.readBundle, undefined);
  assert.equal(options.drainsOutbound, false);
  assert.throws(() => parse(inPod('--token-file', token), POD_ENV), /cannot be used with option/);
});

test("the application's probes come by the environment, and what is wrong with them is named", async () => {
  const probes = { 'web/readiness': { tcp: { port: 80 } } };
  const env = { ...POD_ENV, WEFT_APP_PROBES: JSON.stringify(probes) };
  const { appProbes } = await sidecarOptionsOf(parse(inPod(), env), log);
  assert.deepEqual([...appProbes.keys()], ['web/readiness']);
  assert.throws(
    () => parse(inPod(), { ...POD_ENV, WEFT_APP_PROBES: '{"web/readiness":{}}' }),
    /WEFT_APP_PROBES.*web\/readiness: needs exactly one of/,
  );
});

test('interception is proven every 30 s unless the command line says otherwise', async () => {
  const periodOf = async (...more: readonly string[]) =>
    (await sidecarOptionsOf(parse(inPod(...more), POD_ENV), log)).transparent?.proofPeriodMs;
  assert.equal(await periodOf(), 30_000);
  assert.equal(await periodOf('--interception-period', '5s'), 5_000);
  assert.equal(await periodOf('--no-interception-check'), undefined);
});
