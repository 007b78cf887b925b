// Events are written once for each happening, within bounds, and about the right object.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attestation, Attestor } from '@weft/ca/attest/attestor';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { objectAt } from '@weft/kube/object-fields';
import { AUTHORIZATION_POLICIES, EVENTS, TRUST_BUNDLES } from '@weft/kube/resource';
import { createMemoryKube, kubeFailure } from '@weft/kube/testing/memory-kube';
import { pino } from 'pino';
import type { Edge } from '../report/edge-ledger.ts';
import { EventRecorder, type EventToRecord } from './events.ts';
import { recordNewlyRefused, recordPolicyTurn, withRefusalEvents } from './mesh-events.ts';

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function createRig() {
  const clock = createTurnableClock(Date.UTC(2026, 0, 1));
  const client = createMemoryKube();
  const recorder = new EventRecorder({
    client,
    podName: 'weft-control-plane-abc-12345',
    clock,
    log: pino({ level: 'silent' }),
  });
  return {
    clock,
    client,
    recorder,
    async pass(ms: number): Promise<void> {
      clock.turn(ms);
      for (let turn = 0; turn < 4; turn++) await nextTurn();
    },
    written: () =>
      client.calls
        .filter(({ verb }) => verb === 'create')
        .map(({ object }) => object ?? assert.fail('nothing was created')),
    patches: () => client.calls.filter(({ verb }) => verb === 'patch'),
    [Symbol.asyncDispose]: () => recorder[Symbol.asyncDispose](),
  };
}

const eventOf = (more: Partial<EventToRecord> = {}): EventToRecord => ({
  about: { resource: AUTHORIZATION_POLICIES, namespace: 'shop', name: 'p', uid: 'u' },
  type: 'Warning',
  reason: 'PolicyRefused',
  action: 'Reading',
  note: 'n',
  ...more,
});

test('an Event says what it is about, who says it, and when', async () => {
  await using rig = createRig();
  rig.recorder.record(eventOf());
  await rig.pass(0);
  const [event] = rig.written();
  const { metadata, ...rest } = event ?? {};
  assert.deepEqual(rest, {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingController: 'weft.dev/control-plane',
    reportingInstance: 'weft-control-plane-abc-12345',
    type: 'Warning',
    reason: 'PolicyRefused',
    action: 'Reading',
    note: 'n',
    regarding: {
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      name: 'p',
      namespace: 'shop',
      uid: 'u',
    },
  });
  assert.equal(objectAt({ metadata }, 'metadata')?.['namespace'], 'shop');
});

test('what lives in no namespace has its Events in default', async () => {
  await using rig = createRig();
  rig.recorder.record(eventOf({ about: { resource: TRUST_BUNDLES, name: 'weft' } }));
  await rig.pass(0);
  assert.equal(objectAt(rig.written()[0], 'metadata')?.['namespace'], 'default');
});

test('a happening that repeats is one Event with a count, written once a minute', async () => {
  await using rig = createRig();
  for (let at = 0; at < 100; at++) {
    rig.recorder.record(eventOf());
    await rig.pass(1_000);
  }
  await rig.pass(60_000);
  assert.equal(rig.written().length, 1);
  assert.ok(rig.patches().length <= 3, `${rig.patches().length}`);
  assert.equal(objectAt(rig.patches().at(-1)?.object, 'series')?.['count'], 100);
});

test('after six minutes of quiet the same happening is a new Event', async () => {
  await using rig = createRig();
  rig.recorder.record(eventOf());
  await rig.pass(360_000);
  rig.recorder.record(eventOf());
  await rig.pass(0);
  assert.equal(rig.written().length, 2);
  const names = rig.written().map((event) => objectAt(event, 'metadata')?.['name']);
  assert.notEqual(names[0], names[1]);
});

test('of very many happenings a few are written, and the others counted', async () => {
  await using rig = createRig();
  for (let at = 0; at < 1_000; at++) rig.recorder.record(eventOf({ note: `${at}` }));
  await rig.pass(0);
  assert.equal(rig.written().length, 25);
  assert.equal(rig.recorder.dropped, 975);
  await rig.pass(2_000);
  rig.recorder.record(eventOf({ note: 'later' }));
  await rig.pass(0);
  assert.equal(rig.written().length, 26);
});

test('an Event that cannot be written harms nobody', async () => {
  await using rig = createRig();
  rig.client.answerWith(() => kubeFailure(403, 'Forbidden'));
  rig.recorder.record(eventOf({ note: 'x'.repeat(5_000) }));
  await rig.pass(0);
  assert.equal(rig.recorder.dropped, 1);
});

