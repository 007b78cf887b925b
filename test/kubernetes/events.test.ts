// Events stand where `kubectl describe` and `kubectl get events` look, as a real API server takes them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { EventRecorder } from '@weft/controlplane/kubernetes/events';
import { recordWebhookProblems } from '@weft/controlplane/kubernetes/mesh-events';
import { textAt } from '@weft/kube/object-fields';
import { apiVersionOf, AUTHORIZATION_POLICIES, TRUST_BUNDLES } from '@weft/kube/resource';
import { pino } from 'pino';
import { installCrds, whyNot } from '../support/kube-objects.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
let lab: Kubelab;
before(async () => {
  if (skip !== false) return;
  lab = await startKubelab({ controllers: [] });
  await installCrds(lab);
});
after(() => lab?.[Symbol.asyncDispose]());

function openRecorder() {
  const clock = createTurnableClock();
  const log = pino({ level: 'silent' });
  const { client } = lab;
  const recorder = new EventRecorder({ client, podName: 'weft-control-plane-0', clock, log });
  return { clock, recorder };
}

const events = async (args: readonly string[]): Promise<string> =>
  (await lab.kubectl(['get', 'events', '-n', 'default', ...args])).stdout;
const eventuallySays = (args: readonly string[], text: string | RegExp): Promise<true> =>
  eventually(
    async () => {
      const said = await events(args);
      return typeof text === 'string' ? said.includes(text) : text.test(said);
    },
    { what: String(text), withinMs: 20_000 },
  );

test('kubectl describe shows what happened to a policy, and how often', only, async () => {
  const { clock, recorder } = openRecorder();
  await using _ = recorder;
  const created = await lab.client.create(AUTHORIZATION_POLICIES, {
    apiVersion: apiVersionOf(AUTHORIZATION_POLICIES),
    kind: AUTHORIZATION_POLICIES.kind,
    metadata: { name: 'p', namespace: 'default' },
    spec: { rules: [{}] },
  });
  assert.ok(created.ok, whyNot(created));
  const uid = textAt(created.value, 'metadata', 'uid') ?? '';
  const record = (): void =>
    recorder.record({
      about: { resource: AUTHORIZATION_POLICIES, namespace: 'default', name: 'p', uid },
      type: 'Warning',
      reason: 'PolicyRefused',
      action: 'Reading',
      note: 'spec.x: unknown field "x"',
    });
  record();
  await eventuallySays([], /Warning +PolicyRefused +authorizationpolicy\/p +spec\.x: unknown/);
  record();
  record();
  clock.turn(60_000);
  await eventuallySays(['-o', 'jsonpath={.items[*].series.count}'], '3');
  const described = await lab.kubectl(['describe', 'wap', 'p', '-n', 'default']);
  assert.match(described.stdout, /PolicyRefused .*spec\.x: unknown field/);
  assert.equal(recorder.dropped, 0);
});

test('what lives in no namespace can have Events', only, async () => {
  const { recorder } = openRecorder();
  await using _ = recorder;
  const about = { resource: TRUST_BUNDLES, name: 'weft' };
  const note = 'root rotation: stable → distribute';
  recorder.record({ about, type: 'Normal', reason: 'RootRotation', action: 'Rotating', note });
  recordWebhookProblems(recorder, ['there is no ValidatingWebhookConfiguration weft-validator']);
  await eventuallySays([], /RootRotation +trustbundle\/weft +root rotation/);
  await eventuallySays([], /WebhookNotKept +validatingwebhookconfiguration\/weft-validator/);
  assert.equal(recorder.dropped, 0);
});
