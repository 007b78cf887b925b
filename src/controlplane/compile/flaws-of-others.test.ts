// What other meshes compiled wrongly: which port a policy is about, and what is left of an object that is gone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRbac } from '@weft/model/policy/evaluate';
import type { RbacRules } from '@weft/model/policy/rbac';
import { allowWeb, decoded, MeshBench, SHOP, WEB } from '../../../test/support/mesh-bench.ts';
import { authorizationOf, keyOf, serviceOf } from '../../../test/support/mesh-objects.ts';
import { httpRequest } from '../../../test/support/policies.ts';

const inboundOf = (bench: MeshBench, id: string, account: string) =>
  decoded(bench.views.viewFor(bench.proxy(id, account)), 'listener', 'inbound');
const rbacOf = (bench: MeshBench, id: string, account: string): readonly RbacRules[] =>
  inboundOf(bench, id, account).filterChains.flatMap((chain) =>
    chain.filters.flatMap((filter) => {
      if (filter.kind === 'rbac') return [filter.rules];
      if (filter.kind !== 'http') return [];
      return filter.http.filters.flatMap((one) => (one.kind === 'rbac' ? [one.rules] : []));
    }),
  );
/** Every chain of a workload carries the same. */
const rulesOf = (bench: MeshBench, id: string, account: string): readonly string[] => [
  ...new Set(rbacOf(bench, id, account).map((rules) => rules.action)),
];

test('a policy that is deleted is gone from the workload, and one that is made holds, with the very next view (linkerd2#15549)', () => {
  using bench = new MeshBench([...SHOP, allowWeb]);
  assert.deepEqual(rulesOf(bench, 'cart-1.shop', 'cart'), ['ALLOW']);
  bench.change(SHOP);
  bench.elapse();
  assert.deepEqual(rulesOf(bench, 'cart-1.shop', 'cart'), []);
  const nobody = authorizationOf({ action: 'ALLOW' }, 'nobody');
  bench.change([...SHOP, nobody]);
  bench.elapse();
  assert.deepEqual(rulesOf(bench, 'cart-1.shop', 'cart'), ['ALLOW']);
  assert.deepEqual(rulesOf(bench, 'web-1.shop', 'web'), ['ALLOW']);
});

test('a Pod that is deleted is no endpoint and gets no view any more (linkerd2#15549)', () => {
  using bench = new MeshBench(SHOP);
  const cluster = 'outbound|80||cart.shop.svc.cluster.local';
  const proxy = bench.proxy('web-1.shop', 'web');
  assert.equal(decoded(bench.views.viewFor(proxy), 'endpoints', cluster).endpoints.length, 1);
  bench.change(SHOP.filter((one) => keyOf(one) !== 'Pod/shop/cart-1'));
  bench.elapse();
  assert.equal(decoded(bench.views.viewFor(proxy), 'endpoints', cluster).endpoints.length, 0);
  assert.throws(() => bench.proxy('cart-1.shop', 'cart'));
});

test('ports of a policy are those of the container, whatever port the Service shows (ISTIO-SECURITY-2021-002)', () => {
  const byPort = (port: string) =>
    authorizationOf({ action: 'DENY', rules: [{ to: [{ operation: { ports: [port] } }] }] });
  for (const [port, isAllowed] of [
    ['8080', false],
    ['80', true],
  ] as const) {
    using bench = new MeshBench([WEB, serviceOf('web'), byPort(port)]);
    const { filterChains } = inboundOf(bench, 'web-1.shop', 'web');
    const ports = new Set(filterChains.map((chain) => chain.match?.destinationPort));
    assert.ok(ports.has(8080) && !ports.has(80), 'the Service port is nobody’s inside');
    const verdict = compileRbac(rbacOf(bench, 'web-1.shop', 'web')).decide(httpRequest({}));
    assert.equal(verdict.isAllowed, isAllowed, port);
  }
});
