// Pods that ask for an Envoy are in the mesh beside those of Weft's own sidecar: injected, ready by the redirect, called and judged alike.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import {
  callerPod,
  meshNodeMissing,
  type MeshNode,
  serviceAccount,
  startMeshNode,
} from '../node/mesh-node.ts';
import { container, deploymentObject, env, serviceObject } from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';

const missing = await meshNodeMissing();
const envoy = await findEnvoy();
const skip = missing ?? (envoy.ok ? false : envoy.reason);
const BY_ENVOY = { 'weft.dev/proxy': 'envoy' };

suite('Envoys in a cluster', { skip }, () => {
  let mesh: MeshNode;
  before(async () => {
    assert.ok(envoy.ok);
    mesh = await startMeshNode({ envoy: envoy.path });
    await mesh.namespace('shop');
    const names = ['web', 'old', 'prices'];
    await mesh.apply(...names.map((name) => serviceAccount('shop', name)));
    const prices = {
      serviceAccountName: 'prices',
      containers: [
        container('http', 'test/http-echo', {
          env: env({ PORT: '8080' }),
          ports: [{ name: 'http', containerPort: 8080 }],
          readinessProbe: { httpGet: { path: '/readyz', port: 'http' }, periodSeconds: 1 },
        }),
        container('grpc', 'test/grpc-echo', {
          env: env({ PORT: '9090' }),
          ports: [{ name: 'grpc', containerPort: 9090 }],
          readinessProbe: { grpc: { port: 9090 }, periodSeconds: 1 },
        }),
      ],
    };
    const named = (name: string) => ({ name, namespace: 'shop', annotations: BY_ENVOY });
    await mesh.apply(
      deploymentObject(named('prices'), { replicas: 1, pod: prices }),
      serviceObject({ name: 'prices', namespace: 'shop' }, [
        { name: 'http', port: 80, targetPort: 'http' },
        { name: 'grpc', port: 9090, targetPort: 'grpc' },
      ]),
      deploymentObject(named('web'), { replicas: 1, pod: callerPod('web') }),
      deploymentObject({ name: 'old', namespace: 'shop' }, { replicas: 1, pod: callerPod('old') }),
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: 'shop' },
        spec: { mtls: { mode: 'STRICT' } },
      },
    );
    for (const name of names) await mesh.rolledOut('shop', name);
  });
  after(() => mesh[Symbol.asyncDispose]());

  test('Pods with an Envoy come up, call and are called, and rules hold for them', async () => {
    for (const from of ['shop/web', 'shop/old']) {
      const answer = await mesh.call(from, 'http', 'http://prices.shop/hello');
      assert.equal(answer.status, 200, JSON.stringify(answer));
      const account = from.replace('shop/', '/sa/');
      assert.ok(answer.body.includes(account), 'who calls is told to the application');
      const grpc = await mesh.call(from, 'grpc', 'prices.shop:9090', 'hello');
      assert.ok(grpc.isOk, JSON.stringify(grpc));
    }
    const rule = { from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] };
    await mesh.apply({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'prices', namespace: 'shop' },
      spec: { selector: { matchLabels: { app: 'prices' } }, action: 'ALLOW', rules: [rule] },
    });
    const wait = ['--for=condition=Enforced', 'authorizationpolicy/prices', '--timeout=30s'];
    await mesh.kubectl('wait', '-n', 'shop', ...wait);
    assert.ok((await mesh.call('shop/web', 'http', 'http://prices.shop/x')).isOk);
    assert.equal((await mesh.call('shop/old', 'http', 'http://prices.shop/x')).status, 403);
    // Envoy writes its lines some time after the answer.
    let logs = '';
    await eventually(
      async () => {
        logs = await mesh.sidecarLogs('shop', 'prices');
        return logs.includes('"decision":"deny"');
      },
      { what: 'the refusal in the access log', withinMs: 15_000, told: () => logs.slice(-2_000) },
    );
  });

  test('a rollout of Pods with an Envoy ends them in time', async () => {
    const before = await mesh.podsOf('shop', 'prices');
    await mesh.kubectl('rollout', 'restart', 'deployment/prices', '-n', 'shop');
    await mesh.rolledOut('shop', 'prices');
    const after_ = await mesh.podsOf('shop', 'prices');
    assert.ok(after_.some((pod) => !before.includes(pod)));
    assert.ok((await mesh.call('shop/web', 'http', 'http://prices.shop/x')).isOk);
  });
});
