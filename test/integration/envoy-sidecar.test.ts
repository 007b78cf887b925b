// A real Envoy behind Weft's agent carries what Weft's sidecar carries, by the same rules, and both call each other.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { APP_PORTS, type AppCall } from '../support/envoy-lab-app.ts';
import { type EnvoyLab, envoyLab, openEnvoyLab } from '../support/envoy-lab.ts';
import type { EnvoyPod } from '../support/envoy-pod.ts';
import { modeYaml, policyYaml } from '../support/lab-manifests.ts';
import { eventually, PATIENCE_MS } from '../support/lab-wait.ts';
import { shown } from '../support/shown.ts';
import { createTestKey, jwksOf, seconds, signToken } from '../support/tokens.ts';

const { skip } = envoyLab;
let lab: EnvoyLab;

before(async () => {
  if (skip !== false) return;
  lab = await openEnvoyLab({
    pods: [
      { name: 'web', proxy: 'envoy' },
      { name: 'cart', proxy: 'envoy' },
      { name: 'old', proxy: 'weft' },
      { name: 'out', proxy: 'none' },
    ],
    manifests: { 'mode.yaml': modeYaml('STRICT') },
  });
});

/** Whatever a test has done: no Envoy refused anything that it was sent. */
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

const headersOf = (echo: PlainObject): PlainObject => {
  const { headers } = echo;
  assert.ok(isPlainObject(headers));
  return headers;
};

