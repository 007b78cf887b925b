// Reports of bindings: that a Pod without a proxy is handed nothing is said, and never waited for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../../test/support/lab-wait.ts';
import { SHOP, WEB } from '../../../test/support/mesh-bench.ts';
import { podOf } from '../../../test/support/mesh-objects.ts';
import { createCredentialRig, DB } from './testing/credential-rig.ts';

test('that a Pod without a proxy is handed nothing is told of the binding, and never waited for', async () => {
  const annotations = new Map([['weft.dev/proxy', 'none']]);
  const meta = { ...WEB.meta, name: 'web-2', annotations };
  const bare = podOf('web', { meta, ips: ['10.0.0.9'] });
  await using rig = await createCredentialRig([...SHOP, DB, bare]);
  await eventually(() => rig.part.problems().some(({ code }) => code === 'no-proxy'), {
    what: 'the problem',
  });
  const told = rig.part.reports().flatMap(({ workloads }) => workloads);
  assert.deepEqual(
    told.map(({ proxy, reason }) => [proxy, reason]),
    [
      ['web-1.shop', 'not-connected'],
      ['web-2.shop', 'unsupported'],
    ],
  );
});
