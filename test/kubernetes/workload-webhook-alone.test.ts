// Where the API server has no policies of its own the webhook alone enforces: it is waited for, and without it nothing is made.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WORKLOADS } from '@weft/controlplane/admission/render-webhooks';
import { VALIDATING_WEBHOOKS } from '@weft/kube/resource';
import type { PlainObject } from '@weft/model/policy/reader';
import { kubelabMissing } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { openWorkloadRig, type WorkloadRig, workloadPolicy } from '../support/workload-rig.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
const WITHOUT = ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'];
let rig: WorkloadRig;
before(async () => {
  if (skip !== false) return;
  rig = await openWorkloadRig({
    namespaces: { shop: {}, other: {} },
    apiserverArgs: [
      `--runtime-config=${WITHOUT.map((name) => `admissionregistration.k8s.io/v1/${name}=false`).join(',')}`,
      '--disable-admission-plugins=ValidatingAdmissionPolicy',
    ],
  });
});
after(() => rig?.[Symbol.asyncDispose]());

const podOf = (namespace: string, privileged: boolean): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace },
  spec: { containers: [{ name: 'web', image: 'i', securityContext: { privileged } }] },
});

test(
  'the webhook refuses, and a Pod that nobody can look at is not made (threat: fail open)',
  only,
  async () => {
    const policy = workloadPolicy('p', 'shop', { pod: { privileged: false } });
    assert.equal((await rig.apply(policy)).code, 0);
    await eventually(
      async () => {
        const found = await rig.lab.client.get(VALIDATING_WEBHOOKS, { name: WORKLOADS });
        return found.ok && JSON.stringify(found.value).includes('"failurePolicy":"Fail"');
      },
      { what: 'a webhook that is waited for', withinMs: 20_000, everyMs: 50 },
    );
    const said = await rig.untilRefused(podOf('shop', true), 'a privileged Pod');
    assert.match(said, /webhook "required\.workloads\.weft\.dev" denied .*privileged is true/);
    const good = await rig.tryOut(podOf('shop', false));
    assert.equal(good.code, 0, good.stderr);
    const status = await rig.untilEnforced(policy, 'False');
    assert.match(JSON.stringify(status), /the webhook alone enforces it/);
    await rig.hangUp();
    assert.equal((await rig.tryOut(podOf('shop', false))).code, 1);
    const elsewhere = await rig.tryOut(podOf('other', true));
    assert.equal(elsewhere.code, 0, elsewhere.stderr);
  },
);