for (const [from, to] of PAIRS) {
  const kinds = `from ${from === 'web' ? 'an Envoy' : 'a sidecar'} to ${to === 'old' ? 'a sidecar' : 'an Envoy'}`;
  test(`HTTP/1.1, HTTP/2, gRPC, TCP and the application's own TLS pass ${kinds}, by cluster IP and to a Pod`, {
    skip,
  }, async () => {
    const caller = lab.pod(from);
    const called = lab.pod(to);
    for (const [host, ports] of [
      [called.vip, { http1: 80, http2: 81, grpc: 82, tcp: 90, tls: 443 }],
      [called.ip, { ...APP_PORTS, grpc: APP_PORTS.http2 }],
    ] as const) {
      const forged = { 'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/shop/sa/root' };
      const one = await caller.echo({ kind: 'http1', host, port: ports.http1, headers: forged });
      assert.deepEqual([one['name'], one['version']], [to, '1.1']);
      const said = String(headersOf(one)['x-forwarded-client-cert']);
      assert.match(said, new RegExp(`URI=spiffe://cluster.local/ns/shop/sa/${from}$`));
      const two = await caller.echo({ kind: 'http2', host, port: ports.http2, path: '/two' });
      assert.deepEqual([two['name'], two['version'], two['path']], [to, '2.0', '/two']);
      const grpc = await caller.call({
        kind: 'http2',
        host,
        port: ports.grpc,
        headers: { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' },
      });
      assert.deepEqual([grpc.status, grpc.trailers?.['grpc-status']], [200, '0']);
      const tcp = await caller.call({ kind: 'tcp', host, port: ports.tcp, text: 'hello' });
      assert.equal(tcp.body, `${to}: hello`);
      const tls = await caller.call({ kind: 'tls', host, port: ports.tls, serverName: 'app.test' });
      assert.equal(tls.body, `${to} by TLS for app.test`);
    }
    if (from === 'web') {
      shown('envoy', 'http1-calls', 'http2-calls', 'grpc-calls', 'tcp-calls', 'by-vip', 'headless');
      shown('envoy', to === 'cart' ? 'calls-envoy' : 'calls-weft', 'enrols');
    }
    if (to === 'old') return;
    shown('envoy', 'http1-called', 'http2-called', 'grpc-called', 'tcp-called', 'passthrough');
    shown('envoy', 'xfcc');
    if (from === 'old') shown('weft', 'calls-envoy');
  });
}

const get = (to: EnvoyPod, path: string, headers?: Readonly<Record<string, string>>): AppCall => ({
  kind: 'http1',
  host: to.vip,
  port: 80,
  path,
  ...(headers && { headers }),
});

/** From outside the mesh, to the Pod. */
const plain = (to: EnvoyPod, path = '/'): AppCall => ({
  kind: 'http1',
  host: to.ip,
  port: 8080,
  path,
});

test('plaintext is refused under STRICT, and taken beside mutual TLS under PERMISSIVE', {
  skip,
}, async () => {
  const [web, cart, out] = [lab.pod('web'), lab.pod('cart'), lab.pod('out')];
  assert.equal((await out.call(plain(cart))).status, 0);
  await lab.write('mode-cart.yaml', modeYaml('PERMISSIVE', 'cart'));
  await eventually(async () => (await out.call(plain(cart))).status === 200, {
    what: 'plaintext',
    withinMs: 10_000,
  });
  const echo = await out.echo(plain(cart));
  assert.equal(headersOf(echo)['x-forwarded-client-cert'], undefined);
  assert.equal((await web.call(get(cart, '/'))).status, 200);
  const h2 = await out.echo({ kind: 'http2', host: cart.ip, port: APP_PORTS.http2 });
  assert.equal(h2['name'], 'cart');
  const tcp = await out.call({ kind: 'tcp', host: cart.ip, port: APP_PORTS.tcp, text: 'x' });
  assert.equal(tcp.body, 'cart: x');
  await lab.remove('mode-cart.yaml');
  await eventually(async () => (await out.call(plain(cart))).status === 0, {
    what: 'plaintext refused again',
    withinMs: 10_000,
  });
  shown('envoy', 'permissive');
});

test('rules on requests hold by the path that the application sees, the status of the policy says so, and the access log names it', {
  skip,
}, async () => {
  const [web, cart, old] = [lab.pod('web'), lab.pod('cart'), lab.pod('old')];
  const ALLOW = policyYaml({
    name: 'cart-callers',
    action: 'ALLOW',
    app: 'cart',
    rules:
      '[{from: [{source: {principals: ["cluster.local/ns/shop/sa/web"]}}], to: [{operation: {ports: ["8080"]}}]}, {to: [{operation: {paths: ["/open"]}}]}]',
  });
  const DENY = policyYaml({
    name: 'cart-secret',
    action: 'DENY',
    app: 'cart',
    rules: '[{to: [{operation: {paths: ["/secret*"]}}]}]',
  });
  await lab.write('p.yaml', ALLOW, DENY);
  await lab.enforced('cart-callers');
  const report = await lab.enforced('cart-secret');
  assert.match(JSON.stringify(report), /"by":"confirmed"/);
  assert.equal((await web.call(get(cart, '/a'))).status, 200);
  assert.equal((await old.call(get(cart, '/a'))).status, 403);
  assert.equal((await old.call(get(cart, '/open'))).status, 200);
  for (const path of ['/secret', '/secret/x', '/a/../secret', '/%73ecret'])
    assert.equal((await web.call(get(cart, path))).status, 403, path);
  const line = async (fits: (entry: PlainObject) => boolean): Promise<PlainObject> =>
    eventually(() => cart.access().find(fits), { what: 'a line of the access log' });
  const allowed = await line(({ path, source }) => path === '/a' && String(source).endsWith('web'));
  assert.equal(allowed['decision'], 'allow');
  assert.equal(allowed['policy'], 'ns[shop]-policy[cart-callers]-rule[0]');
  assert.deepEqual([allowed['direction'], allowed['protocol']], ['inbound', 'http1']);
  const denied = await line(({ path }) => path === '/secret/x');
  assert.deepEqual(
    [denied['decision'], denied['policy'], denied['status'], denied['destinationPort']],
    ['deny', 'ns[shop]-policy[cart-secret]-rule[0]', 403, 8080],
  );
  const nobody = await line(({ path, source }) => path === '/a' && String(source).endsWith('old'));
  assert.deepEqual([nobody['decision'], nobody['decisionReason']], ['deny', 'no-allow-match']);
  await lab.remove('p.yaml');
  await eventually(async () => (await old.call(get(cart, '/a'))).status === 200, {
    what: 'all as before',
  });
  shown('envoy', 'rules-http', 'paths', 'access-log', 'status');
});

test('rules on connections hold, for those who have one open as well', { skip }, async () => {
  const [web, cart, old] = [lab.pod('web'), lab.pod('cart'), lab.pod('old')];
  const tcp = { kind: 'tcp', host: cart.vip, port: 90, text: 'x' } as const;
  assert.equal((await old.call(tcp)).body, 'cart: x');
  const carried = async (): Promise<number> => {
    const stats = await cart.stats('^tcp.inbound_inbound_9000.*cx_total$');
    return [...stats.values()].reduce((sum, value) => sum + value, 0);
  };
  const earlier = await carried();
  const open = old.call({ kind: 'held', host: cart.vip, port: 90 });
  await eventually(async () => (await carried()) > earlier, { what: 'an open connection' });
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'cart-lines',
      action: 'ALLOW',
      app: 'cart',
      rules:
        '[{from: [{source: {principals: ["cluster.local/ns/shop/sa/web"]}}], to: [{operation: {ports: ["9000"]}}]}]',
    }),
  );
  await lab.enforced('cart-lines');
  const late = new Promise((_, reject) =>
    setTimeout(reject, PATIENCE_MS, new Error('still open')).unref(),
  );
  assert.deepEqual(await Promise.race([open, late]), {
    status: 200,
    body: 'cart: held',
    headers: {},
  });
  assert.equal((await web.call(tcp)).body, 'cart: x');
  assert.equal((await old.call(tcp)).status, 0);
  const denied = await eventually(
    () => cart.access().find((line) => line['protocol'] === 'tcp' && line['decision'] === 'deny'),
    { what: 'a line of the refused connection', told: () => cart.log.slice(-3_000) },
  );
  assert.match(String(denied['source']), /old$/);
  assert.deepEqual([denied['decisionReason'], denied['destinationPort']], ['no-allow-match', 9000]);
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'no-lines',
      action: 'DENY',
      app: 'cart',
      rules: '[{to: [{operation: {ports: ["9000"]}}]}]',
    }),
  );
  await lab.enforced('no-lines');
  assert.equal((await web.call(tcp)).status, 0);
  await eventually(
    () => cart.access().find((line) => line['policy'] === 'ns[shop]-policy[no-lines]-rule[0]'),
    { what: 'a line with the rule that refused' },
  );
  await lab.remove('p.yaml');
  await eventually(async () => (await old.call(tcp)).status === 200, { what: 'all as before' });
  shown('envoy', 'rules-tcp');
});

