// What an Envoy behind Weft's agent calls, and how: ports of undeclared protocol, several endpoints, routes, and nobody but who must answer.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { APP_PORTS, type AppCall } from '../support/envoy-lab-app.ts';
import { type EnvoyLab, envoyLab, LAB_PORTS, openEnvoyLab } from '../support/envoy-lab.ts';
import type { EnvoyPod } from '../support/envoy-pod.ts';
import { modeYaml, podYaml, serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { shown } from '../support/shown.ts';

const { skip } = envoyLab;
let lab: EnvoyLab;

before(async () => {
  if (skip !== false) return;
  lab = await openEnvoyLab({
    pods: [
      { name: 'web', proxy: 'envoy' },
      { name: 'cart', proxy: 'envoy' },
      { name: 'old', proxy: 'weft' },
    ],
  });
});

afterEach(async () => {
  if (skip === false) await lab.checkNothingRefused();
});

after(async () => {
  if (skip === false) await lab[Symbol.asyncDispose]();
});

const PAIRS = [
  ['web', 'cart'],
  ['web', 'old'],
  ['old', 'web'],
] as const;

const callerIn = ({ headers }: PlainObject): string =>
  isPlainObject(headers) ? String(headers['x-forwarded-client-cert']) : '';

/** By cluster IP, to a port whose name says no protocol. */
const undeclared = (to: EnvoyPod) => ({ host: to.vip, port: 70 });

for (const mode of ['PERMISSIVE', 'STRICT'] as const) {
  for (const [from, to] of PAIRS) {
    test(`a port of undeclared protocol is called over mutual TLS in what the application speaks: ${from} to ${to}, ${mode}`, {
      skip,
    }, async () => {
      await lab.write('mode.yaml', modeYaml(mode));
      const [caller, called] = [lab.pod(from), lab.pod(to)];
      const known = new RegExp(`URI=spiffe://cluster.local/ns/shop/sa/${from}$`);
      const one = await caller.echo({ kind: 'http1', ...undeclared(called) });
      assert.deepEqual([one['name'], one['version']], [to, '1.1']);
      assert.match(callerIn(one), known);
      const two = await caller.echo({ kind: 'http2', ...undeclared(called) });
      assert.deepEqual([two['name'], two['version']], [to, '2.0']);
      assert.match(callerIn(two), known);
      const lines = await caller.call({ kind: 'tcp', ...undeclared(called), text: 'hello' });
      assert.equal(lines.body, `${to}: hello`);
      await eventually(
        () =>
          called
            .access()
            .find(
              ({ protocol, source, destinationPort }) =>
                protocol === 'tcp' &&
                destinationPort === APP_PORTS.auto &&
                String(source).endsWith(`/sa/${from}`),
            ),
        { what: 'a connection of a known caller in the access log', told: () => called.log },
      );
    });
  }
}

const get = (to: EnvoyPod, path: string): AppCall => ({
  kind: 'http1',
  host: to.vip,
  port: 80,
  path,
});

/** The Pod under another label or account; its own is put back by the test that asks. */
function podOf(pod: EnvoyPod, more: { readonly app?: string; readonly serviceAccount?: string }) {
  const { name, ip } = pod;
  const ports = Object.values(APP_PORTS);
  return podYaml({ name: `${name}-0`, ip, ports, serviceAccount: name, ...more });
}

const servicesOf = ({ name, vip }: EnvoyPod): readonly string[] => [
  serviceYaml({ name, ports: LAB_PORTS, clusterIP: vip }),
  serviceYaml({ name: `${name}-pods`, app: name, ports: LAB_PORTS, clusterIP: 'None' }),
];

/** Who answers, in the order of the calls. */
async function answering(caller: EnvoyPod, to: EnvoyPod, count: number): Promise<string[]> {
  const names: string[] = [];
  for (let at = 0; at < count; at++) {
    const { status, headers } = await caller.call(get(to, '/'));
    names.push(status === 200 ? String(headers['x-app']) : String(status));
  }
  return names;
}

test('calls are spread over the endpoints of a Service, and follow them as they come and go', {
  skip,
}, async () => {
  const [web, cart, old] = [lab.pod('web'), lab.pod('cart'), lab.pod('old')];
  // Twenty of two at random fall on one of them once in a million times, four once in sixteen.
  const alone = async (): Promise<boolean> =>
    (await answering(web, cart, 20)).every((name) => name === 'cart');
  await lab.write('old.yaml', podOf(old, { app: 'cart' }), ...servicesOf(old));
  try {
    await eventually(async () => new Set(await answering(web, cart, 4)).size === 2, {
      what: 'calls at both',
      withinMs: 10_000,
    });
    // Each goes to the one of two at random that has less to do, and what has just been answered may still count.
    const both = await answering(web, cart, 40);
    assert.deepEqual([...new Set(both)].toSorted(), ['cart', 'old'], both.join());
  } finally {
    await lab.write('old.yaml', podOf(old, {}), ...servicesOf(old));
    await eventually(alone, { what: 'calls at one, and none at the other', withinMs: 10_000 });
  }
  shown('envoy', 'balances');
});

const ROUTE = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: slow, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: cart, port: 80 }]
  rules:
    - timeouts: { request: 300ms }
      backendRefs: [{ name: cart, port: 80 }]
`;

test('the time limit of a route is kept', { skip }, async () => {
  const [web, cart] = [lab.pod('web'), lab.pod('cart')];
  const slow = get(cart, '/slow?ms=1000');
  assert.equal((await web.call(slow)).status, 200);
  await lab.write('route.yaml', ROUTE);
  await eventually(async () => (await web.call(slow)).status === 504, {
    what: 'the limit',
    withinMs: 10_000,
  });
  // What is quick may be held up for once.
  await eventually(async () => (await web.call(get(cart, '/quick'))).status === 200, {
    what: 'a quick answer within the limit',
  });
  await lab.remove('route.yaml');
  await eventually(async () => (await web.call(slow)).status === 200, {
    what: 'no limit',
    withinMs: 10_000,
  });
  shown('envoy', 'timeouts');
});

test('whoever answers at the address of another identity is told nothing', { skip }, async () => {
  const [web, cart] = [lab.pod('web'), lab.pod('cart')];
  assert.equal((await web.call(get(cart, '/before'))).status, 200);
  await lab.write('cart.yaml', podOf(cart, { serviceAccount: 'till' }), ...servicesOf(cart));
  await eventually(async () => (await web.call(get(cart, '/meanwhile'))).status === 503, {
    what: 'calls that nobody may answer',
    withinMs: 10_000,
  });
  assert.equal((await web.call(get(cart, '/after'))).status, 503);
  await lab.write('cart.yaml', podOf(cart, {}), ...servicesOf(cart));
  await eventually(async () => (await web.call(get(cart, '/again'))).status === 200, {
    what: 'calls as before',
    withinMs: 10_000,
  });
  // Lines are written in the order of requests, some time after these.
  const lines = await eventually(
    () => {
      const paths = cart.access().map(({ path }) => path);
      return paths.includes('/again') ? paths : undefined;
    },
    { what: 'the last call in the access log' },
  );
  assert.ok(lines.includes('/before') && !lines.includes('/after'), lines.join());
  shown('envoy', 'exact-identity');
});
