// What is reported as in force: what Envoy has active, of what was delivered, and nothing on its word of an acknowledgement alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenerForAgent } from '@weft/xds/agent-form';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { TYPE_URLS } from '@weft/xds/resource';
import type { Listener } from '@weft/xds/resources/listener';
import { digestOf } from '../../report/reporter.ts';
import type { RelayedResource, RelayedStreamRef } from '../relay-observer.ts';
import { RulesInForce } from './rules-in-force.ts';

const STREAM: RelayedStreamRef = { id: 1, caller: 'uid 1', variant: 'delta', userAgent: 'envoy' };

const plain = (port: number): Listener => ({
  name: 'inbound',
  address: { address: '0.0.0.0', port: 15_006 },
  direction: 'inbound',
  bindToPort: true,
  inspectors: ['originalDst', 'tls'],
  inspectTimeoutMs: 1_000,
  filterChains: [
    {
      name: `${port}`,
      match: {
        destinationPort: port,
        destinationRanges: [],
        applicationProtocols: [],
        serverNames: [],
      },
      filters: [{ kind: 'tcpProxy', statPrefix: 'x', cluster: 'inbound|1||' }],
    },
  ],
});

const versionOf = (port: number): string => encodeResource('listener', plain(port)).version;

/** As the control plane sends it to an Envoy with an agent. */
function sent(port: number): RelayedResource {
  const version = versionOf(port);
  const form = { accessLog: 'all', podIp: undefined } as const;
  const { bytes } = encodeResource('listener', listenerForAgent(plain(port), version, form));
  return { name: 'inbound', version, typeUrl: TYPE_URLS.listener, bytes };
}

function createRig() {
  const told: string[] = [];
  const rules = new RulesInForce({
    onNews: () => told.push('news'),
    onChange: () => told.push('change'),
    onUnreadable: (problem) => told.push(problem),
  });
  const response = (resources: readonly RelayedResource[], removed: readonly string[] = []) => ({
    typeUrl: TYPE_URLS.listener,
    nonce: '1',
    resources,
    removed,
  });
  return {
    rules,
    told,
    deliver: (...resources: readonly RelayedResource[]) =>
      rules.observer.onDelivered?.(STREAM, response(resources)),
    remove: () => rules.observer.onDelivered?.(STREAM, response([], ['inbound'])),
    answer: (refusal?: string) =>
      rules.observer.onAnswered?.(STREAM, { response: response([]), refusal }),
    digest: () => (rules.held === undefined ? undefined : digestOf(rules.held)),
  };
}

test('a listener that was delivered and acknowledged is in force when Envoy has it active, and has the digest of what everybody is told', () => {
  const rig = createRig();
  rig.deliver(sent(80));
  rig.answer();
  assert.equal(rig.digest(), undefined, 'acknowledged is not active');
  assert.equal(rig.rules.isWaiting, true);
  rig.rules.setActive(versionOf(80));
  assert.equal(rig.digest(), versionOf(80));
  assert.equal(rig.rules.isWaiting, false);
  assert.deepEqual(rig.told, ['news', 'change']);
});

test('while a new listener warms, and when it was refused, the old one is reported', () => {
  const rig = createRig();
  rig.deliver(sent(80));
  rig.rules.setActive(versionOf(80));
  rig.deliver(sent(81));
  rig.answer('no such field');
  rig.rules.setActive(versionOf(80));
  assert.equal(rig.digest(), versionOf(80));
  assert.equal(rig.rules.isWaiting, true);
  for (let port = 82; port < 100; port++) rig.deliver(sent(port));
  assert.equal(rig.digest(), versionOf(80), 'however many are refused');
  rig.rules.setActive(versionOf(99));
  assert.equal(rig.digest(), versionOf(99));
});

test('nothing is reported of an Envoy that is gone, or that has what nobody delivered', () => {
  const rig = createRig();
  rig.deliver(sent(80));
  rig.rules.setActive(versionOf(80));
  rig.rules.setActive(undefined);
  assert.equal(rig.digest(), undefined);
  rig.rules.setActive('made up');
  assert.equal(rig.digest(), undefined);
});

test('a listener that is taken away is waited for to go', () => {
  const rig = createRig();
  rig.deliver(sent(80));
  rig.rules.setActive(versionOf(80));
  rig.remove();
  assert.equal(rig.rules.isWaiting, true);
  rig.rules.setActive(undefined);
  assert.equal(rig.rules.isWaiting, false);
});

test('what cannot be read here is said, and reported as nothing', () => {
  const rig = createRig();
  rig.deliver({ ...sent(80), bytes: Buffer.from([0xff, 0xff]) });
  rig.rules.setActive(versionOf(80));
  assert.equal(rig.digest(), undefined);
  assert.equal(rig.told.length, 2);
});