test('tokens of end users are verified, and rules go by them', { skip }, async () => {
  const [web, cart] = [lab.pod('web'), lab.pod('cart')];
  const key = createTestKey('RS256', 'one');
  const issuer = 'https://issuer.test';
  const authentication = JSON.stringify({
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'jwt', namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: 'cart' } },
      jwtRules: [{ issuer, jwks: jwksOf(key) }],
    },
  });
  const only = policyYaml({
    name: 'only-ann',
    action: 'ALLOW',
    app: 'cart',
    rules: `[{from: [{source: {requestPrincipals: ["${issuer}/ann"]}}]}]`,
  });
  await lab.write('p.yaml', `${authentication}\n`, only);
  await lab.enforced('only-ann');
  await lab.enforced('jwt');
  const token = (sub: string): string => signToken(key, { iss: issuer, sub, exp: seconds(600) });
  const by = (text: string) => get(cart, '/', { authorization: `Bearer ${text}` });
  assert.equal((await web.call(by(token('ann')))).status, 200);
  assert.equal((await web.call(by(token('eve')))).status, 403);
  assert.equal((await web.call(by('no.token.atall'))).status, 401);
  assert.equal((await web.call(get(cart, '/'))).status, 403);
  await lab.remove('p.yaml');
  await eventually(async () => (await web.call(get(cart, '/'))).status === 200, {
    what: 'all as before',
  });
  shown('envoy', 'jwt');
});

test('an external authorizer is asked, behind the mesh', { skip }, async () => {
  const [web, cart] = [lab.pod('web'), lab.pod('cart')];
  await lab.write(
    'mesh.yaml',
    `apiVersion: mesh.weft.dev/v1
kind: MeshConfig
metadata: { name: mesh }
spec:
  extensionProviders:
    - name: my-authz
      envoyExtAuthzHttp: { service: old.shop.svc.cluster.local, port: 80, pathPrefix: /check, includeRequestHeadersInCheck: [x-token] }
`,
  );
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'ask',
      action: 'CUSTOM',
      app: 'cart',
      provider: 'my-authz',
      rules: '[{to: [{operation: {paths: ["/asked*"]}}]}]',
    }),
  );
  await lab.enforced('ask');
  assert.equal((await web.call(get(cart, '/other'))).status, 200);
  const refused = await web.call(get(cart, '/asked'));
  assert.ok(refused.status === 401 || refused.status === 403, `${refused.status}`);
  assert.equal((await web.call(get(cart, '/asked', { 'x-token': 'good' }))).status, 200);
  await lab.remove('p.yaml');
  await eventually(async () => (await web.call(get(cart, '/asked'))).status === 200, {
    what: 'all as before',
  });
  shown('envoy', 'ext-authz');
});
