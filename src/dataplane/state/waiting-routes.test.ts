// Changed routes wait for the clusters that they lead to, and no longer than that.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteConfiguration } from '@weft/xds/resources/route';
import { WaitingRoutes } from './waiting-routes.ts';

const routeTo = (cluster: string): RouteConfiguration => ({
  name: 'r',
  virtualHosts: [
    {
      name: 'h',
      domains: ['*'],
      routes: [{ match: { kind: 'prefix', value: '/' }, cluster, timeoutMs: 0, connectRetries: 0 }],
    },
  ],
});

function createRig() {
  const settled = new Set<string>();
  const inForce = new Map<string, RouteConfiguration>();
  const waiting = new WaitingRoutes({
    isInForce: (name) => inForce.has(name),
    isSettled: (cluster) => settled.has(cluster),
  });
  const put = (route: RouteConfiguration): void => {
    const due = waiting.take({ changed: new Map([['r', route]]), removed: new Set() });
    for (const [name, one] of due) inForce.set(name, one);
  };
  const settle = (cluster: string): void => {
    settled.add(cluster);
    for (const [name, one] of waiting.settle()) inForce.set(name, one);
  };
  const leadsTo = () => inForce.get('r')?.virtualHosts[0]?.routes[0]?.cluster;
  return { put, settle, leadsTo, waiting };
}

test('the first version of a route is in force at once, whatever is missing', () => {
  const { put, leadsTo } = createRig();
  put(routeTo('a'));
  assert.equal(leadsTo(), 'a');
});

test('a changed route waits until its cluster is here', () => {
  const { put, settle, leadsTo } = createRig();
  put(routeTo('a'));
  put(routeTo('b'));
  assert.equal(leadsTo(), 'a');
  settle('c');
  assert.equal(leadsTo(), 'a');
  settle('b');
  assert.equal(leadsTo(), 'b');
});

test('of two changes the newest counts, and one that is taken back is forgotten', () => {
  const { put, settle, leadsTo, waiting } = createRig();
  put(routeTo('a'));
  put(routeTo('b'));
  put(routeTo('c'));
  settle('b');
  assert.equal(leadsTo(), 'a');
  waiting.take({ changed: new Map(), removed: new Set(['r']) });
  settle('c');
  assert.equal(leadsTo(), 'a');
  assert.equal(waiting.get('r'), undefined);
});

test('a share that leads nowhere is waited for by nobody', () => {
  const { put, leadsTo } = createRig();
  put(routeTo('a'));
  put(routeTo('unresolved'));
  assert.equal(leadsTo(), 'unresolved');
});
