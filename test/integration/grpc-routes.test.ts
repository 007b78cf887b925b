// GRPCRoutes of Services over HTTP/2: calls by method, shares, headers, copies, and what comes of those that lead nowhere.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { type GrpcApp, GrpcClient, nextText, startGrpcApp } from '../support/lab-grpc.ts';
import { eventually } from '../support/lab-wait.ts';
import { type LabSidecar, startLab } from '../support/lab.ts';

const stack = new AsyncDisposableStack();
let v1: GrpcApp;
let v2: GrpcApp;
let client: LabSidecar;
let grpc: GrpcClient;

const PARENT = '{ group: "", kind: Service, name: talk, port: 9000 }';
const ROUTES = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: talk, namespace: shop }
spec:
  parentRefs: [${PARENT}]
  rules:
  - matches: [{ method: { service: test.Echo, method: Spread } }]
    backendRefs: [{ name: talk-v2, port: 9000 }]
  - matches: [{ method: { service: test.Echo }, headers: [{ name: x-version, value: two }] }]
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: { set: [{ name: x-count, value: changed }, { name: x-routed, value: "yes" }] }
    backendRefs: [{ name: talk-v2, port: 9000 }]
  - matches: [{ method: { service: test.Echo }, headers: [{ name: x-version, value: none }] }]
    backendRefs: [{ name: nobody, port: 9000 }]
  - matches: [{ method: { service: test.Echo }, headers: [{ name: x-copy, value: "yes" }] }]
    filters:
    - type: RequestMirror
      requestMirror: { backendRef: { name: talk-v2, port: 9000 } }
    backendRefs: [{ name: talk, port: 9000 }]
  - matches: [{ method: { type: RegularExpression, method: "(Unary|Collect)" } }]
    backendRefs: [{ name: talk, port: 9000 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: loses, namespace: shop }
spec:
  parentRefs: [${PARENT}]
  rules: [{ backendRefs: [{ name: talk, port: 9000 }] }]
`;

before(async () => {
  const lab = stack.use(await startLab());
  [v1, v2] = [stack.use(await startGrpcApp('v1')), stack.use(await startGrpcApp('v2'))];
  await lab.write('routes.yaml', ROUTES);
  const service = [{ name: 'grpc', port: 9000, targetPort: 9000 }];
  [, , client] = await Promise.all([
    lab.startSidecar({ pod: 'talk-0', inbound: { 9000: v1.address }, service }),
    lab.startSidecar({ pod: 'talk-v2-0', inbound: { 9000: v2.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['talk.shop:9000'] }),
  ]);
  grpc = stack.use(new GrpcClient(client.via('talk.shop:9000')));
});

after(() => stack.disposeAsync());

test('calls go by service, method and headers', async () => {
  assert.equal((await grpc.unary('hello')).text, 'v1 hello');
  const { text } = await grpc.unary('hello', { headers: { 'x-version': 'two' } });
  assert.equal(text, 'v2 hello');
  assert.equal(await nextText(grpc.spread('a b')), 'a');
  assert.ok(v2.calls >= 1);
});

test('a call whose backends are missing is UNAVAILABLE, and one that no rule is for UNIMPLEMENTED', async () => {
  await assert.rejects(grpc.unary('hello', { headers: { 'x-version': 'none' } }), {
    code: status.UNAVAILABLE,
  });
  const chat = grpc.chat();
  const ended = new Promise((resolve) => chat.on('status', ({ code }) => resolve(code)));
  chat.on('error', () => undefined);
  assert.equal(await ended, status.UNIMPLEMENTED);
});

test('a copy of a call goes to another Service, and the caller hears of the first alone', async () => {
  const before = v2.calls;
  const { text } = await grpc.unary('a'.repeat(30_000), { headers: { 'x-copy': 'yes' } });
  assert.match(text, /^v1 a/);
  await eventually(() => v2.calls === before + 1 || undefined, { what: 'the copy' });
});

test('many calls at once are routed each for itself', async () => {
  const texts = await Promise.all(
    Array.from({ length: 100 }, async (_, at) => {
      const headers = at % 2 === 0 ? { 'x-version': 'two' } : {};
      return (await grpc.unary(String(at), { headers })).text;
    }),
  );
  for (const [at, text] of texts.entries()) assert.equal(text, `v${at % 2 === 0 ? 2 : 1} ${at}`);
});