test('an Event that is gone is made anew when it comes again', async () => {
  await using rig = createRig();
  rig.recorder.record(eventOf());
  await rig.pass(0);
  const name = String(objectAt(rig.written()[0], 'metadata')?.['name']);
  rig.client.remove(EVENTS, name, 'shop');
  rig.recorder.record(eventOf());
  await rig.pass(60_000);
  rig.recorder.record(eventOf());
  await rig.pass(0);
  assert.equal(rig.written().length, 2);
});

function collect() {
  const events: EventToRecord[] = [];
  return { events, sink: { record: (event: EventToRecord) => void events.push(event) } };
}

test('that a policy is not enforced yet is no Event: every change begins like that', () => {
  const { events, sink } = collect();
  const turn = (type: 'Accepted' | 'Enforced', status: 'True' | 'False') => {
    const condition = { type, status, reason: 'R', message: 'm' };
    const about = { resource: AUTHORIZATION_POLICIES, namespace: 'shop', name: 'p', uid: 'u' };
    recordPolicyTurn(sink, { ...about, condition });
  };
  turn('Enforced', 'False');
  turn('Enforced', 'True');
  turn('Accepted', 'False');
  turn('Accepted', 'True');
  assert.deepEqual(
    events.map(({ type, reason }) => [type, reason]),
    [
      ['Normal', 'PolicyEnforced'],
      ['Warning', 'PolicyRefused'],
      ['Normal', 'PolicyAccepted'],
    ],
  );
});

const edgeOf = (path: string): Edge => ({
  proxy: 'web-1.shop',
  namespace: 'shop',
  source: 'spiffe://cluster.local/ns/shop/sa/cart',
  port: 8080,
  method: 'GET',
  path,
  isAllowed: true,
  count: 7,
  rule: '',
  firstSeenMs: 0,
  lastSeenMs: 0,
});

test('callers that are newly refused are named at the Pod that refuses them, a few of many', () => {
  const { events, sink } = collect();
  const refused = Array.from({ length: 7 }, (_, at) => ({
    call: edgeOf(`/${at}`),
    decidedBy: undefined,
    reason: 'no-allow-match',
  }));
  recordNewlyRefused(sink, refused, () => 'uid');
  assert.equal(events.length, 1);
  const [{ about, note }] = events as [EventToRecord];
  assert.deepEqual([about.namespace, about.name, about.uid], ['shop', 'web-1', 'uid']);
  assert.match(note, /cart GET \/0 \(nothing allows it any more\); .*\/4 .*; and 2 more$/);
});

function refusalRig() {
  const { events, sink } = collect();
  const clock = createTurnableClock();
  let answer: Attestation = {
    ok: false,
    reasonCode: 'audience',
    reason: 'the token is for somebody else',
    isTemporary: false,
  };
  const inner: Attestor = {
    name: 'inner',
    kind: 'service-account-token',
    attest: () => Promise.resolve(answer),
  };
  const isPod = (id: string): boolean => id.startsWith('web-');
  const attestor = withRefusalEvents(inner, { sink, isPod, clock });
  const ask = async (pod: string, times: number): Promise<void> => {
    for (let at = 0; at < times; at++) {
      await attestor.attest({ kind: 'service-account-token', token: 't', pod, namespace: 'shop' });
    }
  };
  const accept = (): void => {
    const identity = { namespace: 'shop', serviceAccount: 'web' };
    answer = { ok: true, identity, redeem: () => Promise.resolve({ ok: true }) };
  };
  return { events, clock, ask, accept };
}

test('a Pod that is refused an identity three times in a row has an Event that says why', async () => {
  const { events, ask } = refusalRig();
  await ask('web-1', 2);
  assert.equal(events.length, 0);
  await ask('web-1', 1);
  assert.equal(events[0]?.reason, 'EnrolmentRefused');
  assert.match(events[0]?.note ?? '', /the token is for somebody else/);
});

test('refusals that are not in a row, or of Pods that there are not, are no Events', async () => {
  const { events, clock, ask } = refusalRig();
  await ask('web-1', 2);
  clock.turn(600_000);
  await ask('web-1', 2);
  await ask('made-up', 10);
  assert.equal(events.length, 0);
});

test('who claims many Pods does not crowd out the Events of others (threat: noise that hides)', async () => {
  const { events, clock, ask } = refusalRig();
  for (let at = 0; at < 100; at++) await ask(`web-${at}`, 3);
  assert.equal(events.length, 1);
  clock.turn(10_000);
  await ask('web-99', 1);
  assert.equal(events.length, 2);
});
