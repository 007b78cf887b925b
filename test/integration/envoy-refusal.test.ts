// What an Envoy refuses is known: by its words in the status of the policy, in the agent's log and metrics; and what it had stays in force.
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { envoyLab, openEnvoyLab } from '../support/envoy-lab.ts';
import { modeYaml, policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';

/** An Envoy that takes small regular expressions alone: those of its admin endpoints, and none as long as an account's name may be. */
const script = (envoy: string): string => `#!/bin/sh
sed -i 's/"re2.max_program_size.error_level":32768/"re2.max_program_size.error_level":60/' bootstrap.json
exec '${envoy}' "$@"
`;

const deny = (name: string, rule: string): string =>
  policyYaml({ name, action: 'DENY', app: 'cart', rules: `[${rule}]` });
const path = (text: string): string => `{to: [{operation: {paths: ["${text}"]}}]}`;
/** By a regular expression over the caller's id. */
const LONG = `{from: [{source: {principals: ["*/ns/shop/sa/${'n'.repeat(63)}"]}}]}`;

test('a policy that an Envoy refuses is not enforced, says in whose words, and leaves what was', {
  skip: envoyLab.skip,
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-envoy-refusal-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const envoy = join(folder, 'envoy');
  await writeFile(envoy, script(envoyLab.envoy));
  await chmod(envoy, 0o755);
  await using lab = await openEnvoyLab({
    pods: [
      { name: 'web', proxy: 'weft' },
      { name: 'cart', proxy: 'envoy', args: ['--envoy', envoy] },
    ],
    manifests: { 'mode.yaml': modeYaml('STRICT'), 'first.yaml': deny('first', path('/first')) },
  });
  const [web, cart] = [lab.pod('web'), lab.pod('cart')];
  await lab.enforced('first');
  await lab.write('second.yaml', deny('second', LONG));
  let last: unknown;
  const report = await eventually(
    async () => {
      const policy = await lab.policy('second');
      last = policy;
      return JSON.stringify(policy).includes('"refused"') ? policy : undefined;
    },
    {
      what: 'the refusal in the status',
      withinMs: 10_000,
      told: () => `${JSON.stringify(last)}\n${cart.log.slice(-2_000)}`,
    },
  );
  assert.equal(report['isEnforced'], false);
  assert.match(JSON.stringify(report), /regex.*program size/i, "Envoy's own words");
  assert.match(cart.log, /the program beside us refused what it got/);
  const metrics = (await cart.get(15_020, '/metrics')).body;
  assert.match(metrics, /^weft_agent_answers_total\{answer="refused"\} [1-9]/m);
  const get = (path: string) => ({ kind: 'http1', host: cart.vip, port: 80, path }) as const;
  assert.equal((await web.call(get('/first'))).status, 403, 'what was in force is');
  await lab.remove('second.yaml');
  await lab.write('third.yaml', deny('third', path('/third')));
  await lab.enforced('third');
  assert.equal((await web.call(get('/third'))).status, 403, 'what comes next is taken');
});
